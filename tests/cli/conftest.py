"""The real `moonpool` program, in a process of its own, against a real server."""

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.cli.program import PROGRAM, Cli, environment_for
from tests.servers import Server, running_server


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with running_server(forked=False, MOONPOOL_SSH_LISTEN="127.0.0.1:0") as running:
        yield running


@pytest.fixture(scope="session")
def server_factory() -> Callable[..., object]:
    """``with server_factory(MOONPOOL_...="...") as server:``"""
    return partial(running_server, forked=False)


@pytest.fixture
def cli(server: Server) -> Cli:
    """``cli("sandbox", "list")``, as the server's first user."""
    return Cli(environment_for(server.data, MOONPOOL_URL=server.url, MOONPOOL_API_KEY=server.api_key))


@pytest.fixture
def lonely() -> Iterator[Cli]:
    """The same on a data folder of its own that is not there yet, and where no server runs."""
    with tempfile.TemporaryDirectory(prefix="moonpool-test-", dir="/var/tmp") as folder:
        yield Cli(environment_for(Path(folder, "data")))


@pytest.fixture
def box(cli: Cli) -> Iterator[str]:
    """A sandbox's id."""
    identifier = cli("sandbox", "run").stdout.strip()
    yield identifier
    cli("sandbox", "rm", identifier)


@pytest.fixture
def start(cli: Cli) -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    """Begin a command and go on; ended at the latest with the test."""
    begun: list[subprocess.Popen[bytes]] = []

    def begin(*words: str, **options: object) -> "subprocess.Popen[bytes]":
        # Tests may run in the background, where a shell has programs ignore interrupts.
        command = ["env", "--default-signal=INT", PROGRAM, *words]
        process = subprocess.Popen(command, env=cli.environment, **options)  # type: ignore[call-overload]
        begun.append(process)
        return process

    yield begin
    for process in begun:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of a new pseudo-terminal: ours and the program's."""
    ends = os.openpty()
    yield ends
    for end in ends:
        os.close(end)
