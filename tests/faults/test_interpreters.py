"""Interpreters whose server goes, and whose code prints without an end."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.servers import Server, create, open_client

PRINTED = 100 * 1024 * 1024  # bytes
GROWTH = 96 * 1024 * 1024  # bytes that a server may grow by, whatever passes through it


@contextmanager
def executing(server: Server, sandbox: str, code: str) -> Iterator[ClientConnection]:
    address = f"{server.url.replace('http', 'ws', 1)}/toolbox/{sandbox}/process/interpreter/execute"
    headers = {"Authorization": f"Bearer {server.api_key}"}
    with connect(address, additional_headers=headers, proxy=None, max_size=None) as socket:
        socket.send(json.dumps({"code": code, "timeout": 60}))
        yield socket


def printed(server: Server, sandbox: str, code: str) -> str:
    with executing(server, sandbox, code) as socket:
        return "".join(event.get("text", "") for event in map(json.loads, socket) if event["type"] == "stdout")


def memory(pid: int) -> int:
    """Bytes resident."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def test_code_of_a_server_that_was_killed_gives_way(server: Server) -> None:
    with open_client(server) as client:
        sandbox = create(client)
        code = "x = 5\nprint('begun', flush=True)\nimport time\ntime.sleep(600)"
        with executing(server, sandbox, code) as socket:
            assert json.loads(socket.recv())["text"].startswith("begun")
            server.kill()
            with pytest.raises(ConnectionClosed):
                socket.recv()
        server.start_again()
        assert printed(server, sandbox, "print(x)") == "5\n"
        client.delete(f"/api/sandbox/{sandbox}")


def test_what_prints_without_end_costs_no_memory(server: Server) -> None:
    with open_client(server) as client:
        sandbox = create(client)
        printed(server, sandbox, "1")
        before, received = memory(server.process.pid), 0
        with executing(server, sandbox, "while True: print('x' * 100_000)") as socket:
            while received < PRINTED:
                received += len(socket.recv())
        assert memory(server.process.pid) - before < GROWTH
        assert printed(server, sandbox, "print('on')") == "on\n"
        client.delete(f"/api/sandbox/{sandbox}")
