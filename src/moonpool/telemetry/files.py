"""Telemetry on disk: an SQLite file a sandbox, bounded in size and age, so that none is in another's way.

Everything here blocks, and may be called from several threads: each call opens its file and closes it again.
"""

import contextlib
import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from moonpool.telemetry.model import LogRecord, Span, Status, TelemetryQuery, Trace

MAX_BYTES = 64 << 20  # of one file
PAGE = 4096  # bytes
MAX_ROWS = 100_000  # of logs, and of spans
KEEP = 7 * 24 * 3600 * 10**9  # nanoseconds
SLACK = 1.1  # rows are removed down to the limit when there are so many times as many
SUFFIX = ".sqlite"
ATTEMPTS = 5  # to make room
WAIT = 10.0  # seconds for another thread's write

SCHEMA = """
CREATE TABLE IF NOT EXISTS logs (
    at INTEGER NOT NULL, body TEXT NOT NULL, severity INTEGER NOT NULL, severity_text TEXT NOT NULL,
    service TEXT NOT NULL, resource TEXT NOT NULL, attributes TEXT NOT NULL, trace_id TEXT, span_id TEXT);
CREATE INDEX IF NOT EXISTS logs_at ON logs (at);
CREATE TABLE IF NOT EXISTS spans (
    trace_id TEXT NOT NULL, span_id TEXT NOT NULL, parent_id TEXT, name TEXT NOT NULL, at INTEGER NOT NULL,
    duration INTEGER NOT NULL, service TEXT NOT NULL, attributes TEXT NOT NULL, status TEXT NOT NULL,
    status_message TEXT NOT NULL, PRIMARY KEY (trace_id, span_id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS spans_at ON spans (at);
"""
LOG = "INSERT INTO logs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
SPAN = "INSERT OR REPLACE INTO spans VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
TRACES = """
SELECT trace_id, MIN(at) AS begin, MAX(at + duration) AS finish, COUNT(*) AS spans FROM spans
GROUP BY trace_id HAVING begin BETWEEN ? AND ?"""
ROOT = "SELECT name, status FROM spans WHERE trace_id = ? ORDER BY parent_id IS NOT NULL, at LIMIT 1"

Result = TypeVar("Result")


