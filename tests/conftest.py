"""Fixtures that several test folders share: a clock that stands still, and a database of each kind."""

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from moonpool.ids import random_word
from moonpool.store.database import Store

POSTGRESQL = Path("/usr/lib/postgresql")
LOOPBACK = "127.0.0.1"


class ManualClock:
    """Moves only when told; ``wall`` and ``steady`` time may be moved apart, as when someone sets the date."""

    def __init__(self) -> None:
        self.wall = datetime(2026, 1, 1, tzinfo=UTC)
        self.steady = 1000.0

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.steady

    def advance(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.steady += seconds


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a cluster of the tests' own, without a database's name."""
    binaries = max(POSTGRESQL.glob("*/bin"), key=lambda path: int(path.parent.name))
    folder = Path(tempfile.mkdtemp(prefix="moonpool-postgresql-", dir="/var/tmp"))
    data = folder / "data"
    owner: dict[str, str] = {}
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root.
        shutil.chown(folder, "postgres", "postgres")
        owner = {"user": "postgres", "group": "postgres"}
    port = free_port()
    options = f"-p {port} -c listen_addresses={LOOPBACK} -c unix_socket_directories={folder} -c fsync=off"

    def run(*command: str) -> None:
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, **owner)

    try:
        run(str(binaries / "initdb"), "--pgdata", str(data), "--auth=trust", "--username=moonpool", "--no-sync")
        control = [str(binaries / "pg_ctl"), "--pgdata", str(data), "--wait"]
        run(*control, "--log", str(folder / "log"), "--options", options, "start")
        try:
            yield f"postgresql://moonpool@{LOOPBACK}:{port}"
        finally:
            run(*control, "--mode=immediate", "stop")
    finally:
        shutil.rmtree(folder)


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def postgresql_template(postgresql_server: str) -> str:
    """The name of a database that has its tables already."""
    asyncio.run(create_database(postgresql_server, "template_moonpool"))
    asyncio.run(migrate(f"{postgresql_server}/template_moonpool"))
    return "template_moonpool"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'db.sqlite'}"
    server, name = request.getfixturevalue("postgresql_server"), f"test_{random_word(12)}"
    asyncio.run(create_database(server, name))
    return f"{server}/{name}"


@pytest.fixture(params=["sqlite", "postgresql"])
def prepared_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of each kind, the slower one with its tables already."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'db.sqlite'}"
    server, name = request.getfixturevalue("postgresql_server"), f"test_{random_word(12)}"
    asyncio.run(create_database(server, name, request.getfixturevalue("postgresql_template")))
    return f"{server}/{name}"


@pytest.fixture
async def store(prepared_url: str) -> AsyncIterator[Store]:
    opened = await Store.open(prepared_url)
    yield opened
    await opened.close()


async def create_database(server: str, name: str, template: str = "template0") -> None:
    """They all go with the cluster."""
    connection = await asyncpg.connect(f"{server}/postgres")
    try:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    finally:
        await connection.close()


async def migrate(url: str) -> None:
    store = await Store.open(url)
    await store.close()
