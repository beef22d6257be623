"""Fixtures that several test folders share: a clock that stands still, and a database of each kind."""

import asyncio
import ctypes
import gc
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import hypothesis
import pytest

from moonpool.ids import random_word
from moonpool.store.database import Store
from tests.contract.run import (
    pytest_addoption,
    pytest_deselected,
    pytest_runtest_logreport,
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_testnodedown,
)
from tests.data import pytest_configure, pytest_unconfigure
from tests.databases import migrate, prepare
from tests.order import pytest_collection_modifyitems
from tests.ports import free_port

__all__ = [
    "pytest_addoption",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_deselected",
    "pytest_runtest_logreport",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
    "pytest_testnodedown",
    "pytest_unconfigure",
]

# How long an example takes says nothing on a machine that others use too.
hypothesis.settings.register_profile("moonpool", deadline=None)
hypothesis.settings.load_profile("moonpool")

POSTGRESQL = Path("/usr/lib/postgresql")
LOOPBACK = "127.0.0.1"
PR_SET_PDEATHSIG = 1  # of linux/prctl.h
WRITTEN_TABLES = """
SELECT oid::regclass::text FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> 'alembic_version'
AND pg_relation_size(oid) > 0
"""
USED_SEQUENCES = """
SELECT quote_ident(sequencename) FROM pg_sequences WHERE schemaname = 'public' AND last_value IS NOT NULL
"""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is loaded stays: to look for garbage in it again and again takes a fifth of the collection, and an eighth
    of the tests' time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.set_threshold(7_000, 10, 10)
        gc.enable()


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
    """The URL of a cluster of the tests' own, without a database's name. It ends with the tests, even killed ones."""
    binaries = max(POSTGRESQL.glob("*/bin"), key=lambda path: int(path.parent.name))
    folder = Path(tempfile.mkdtemp(prefix="moonpool-postgresql-", dir="/var/tmp"))
    data, port = str(folder / "data"), free_port()
    owner: dict[str, str] = {}
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root.
        shutil.chown(folder, "postgres", "postgres")
        owner = {"user": "postgres", "group": "postgres"}
    initialise = [binaries / "initdb", "--pgdata", data, "--auth=trust", "--username=moonpool", "--no-sync"]
    settings = {
        "listen_addresses": LOOPBACK,
        "unix_socket_directories": str(folder),
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
        "autovacuum": "off",
        "jit": "off",
        "log_min_messages": "log",  # Nothing of what tests provoke, so that the unread pipe never fills.
        "log_checkpoints": "off",
    }
    command = [binaries / "postgres", "-D", data, "-p", str(port)]
    command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    try:
        subprocess.run(initialise, check=True, cwd=folder, stdout=subprocess.DEVNULL, **owner)
        with subprocess.Popen(
            command, cwd=folder, stderr=subprocess.PIPE, preexec_fn=die_with_parent, **owner
        ) as server:
            try:
                assert server.stderr is not None
                assert any(b"ready to accept connections" in line for line in server.stderr)
                yield f"postgresql://moonpool@{LOOPBACK}:{port}"
            finally:
                server.send_signal(signal.SIGQUIT)
    finally:
        shutil.rmtree(folder)


def die_with_parent() -> None:
    """In a child before its program: the kernel ends it when this process ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)


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


@pytest.fixture(scope="session")
def spare_databases() -> list[str]:
    """URLs of databases that have their tables, and no rows."""
    return []


@pytest.fixture(params=["sqlite", "postgresql"])
def prepared_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of each kind that has its tables already."""
    if request.param == "sqlite":
        yield f"sqlite:///{prepare(tmp_path)}"
        return
    spare: list[str] = request.getfixturevalue("spare_databases")
    if not spare:
        server, name = request.getfixturevalue("postgresql_server"), f"test_{random_word(12)}"
        asyncio.run(create_database(server, name, request.getfixturevalue("postgresql_template")))
        spare.append(f"{server}/{name}")
    url = spare.pop()
    yield url
    with suppress(asyncpg.LockNotAvailableError):  # A test that failed may still use it.
        asyncio.run(empty_database(url))
        spare.append(url)


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


async def empty_database(url: str) -> None:
    """As it was made: no rows, no pages, counters at their beginning. Takes a hundredth of a second, where a new
    database takes some tenths, and TRUNCATE, which gives each table and index a new file, four times as long."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SET lock_timeout = '1s'; SET session_replication_role = replica")  # in any order
        if tables := [row[0] for row in await connection.fetch(WRITTEN_TABLES)]:
            sequences = [row[0] for row in await connection.fetch(USED_SEQUENCES)]
            steps = [f"LOCK TABLE {', '.join(tables)}", *(f"DELETE FROM {table}" for table in tables)]
            steps += [f"ALTER SEQUENCE {sequence} RESTART" for sequence in sequences]
            async with connection.transaction():
                await connection.execute("; ".join(steps))
            await connection.execute(f"VACUUM (INDEX_CLEANUP ON, PROCESS_TOAST OFF) {', '.join(tables)}")
    finally:
        await connection.close()
