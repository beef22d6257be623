"""What the outermost application does when the one inside breaks."""

import json

import httpx
import pytest
import structlog
from prometheus_client import CollectorRegistry
from starlette.types import Message, Receive, Scope, Send

from moonpool.dialects.common.logs import configure_logging
from moonpool.dialects.common.observation import Observed


async def broken(scope: Scope, receive: Receive, send: Send) -> None:
    raise ZeroDivisionError("secret internals")


async def broken_midway(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise ZeroDivisionError


def client_of(application: Observed) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://test")


async def test_the_client_gets_an_answer_without_internals_and_the_log_the_trace(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging("json", "info")
    registry = CollectorRegistry()
    async with client_of(Observed(broken, registry, ["api"])) as client:
        answer = await client.get("/api/x?key=topsecret", headers={"X-Request-Id": "request-1"})
    printed = capsys.readouterr().err
    logs = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert "secret" not in answer.text
    failed = next(entry for entry in logs if entry["event"] == "request_failed")
    assert "ZeroDivisionError" in failed["exception"]
    assert "topsecret" not in printed
    assert registry.get_sample_value("moonpool_requests_total", {"api": "api", "status": "500"}) == 1


async def test_an_answer_that_was_begun_is_not_begun_again() -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/api/x", "headers": []}
    await Observed(broken_midway, CollectorRegistry(), ["api"])(scope, receive, send)
    assert [(message["type"], message["status"]) for message in sent] == [("http.response.start", 200)]


def test_logs_show_no_local_variables(capsys: pytest.CaptureFixture[str]) -> None:
    for form in ("console", "json"):
        configure_logging(form, "info")
        try:
            int("key-of-" + "a-user")
        except ValueError:
            structlog.get_logger().exception("failed", path="/x")
        lines = capsys.readouterr().err
        assert "ValueError" in lines
        assert "locals" not in lines
        assert "capsys" not in lines


@pytest.mark.parametrize("path", ["/", "/x", "/x/y", "/apis"])
async def test_made_up_paths_add_nothing_to_the_figures(path: str) -> None:
    registry = CollectorRegistry()
    async with client_of(Observed(broken, registry, ["api"])) as client:
        await client.get(path)
    assert registry.get_sample_value("moonpool_requests_total", {"api": "unknown", "status": "500"}) == 1
