"""From nothing to a running server, as `./up` does it once everything is installed."""

import os
import re
import select
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.cli.program import Cli
from tests.data import furnish
from tests.ports import free_port
from tests.sdk.node import PROGRAMS, node_project
from tests.sdk.wrenn.conftest import python_313

STOP_TIMEOUT = 120.0  # seconds


def stop(pid: int) -> None:
    """The server is nobody's child any more: its end is told by its pidfd."""
    descriptor = os.pidfd_open(pid)
    try:
        os.kill(pid, signal.SIGTERM)
        ended, _, _ = select.select([descriptor], [], [], STOP_TIMEOUT)
        assert ended, "the server does not stop"
    finally:
        os.close(descriptor)


def pid_in(printed: str) -> int:
    found = re.search(r"To stop the server: kill (\d+)", printed)
    assert found, printed
    return int(found[1])


def snippet(printed: str, title: str) -> str:
    found = re.search(rf"^# {title}.*?^(?:PYTHON|JAVASCRIPT)$", printed, re.DOTALL | re.MULTILINE)
    assert found, printed
    return found[0]


def snippet_places() -> dict[str, tuple[str, Path | None]]:
    """Where a program is that a snippet takes for granted, and the folder to run it in."""
    return {
        "Daytona SDK": ("", None),
        "Wrenn SDK": (os.path.dirname(python_313()), None),
        "CodeSandbox SDK": (str(PROGRAMS), node_project("codesandbox", **{"@codesandbox/sdk": "2.4.2"})),
        "Freestyle SDK": (str(PROGRAMS), node_project("freestyle", freestyle="0.1.63")),
    }


@pytest.fixture
def fresh(lonely: Cli) -> Cli:
    noted = str(lonely.data.with_name("environment"))
    variables = {
        "MOONPOOL_LISTEN": f"127.0.0.1:{free_port()}",
        "MOONPOOL_ENVIRONMENT_FILE": noted,
        "MOONPOOL_POOL_SIZE": "2",
    }
    return Cli({**lonely.environment, **variables}, forked=False)


def test_a_server_that_works_as_printed_and_can_be_stopped(fresh: Cli) -> None:
    first = fresh("up").stdout
    pid = pid_in(first)
    try:
        noted = fresh.data.with_name("environment")
        assert noted.stat().st_mode & 0o777 == 0o600
        settings = dict(line.split("=", 1) for line in noted.read_text().splitlines())
        assert settings["MOONPOOL_POOL_SIZE"] == "2"
        assert "MOONPOOL_ENVIRONMENT_FILE" not in settings
        assert re.search(r"made and answered in \d+ ms", first)
        assert f"http://{settings['MOONPOOL_LISTEN']}" in first
        assert settings["MOONPOOL_API_KEY"] in first

        again = fresh("up")
        assert again.stderr == ""
        assert pid_in(again.stdout) == pid
        assert settings["MOONPOOL_API_KEY"] in again.stdout
        assert fresh("sandbox", "list").stdout.splitlines()[1:] == []

        for title, (path, folder) in snippet_places().items():
            variables = {**fresh.environment, "PATH": f"{path}:{os.environ['PATH']}"}
            command = ["bash", "-c", snippet(first, title)]
            done = subprocess.run(command, env=variables, cwd=folder, capture_output=True, text=True, check=False)
            assert done.stdout.strip() == "hi", f"{title}: {done.stdout} {done.stderr}"
    finally:
        stop(pid)
    assert "nothing of one is there" in fresh("doctor").stdout


def test_a_start_that_fails_says_why(fresh: Cli) -> None:
    fresh.data.mkdir(mode=0o700)
    furnish(fresh.data)  # Images and all: only the start itself is left to fail.
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        done = fresh("up", exit_code=1, MOONPOOL_LISTEN=listen)
    assert "address already in use" in done.stderr
    assert "nothing of one is there" in fresh("doctor").stdout
