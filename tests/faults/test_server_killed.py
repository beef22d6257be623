"""SIGKILL of the server, and of what it runs: nothing alive is lost, nothing dead is called alive."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from moonpool.engine.instance import Instance
from tests.servers import Server, create, execute, open_client, running_server

ALIVE = 20


@pytest.fixture
def own_server() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture
def client(own_server: Server) -> Iterator[httpx.Client]:
    with open_client(own_server) as client:
        yield client


def state(client: httpx.Client, sandbox: str) -> str:
    return str(client.get(f"/api/sandbox/{sandbox}").json()["state"])


def test_sandboxes_outlive_the_server_with_their_processes(own_server: Server, client: httpx.Client) -> None:
    sandboxes = [create(client) for _ in range(ALIVE)]
    started = {box: execute(client, box, "nohup sleep 10000 >/dev/null 2>&1 & echo $!").strip() for box in sandboxes}

    own_server.kill()
    own_server.start_again()

    for box, process in started.items():
        assert state(client, box) == "started"
        assert execute(client, box, f"cat /proc/{process}/comm") == "sleep\n"


def test_a_killed_sandbox_is_told_and_comes_back_with_its_files(own_server: Server, client: httpx.Client) -> None:
    box = create(client)
    execute(client, box, "echo kept > kept.txt")

    sentry = sandbox_process(own_server, box)
    os.kill(sentry, signal.SIGKILL)
    assert wait_for_state(client, box, "stopped")["errorReason"] == "crashed"

    assert client.post(f"/api/sandbox/{box}/start").status_code == 200
    assert execute(client, box, "cat kept.txt") == "kept\n"


def test_a_sandbox_that_dies_while_the_server_is_down_is_told(own_server: Server, client: httpx.Client) -> None:
    box = create(client)
    execute(client, box, "echo kept > kept.txt")
    sentry = sandbox_process(own_server, box)

    own_server.kill()
    os.kill(sentry, signal.SIGKILL)
    own_server.start_again()

    assert state(client, box) == "stopped"
    assert client.post(f"/api/sandbox/{box}/start").status_code == 200
    assert execute(client, box, "cat kept.txt") == "kept\n"


def test_paused_sandboxes_survive_a_killed_server(own_server: Server, client: httpx.Client) -> None:
    box = create(client)
    process = execute(client, box, "nohup sleep 10000 >/dev/null 2>&1 & echo $!").strip()
    assert client.post(f"/api/sandbox/{box}/pause").status_code == 200
    wait_for_state(client, box, "paused")

    own_server.kill()
    own_server.start_again()

    assert state(client, box) == "paused"
    assert client.post(f"/api/sandbox/{box}/start").status_code == 200
    assert execute(client, box, f"cat /proc/{process}/comm") == "sleep\n"


def sandbox_process(server: Server, sandbox: str) -> int:
    """The pid of the sandbox's gVisor kernel, from the server's own records."""
    run = Instance(server.data.resolve()).run
    member = json.loads((run / "machines" / f"{sandbox}.json").read_text())["member"]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            words = command_line(entry)
            if words and words[0].endswith("runsc-sandbox") and words[-1 if words[-1] else -2] == member:
                return int(entry.name)
    raise AssertionError(f"no process of {member}")


def command_line(entry: Path) -> list[str]:
    try:
        return (entry / "cmdline").read_text().split("\0")
    except OSError:
        return []


def wait_for_state(client: httpx.Client, sandbox: str, wanted: str) -> dict[str, object]:
    """The sandbox's row once it is in ``wanted``; the server has no event that a plain HTTP client could wait on."""
    for _ in range(400):
        row: dict[str, object] = client.get(f"/api/sandbox/{sandbox}").json()
        if row["state"] == wanted:
            return row
        os.sched_yield()
    raise AssertionError(row)
