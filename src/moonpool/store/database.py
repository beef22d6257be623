"""Connections and units of work, the same over SQLite and PostgreSQL."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import URL, event, make_url
from sqlalchemy.engine import Connection, ExceptionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from moonpool.cancellation import to_the_end
from moonpool.errors import MachineUnfit, NoCapacity
from moonpool.store.migrate import upgrade

BUSY_TIMEOUT = 10_000  # milliseconds to wait for another process's write to the same SQLite file
LOOK_AGAIN = 0.02  # seconds
LAST_WORDS = 10.0  # seconds that reading and writing may go on while the store is being closed
SQLITE_READERS = 4  # connections, a thread each
POSTGRESQL_CONNECTIONS = 8
POSTGRESQL_DISK_FULL = "53100"  # an SQLSTATE

DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}

WRITER_PRAGMAS = (
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT}",
    "PRAGMA journal_mode = WAL",
    # FULL: a commit survives a power cut, not only a crash of the server.
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
)
READER_PRAGMAS = ("PRAGMA query_only = ON", f"PRAGMA busy_timeout = {BUSY_TIMEOUT}")


class Transaction:
    """A unit of work: its ``connection`` is inside one database transaction, committed when the block ends well."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self._after_commit: list[Callable[[], None]] = []

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` right after the commit, before any later unit of work commits; never after a rollback."""
        self._after_commit.append(callback)

    def committed(self) -> None:
        for callback in self._after_commit:
            callback()


class Store:
    """One writer at a time in this process, many readers.

    SQLite has one writer anyway, and waiting for a turn here is cheaper and fairer than its busy loop; on PostgreSQL
    the same rule makes event ids commit in their order. A commit that was begun is finished, and its listeners are
    told, even when the caller is cancelled meanwhile.
    """

    def __init__(self, writer: AsyncEngine, reader: AsyncEngine) -> None:
        self._writer = writer
        self._reader = reader
        self._turn = asyncio.Lock()
        self._lent = Lent()

    @classmethod
    async def open(cls, url: str) -> "Store":
        """Connect, and bring the tables up to date. ``url`` as ``sqlite:///PATH`` or ``postgresql://USER@HOST/NAME``;
        raises MachineUnfit for another kind of database."""
        parsed = normalised(url)
        if parsed.get_backend_name() == "sqlite":
            writer, reader = sqlite_engines(parsed)
        else:
            writer = new_engine(parsed, pool_size=POSTGRESQL_CONNECTIONS, pool_pre_ping=True)
            reader = writer.execution_options(isolation_level="AUTOCOMMIT")
        store = cls(writer, reader)
        try:
            async with store._connected(writer) as connection:
                await connection.run_sync(upgrade)
        except BaseException:
            await to_the_end(store.close())
            raise
        return store

    async def close(self) -> None:
        """What is being read or written comes to its end, for up to ten seconds; whatever comes later is refused."""
        await self._lent.close(LAST_WORDS)
        await self._reader.dispose()
        await self._writer.dispose()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """A unit of work that may write; rolled back when the block raises. NoCapacity when the disk is full."""
        try:
            async with self._turn, self._connected(self._writer) as connection:
                await to_the_end(begun(connection))
                transaction = Transaction(connection)
                yield transaction
                await to_the_end(connection.commit())
                transaction.committed()
        except DBAPIError as error:
            if is_disk_full(error):
                raise NoCapacity("The server's disk is full", hint="Free some space on the server.") from error
            raise

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reading, each statement on its own; on SQLite it can do nothing else."""
        async with self._connected(self._reader) as connection:
            yield connection

    @asynccontextmanager
    async def _connected(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        with self._lent.one():
            async with connected(engine) as connection:
                yield connection


class Lent:
    """How many connections are in use. One that is given back after its engine was disposed of would be kept, open,
    by a pool that nobody knows any more."""

    def __init__(self) -> None:
        self._count = 0
        self._closed = False
        self._all_back = asyncio.Event()
        self._all_back.set()

    @contextmanager
    def one(self) -> Iterator[None]:
        """NoCapacity once it is closed."""
        if self._closed:
            raise NoCapacity("The server is shutting down")
        self._count += 1
        self._all_back.clear()
        try:
            yield
        finally:
            self._count -= 1
            if not self._count:
                self._all_back.set()

    async def close(self, patience: float) -> None:
        self._closed = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._all_back.wait()


@asynccontextmanager
async def connected(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Made and given back to the end, also for one who is cancelled meanwhile: a connection that is dropped half way
    keeps its thread, and what it had locked, for ever."""
    connection = engine.connect()
    try:
        await to_the_end(started(connection))
    except asyncio.CancelledError:
        if connection.sync_connection is not None:
            await connection.close()
        raise
    try:
        yield connection
    finally:
        await to_the_end(connection.close())


async def started(connection: AsyncConnection) -> None:
    await connection.start()


async def begun(connection: AsyncConnection) -> None:
    await connection.begin()


def normalised(url: str) -> URL:
    """The URL with the asynchronous driver that Moonpool uses for its kind of database."""
    parsed = make_url(url)
    backend = parsed.drivername.split("+")[0]
    if backend not in DRIVERS:
        raise MachineUnfit(
            f"'{backend}' is no database that Moonpool can use",
            hint="Set MOONPOOL_DATABASE_URL to sqlite:///PATH or postgresql://USER@HOST/NAME.",
        )
    return parsed.set(drivername=DRIVERS[backend])


def sqlite_url(path: Path) -> str:
    return f"sqlite:///{path}"


def new_engine(url: URL, **options: Any) -> AsyncEngine:
    """Errors name no values: users' environments are among them, and errors are logged."""
    return create_async_engine(url, hide_parameters=True, **options)


def sqlite_engines(url: URL) -> tuple[AsyncEngine, AsyncEngine]:
    writer = new_engine(url, poolclass=AsyncAdaptedQueuePool, pool_size=1, max_overflow=0)
    reader = new_engine(
        url, poolclass=AsyncAdaptedQueuePool, pool_size=SQLITE_READERS, max_overflow=0, pool_reset_on_return=None
    )
    prepare_sqlite(writer, WRITER_PRAGMAS)
    prepare_sqlite(reader, READER_PRAGMAS)

    @event.listens_for(writer.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        # Straight on the driver: SQLAlchemy's own cursor would cost two more trips to the connection's thread.
        driver: Any = connection.connection.dbapi_connection
        driver.run_async(lambda aiosqlite: aiosqlite.execute("BEGIN IMMEDIATE"))

    return writer, reader


def prepare_sqlite(engine: AsyncEngine, pragmas: tuple[str, ...]) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def connect(connection: Any, _record: Any) -> None:
        # Python's sqlite3 would begin transactions by itself, and late; the writer begins its own.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in pragmas:
            patiently(partial(cursor.execute, pragma))
        cursor.close()

    @event.listens_for(engine.sync_engine, "handle_error")
    def keep(context: ExceptionContext) -> None:
        # Of one who is cancelled the statement goes on in the connection's thread, and the rollback comes after it.
        # SQLAlchemy would close the connection, which then keeps its lock for as long as the statement is known.
        if isinstance(context.original_exception, asyncio.CancelledError):
            context.is_disconnect = False


def patiently(action: Callable[[], object]) -> None:
    """SQLite does not wait by itself for another process that is just turning the same new file to WAL."""
    deadline = time.monotonic() + BUSY_TIMEOUT / 1000
    while True:
        try:
            action()
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
            time.sleep(LOOK_AGAIN)


def is_disk_full(error: DBAPIError) -> bool:
    code = getattr(error.orig, "sqlite_errorcode", None)
    return code == sqlite3.SQLITE_FULL or getattr(error.orig, "sqlstate", None) == POSTGRESQL_DISK_FULL
