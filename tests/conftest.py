"""Fixtures that several test folders share: a clock that stands still, and a database of each kind."""

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


@pytest.fixture
async def postgresql_url(postgresql_server: str) -> AsyncIterator[str]:
    """An empty database."""
    name = f"test_{random_word(12)}"
    connection = await asyncpg.connect(f"{postgresql_server}/postgres")
    try:
        await connection.execute(f"CREATE DATABASE {name}")
        yield f"{postgresql_server}/{name}"
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'db.sqlite'}"
    url: str = request.getfixturevalue("postgresql_url")
    return url


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    opened = await Store.open(database_url)
    yield opened
    await opened.close()
