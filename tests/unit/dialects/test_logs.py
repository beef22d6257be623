"""What is logged, and what never is. Each case logs in a process of its own: logging is global."""

import json
import subprocess
import sys

import pytest

from moonpool.dialects.common.logs import mask

SECRET = "mp_" + "s3cr3tV4lue-" * 4
FAILING = f"""
import logging, structlog
from moonpool.dialects.common.logs import configure_logging

configure_logging("{{form}}", "{{level}}")

def handle(headers, password):
    raise ValueError("cannot")

def attempt(report):
    try:
        handle({{{{"Authorization": "Bearer " + "{SECRET}"}}}}, "p" + "assw0rd-of-a-user")
    except ValueError:
        report()

attempt(lambda: structlog.get_logger("moonpool").exception("request_failed", path="/x"))
attempt(lambda: logging.getLogger("a.library").exception("it failed"))
attempt(lambda: logging.getLogger("a.library").error("it failed", exc_info=True, stack_info=True))
"""


def logged(code: str, **words: str) -> str:
    done = subprocess.run([sys.executable, "-c", code.format(**words)], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr


@pytest.mark.parametrize("form", ["console", "json"])
@pytest.mark.parametrize("level", ["debug", "error"])
def test_traces_hold_no_local_variables(form: str, level: str) -> None:
    text = logged(FAILING, form=form, level=level)
    assert text.count("Traceback (most recent call last)") == 3
    assert text.count("ValueError: cannot") == 3
    assert SECRET not in text
    assert "assw0rd-of-a-user" not in text


def test_json_is_a_line_an_event() -> None:
    lines = [json.loads(line) for line in logged(FAILING, form="json", level="info").splitlines()]
    assert [line["event"] for line in lines] == ["request_failed", "it failed", "it failed"]
    for line in lines:
        assert line["level"] == "error"
        assert line["timestamp"].endswith("Z")
        assert line["exception"].startswith("Traceback")
        assert "exc_info" not in line
    assert lines[0]["path"] == "/x"


@pytest.mark.parametrize("form", ["console", "json"])
def test_values_that_look_like_secrets_are_masked(form: str) -> None:
    code = f"""
import structlog
from moonpool.dialects.common.logs import configure_logging
configure_logging("{form}", "debug")
structlog.get_logger().info("done", header="Bearer abcdef123456", key="{SECRET}", url="postgresql://me:hunter2@db/x")
try:
    raise ValueError("refused {SECRET}")
except ValueError:
    structlog.get_logger().exception("failed")
"""
    text = logged(code)
    assert not any(secret in text for secret in (SECRET, "abcdef123456", "hunter2"))
    assert "postgresql://me:***@db/x" in text
    assert "refused mp_***" in text


def test_libraries_that_name_whole_addresses_are_quiet() -> None:
    code = """
import logging
from moonpool.dialects.common.logs import configure_logging
configure_logging("json", "debug")
logging.getLogger("uvicorn.error").info('"WebSocket /pty?token=abc" [accepted]')
logging.getLogger("httpx").info("HTTP Request: GET https://x/?token=abc")
"""
    assert logged(code) == ""


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"key {SECRET}.", "key mp_***."),
        ("authorization: bearer eyJhbGciOi.J9_x-y=", "authorization: bearer ***"),
        ('{"authorization": "Basic dXNlcjpwYXNz"}', '{"authorization": "Basic ***"}'),
        ("GET /pty?cols=80&access_token=abc&rows=24", "GET /pty?cols=80&access_token=***&rows=24"),
        ("postgresql+asyncpg://moonpool:p%40ss@db:5432/x", "postgresql+asyncpg://moonpool:***@db:5432/x"),
        ("http://127.0.0.1:8080/api, a@b", "http://127.0.0.1:8080/api, a@b"),
        ("tmp_directory_of_a_user, a basic rule", "tmp_directory_of_a_user, a basic rule"),
    ],
)
def test_mask(text: str, masked: str) -> None:
    assert mask(text) == masked
