"""A real server: `moonpool serve`, in a process of its own, on a free loopback port.

The process is a fork of one that has the server's modules (tests/programs.py), or, where a test asks for that as those
of the command line do, the program itself.
"""

import asyncio
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.data import VAR_TMP, data_folder
from tests.ports import free_port
from tests.programs import Program, begin

START_TIMEOUT = 1200.0  # seconds; the first start may have to build images, from a slow mirror
STOP_TIMEOUT = 60.0  # seconds


@dataclass
class Server:
    url: str
    api_key: str
    data: Path
    process: "Program | subprocess.Popen[bytes]"
    environment: dict[str, str]
    forked: bool

    def kill(self) -> None:
        """SIGKILL, as a crash would end it."""
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """SIGTERM, as an administrator would end it."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(STOP_TIMEOUT)

    def start_again(self, *, on_exit: str = "stop") -> None:
        self.process = launch(self.url, self.data, self.environment, on_exit=on_exit, forked=self.forked)
        wait_until_ready(self)


@contextmanager
def running_server(*, folder: Path = VAR_TMP, forked: bool = True, **environment: str) -> Iterator[Server]:
    """A server with its data below ``folder`` and extra environment variables; all of it is gone afterwards."""
    with data_folder(folder) as data, serving(data, forked=forked, **environment) as server:
        yield server


@contextmanager
def serving(data: Path, *, forked: bool = True, **environment: str) -> Iterator[Server]:
    url = f"http://127.0.0.1:{free_port()}"
    key = f"mp_{secrets.token_urlsafe(32)}"
    # Half as many warm members as a server has otherwise: each costs its start a quarter of a second of a processor.
    variables = {**os.environ, "MOONPOOL_API_KEY": key, "MOONPOOL_POOL_SIZE": "2", **environment}
    server = Server(url, key, data, launch(url, data, variables, forked=forked), variables, forked)
    try:
        wait_until_ready(server)
        yield server
    finally:
        server.process.send_signal(signal.SIGTERM)
        try:
            server.process.wait(STOP_TIMEOUT)
        finally:
            server.process.kill()


def launch(
    url: str, data: Path, environment: dict[str, str], *, on_exit: str = "stop", forked: bool
) -> "Program | subprocess.Popen[bytes]":
    words = ("serve", "--listen", url.removeprefix("http://"), "--data", str(data), "--on-exit", on_exit)
    with open(data / "server.log", "ab") as log:
        if forked:
            return begin("moonpool", *words, environment=environment, output=log, errors=log)
        command = [sys.executable, "-m", "moonpool", *words]
        return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def wait_until_ready(server: Server) -> None:
    async def wait() -> None:
        async with asyncio.timeout(START_TIMEOUT), httpx.AsyncClient(trust_env=False, verify=False) as client:
            while server.process.poll() is None:
                try:
                    if (await client.get(f"{server.url}/healthz")).status_code == httpx.codes.OK:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.05)  # Another process: its only sign is that it answers.
        raise RuntimeError((server.data / "server.log").read_text()[-4000:])

    asyncio.run(wait())


def open_client(server: Server) -> httpx.Client:
    headers = {"Authorization": f"Bearer {server.api_key}"}
    return httpx.Client(base_url=server.url, headers=headers, timeout=120, trust_env=False, verify=False)


def create(client: httpx.Client, **body: object) -> str:
    answer = client.post("/api/sandbox", json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def execute(client: httpx.Client, sandbox: str, command: str) -> str:
    answer = client.post(f"/toolbox/{sandbox}/process/execute", json={"command": command})
    assert answer.status_code == 200, answer.text
    assert answer.json()["exitCode"] == 0, answer.text
    return str(answer.json()["result"])


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with running_server(MOONPOOL_SSH_LISTEN="127.0.0.1:0") as running:
        yield running


@pytest.fixture(scope="session")
def server_factory() -> Callable[..., object]:
    """``with server_factory(MOONPOOL_...="...") as server:``"""
    return running_server