class TelemetryFiles:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def prepare(self, known: Collection[str]) -> None:
        """Make the folder; remove what belongs to no sandbox of ``known``."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in self._folder.iterdir():
            if path.name.partition(".")[0] not in known:
                path.unlink(missing_ok=True)

    def remove(self, sandbox_id: str) -> None:
        for path in self._folder.glob(f"{sandbox_id}{SUFFIX}*"):
            path.unlink(missing_ok=True)

    def add(self, sandbox_id: str, logs: Iterable[LogRecord], spans: Iterable[Span], now: int) -> None:
        """What is too old goes, and the oldest where there is no room. OSError, sqlite3.Error: nothing was added."""
        rows, pieces = [log_row(record) for record in logs], [span_row(span) for span in spans]

        def write(connection: sqlite3.Connection) -> None:
            for table in ("logs", "spans"):
                connection.execute(f"DELETE FROM {table} WHERE at < ?", (now - KEEP,))  # noqa: S608 - ours
            connection.executemany(LOG, rows)
            connection.executemany(SPAN, pieces)
            bound(connection, MAX_ROWS)

        with self._opened(sandbox_id) as connection:
            for _ in range(ATTEMPTS):
                try:
                    in_turn(connection, write)
                    return
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                        raise
                in_turn(connection, halve)
            in_turn(connection, write)

    def logs(self, sandbox_id: str, query: TelemetryQuery) -> tuple[list[LogRecord], int]:
        """A page, and how many there are in all."""
        where, values = ["at BETWEEN ? AND ?"], [nanoseconds(query.since), nanoseconds(query.until)]
        wanted: list[Any] = list(values)
        if query.severities:
            where.append(f"UPPER(severity_text) IN ({', '.join('?' * len(query.severities))})")
            wanted += [word.upper() for word in query.severities]
        if query.search:
            where.append("INSTR(LOWER(body), LOWER(?)) > 0")
            wanted.append(query.search)
        condition = " AND ".join(where)
        with self._reading(sandbox_id) as connection:
            if connection is None:
                return [], 0
            counted = f"SELECT COUNT(*) FROM logs WHERE {condition}"  # noqa: S608 - values are bound
            total = int(connection.execute(counted, wanted).fetchone()[0])
            page = f"SELECT * FROM logs WHERE {condition} ORDER BY at DESC, rowid DESC LIMIT ? OFFSET ?"  # noqa: S608
            rows = connection.execute(page, [*wanted, query.limit, (query.page - 1) * query.limit])
            return [log_of(row) for row in rows], total

    def traces(self, sandbox_id: str, query: TelemetryQuery) -> tuple[list[Trace], int]:
        span = (nanoseconds(query.since), nanoseconds(query.until))
        with self._reading(sandbox_id) as connection:
            if connection is None:
                return [], 0
            total = int(connection.execute(f"SELECT COUNT(*) FROM ({TRACES})", span).fetchone()[0])  # noqa: S608
            page = f"{TRACES} ORDER BY begin DESC, trace_id LIMIT ? OFFSET ?"
            rows = connection.execute(page, (*span, query.limit, (query.page - 1) * query.limit)).fetchall()
            return [trace_of(row, connection.execute(ROOT, (row[0],)).fetchone()) for row in rows], total

    def spans(self, sandbox_id: str, trace_id: str) -> list[Span]:
        """Of one trace, the first one first."""
        with self._reading(sandbox_id) as connection:
            if connection is None:
                return []
            rows = connection.execute("SELECT * FROM spans WHERE trace_id = ? ORDER BY at, span_id", (trace_id,))
            return [span_of(row) for row in rows]

    @contextlib.contextmanager
    def _opened(self, sandbox_id: str) -> Iterator[sqlite3.Connection]:
        path = self._folder / f"{sandbox_id}{SUFFIX}"
        with contextlib.closing(sqlite3.connect(path, timeout=WAIT, isolation_level=None)) as connection:
            # A power cut may cost the last seconds, and never the file.
            for pragma in ("journal_mode = WAL", "synchronous = NORMAL", f"max_page_count = {MAX_BYTES // PAGE}"):
                connection.execute(f"PRAGMA {pragma}")
            connection.executescript(SCHEMA)
            yield connection

    @contextlib.contextmanager
    def _reading(self, sandbox_id: str) -> Iterator[sqlite3.Connection | None]:
        if not (self._folder / f"{sandbox_id}{SUFFIX}").exists():
            yield None
            return
        with self._opened(sandbox_id) as connection:
            yield connection


def in_turn(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], None]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        work(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def bound(connection: sqlite3.Connection, limit: int) -> None:
    for table in ("logs", "spans"):
        count = connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]  # noqa: S608 - ours
        if count > limit * SLACK:
            drop_oldest(connection, table, count - limit)


def halve(connection: sqlite3.Connection) -> None:
    for table in ("logs", "spans"):
        count = connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]  # noqa: S608 - ours
        drop_oldest(connection, table, (count + 1) // 2)


def drop_oldest(connection: sqlite3.Connection, table: str, count: int) -> None:
    boundary = f"SELECT at FROM {table} ORDER BY at LIMIT 1 OFFSET ?"  # noqa: S608 - ours
    if count > 0 and (row := connection.execute(boundary, (count - 1,)).fetchone()):
        connection.execute(f"DELETE FROM {table} WHERE at <= ?", row)  # noqa: S608 - ours


def nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * 10**9 + moment.microsecond * 1000


def log_row(record: LogRecord) -> tuple[Any, ...]:
    return (
        record.at,
        record.body,
        record.severity,
        record.severity_text,
        record.service,
        json.dumps(record.resource),
        json.dumps(record.attributes),
        record.trace_id,
        record.span_id,
    )


def log_of(row: tuple[Any, ...]) -> LogRecord:
    at, body, severity, severity_text, service, resource, attributes, trace_id, span_id = row
    return LogRecord(
        at, body, severity, severity_text, service, json.loads(resource), json.loads(attributes), trace_id, span_id
    )


def span_row(span: Span) -> tuple[Any, ...]:
    return (
        span.trace_id,
        span.span_id,
        span.parent_id,
        span.name,
        span.at,
        span.duration,
        span.service,
        json.dumps(span.attributes),
        span.status.value,
        span.status_message,
    )


def span_of(row: tuple[Any, ...]) -> Span:
    trace_id, span_id, parent_id, name, at, duration, service, attributes, status, message = row
    return Span(
        trace_id, span_id, parent_id, name, at, duration, service, json.loads(attributes), Status(status), message
    )


def trace_of(row: tuple[Any, ...], root: tuple[str, str]) -> Trace:
    return Trace(row[0], root[0], row[1], row[2], row[3], Status(root[1]))
