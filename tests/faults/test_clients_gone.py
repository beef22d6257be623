"""Commands that outlive whoever asked for them, or their time: neither stays behind."""

import http.client
import json
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from tests.faults.answers import accepted, refused
from tests.faults.sandboxes import Sandbox
from tests.servers import Server

STUBBORN = "trap '' TERM INT HUP; sleep 1000 & sleep 1001"  # and what it starts is not asked either
WAYS = ("execute", "code-run", "capsule")


def request_of(box: Sandbox, way: str, **more: object) -> tuple[str, dict[str, Any]]:
    """The address and body that run STUBBORN."""
    if way == "execute":
        return f"{box.toolbox}/process/execute", {"command": STUBBORN, **more}
    if way == "code-run":
        code = f"import subprocess; subprocess.run({STUBBORN!r}, shell=True)"
        return f"{box.toolbox}/process/code-run", {"code": code, "language": "python", **more}
    return f"{box.capsule}/exec", {"cmd": "/bin/sh", "args": ["-c", STUBBORN], **more}


def wait_until_nothing_sleeps(box: Sandbox) -> None:
    box.run("while pgrep -x sleep >/dev/null; do :; done", timeout=60)


def wait_until_it_sleeps(box: Sandbox) -> None:
    box.run("until [ $(pgrep -cx sleep) = 2 ]; do :; done", timeout=60)


@pytest.mark.parametrize("way", WAYS)
def test_a_client_that_leaves_takes_its_command_along(server: Server, box: Sandbox, way: str) -> None:
    path, body = request_of(box, way)
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"))
    headers = {"Authorization": f"Bearer {server.api_key}", "Content-Type": "application/json"}
    connection.request("POST", path, json.dumps(body), headers)
    wait_until_it_sleeps(box)
    connection.close()
    wait_until_nothing_sleeps(box)


def test_a_terminal_that_is_closed_hangs_up(server: Server, box: Sandbox) -> None:
    """Wrenn's stream runs a command for as long as somebody listens."""
    address = server.url.replace("http", "ws", 1) + f"{box.capsule}/exec/stream"
    headers = {"Authorization": f"Bearer {server.api_key}"}
    with connect(address, additional_headers=headers, proxy=None) as socket:
        socket.send(json.dumps({"type": "start", "cmd": "/bin/sh", "args": ["-c", STUBBORN]}))
        wait_until_it_sleeps(box)
    wait_until_nothing_sleeps(box)


@pytest.mark.parametrize("way", WAYS)
def test_a_command_that_ignores_every_request_to_end_is_killed(client: httpx.Client, box: Sandbox, way: str) -> None:
    path, body = request_of(box, way, **{"timeout_sec" if way == "capsule" else "timeout": 1})
    refused(client.post(path, json=body), 408, 504)
    wait_until_nothing_sleeps(box)


def test_a_session_that_is_deleted_takes_its_commands_along(client: httpx.Client, box: Sandbox) -> None:
    sessions = f"{box.toolbox}/process/session"
    accepted(client.post(sessions, json={"sessionId": "one"}))
    accepted(client.post(f"{sessions}/one/exec", json={"command": STUBBORN, "runAsync": True}))
    wait_until_it_sleeps(box)
    accepted(client.delete(f"{sessions}/one"))
    wait_until_nothing_sleeps(box)
