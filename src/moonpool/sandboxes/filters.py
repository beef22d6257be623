"""From a ``SandboxQuery`` to SQL."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, and_, cast, exists, func, or_, select
from sqlalchemy.dialects.postgresql import JSONB

from moonpool.errors import InvalidInput
from moonpool.sandboxes.model import DesiredState, Sandbox, SandboxState
from moonpool.sandboxes.query import SandboxQuery, SandboxSort
from moonpool.store.paging import decode_cursor
from moonpool.store.tables import sandboxes
from moonpool.store.text import storable

MAX_PAGE_SIZE = 1000
MAX_PAGE = 1_000_000_000
FAR = 2**62  # no figure in a row is larger; larger ones in a filter do not fit into SQL's integers

COLUMNS = {
    SandboxSort.NAME: sandboxes.c.name,
    SandboxSort.CPU: sandboxes.c.cpu,
    SandboxSort.MEMORY: sandboxes.c.memory_mib,
    SandboxSort.DISK: sandboxes.c.disk_mib,
    SandboxSort.LAST_ACTIVITY_AT: sandboxes.c.last_activity_at,
    SandboxSort.CREATED_AT: sandboxes.c.created_at,
    SandboxSort.UPDATED_AT: sandboxes.c.updated_at,
}
KINDS: dict[SandboxSort, tuple[type, ...]] = {
    SandboxSort.NAME: (str,),
    SandboxSort.CPU: (int, float),
    SandboxSort.MEMORY: (int,),
    SandboxSort.DISK: (int,),
    SandboxSort.LAST_ACTIVITY_AT: (str,),
    SandboxSort.CREATED_AT: (str,),
    SandboxSort.UPDATED_AT: (str,),
}

Statement = TypeVar("Statement", bound=Select[Any])


def conditions(query: SandboxQuery, database: str) -> Iterator[ColumnElement[bool]]:
    """Everything that a row must fulfil; ``database`` is "sqlite" or "postgresql"."""
    check_texts(query)
    columns = sandboxes.c
    yield from state_conditions(query)
    if query.ids:
        yield columns.id.in_(query.ids)
    if query.id_prefix:
        yield columns.id.istartswith(query.id_prefix, autoescape=True)
    if query.name_prefix:
        yield columns.name.istartswith(query.name_prefix, autoescape=True)
    if query.snapshots:
        yield columns.snapshot.in_(query.snapshots)
    if query.public is not None:
        yield columns.public == query.public
    if query.recoverable is not None:
        yield columns.recoverable == query.recoverable
    yield from label_conditions(query, database)
    yield from within(columns.created_at, query.created_after, query.created_before)
    yield from within(columns.last_activity_at, query.active_after, query.active_before)
    yield from within(columns.expires_at, query.expires_after, query.expires_before)
    yield from within(columns.cpu, query.min_cpu, query.max_cpu)
    yield from within(columns.memory_mib, bounded(query.min_memory_mib), bounded(query.max_memory_mib))
    yield from within(columns.disk_mib, bounded(query.min_disk_mib), bounded(query.max_disk_mib))


def check_texts(query: SandboxQuery) -> None:
    texts = [*query.ids, *query.snapshots, *query.labels, *query.labels.values()]
    texts += [text for text in (query.id_prefix, query.name_prefix) if text is not None]
    if not all(storable(text) for text in texts):
        raise InvalidInput("NUL and lone surrogates are not allowed")


def state_conditions(query: SandboxQuery) -> Iterator[ColumnElement[bool]]:
    columns = sandboxes.c
    if query.states:
        yield columns.state.in_(query.states)
    else:
        yield columns.state != SandboxState.DESTROYED
    if not query.include_failed_destroys:
        yield or_(columns.state != SandboxState.ERROR, columns.desired != DesiredState.DESTROYED)


def label_conditions(query: SandboxQuery, database: str) -> Iterator[ColumnElement[bool]]:
    if not query.labels:
        return
    if database == "postgresql":
        yield sandboxes.c.labels.op("@>", is_comparison=True)(cast(dict(query.labels), JSONB))
        return
    for key, value in query.labels.items():
        # Not a JSON path: a key may hold any character.
        entries = func.json_each(sandboxes.c.labels).table_valued("key", "value")
        yield exists(select(1).select_from(entries).where(entries.c.key == key, entries.c.value == value))


def within(column: ColumnElement[Any], low: Any, high: Any) -> Iterator[ColumnElement[bool]]:
    if low is not None:
        yield column >= low
    if high is not None:
        yield column <= high


def bounded(value: int | None) -> int | None:
    return None if value is None else max(-FAR, min(FAR, value))


def step(statement: Statement, query: SandboxQuery) -> Statement:
    """Order, and the rows of one page and one more, which tells whether another page follows."""
    column = COLUMNS[query.sort]
    if query.cursor is not None:
        statement = statement.where(after(query, query.cursor))
    statement = statement.order_by(column.desc() if query.descending else column.asc(), sandboxes.c.id)
    if query.limit is None:
        return statement
    if not 1 <= query.limit <= MAX_PAGE_SIZE:
        raise InvalidInput(f"A page has 1 to {MAX_PAGE_SIZE} items", field="limit")
    if query.page is not None:
        if not 1 <= query.page <= MAX_PAGE:
            raise InvalidInput("Pages count from 1", field="page")
        statement = statement.offset((query.page - 1) * query.limit)
    return statement.limit(query.limit + 1)


def after(query: SandboxQuery, cursor: str) -> ColumnElement[bool]:
    """Rows behind the one that the cursor was made of; it must come from a query of the same order."""
    sort, descending, value, sandbox_id = decode_cursor(cursor, 4)
    if sort != query.sort or descending != query.descending:
        raise InvalidInput("The cursor belongs to a list in another order", field="cursor")
    if (
        not isinstance(value, KINDS[query.sort])
        or not isinstance(sandbox_id, str)
        or not storable(f"{value}{sandbox_id}")
    ):
        raise InvalidInput("Invalid cursor", field="cursor")
    column, reached = COLUMNS[query.sort], moment(str(value)) if query.sort in MOMENTS else value
    beyond = column < reached if query.descending else column > reached
    return or_(beyond, and_(column == reached, sandboxes.c.id > sandbox_id))


MOMENTS = frozenset({SandboxSort.LAST_ACTIVITY_AT, SandboxSort.CREATED_AT, SandboxSort.UPDATED_AT})


def moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidInput("Invalid cursor", field="cursor") from error


def sort_value(sandbox: Sandbox, sort: SandboxSort) -> tuple[str | float, str]:
    """What a cursor keeps of the last row of a page."""
    resources = sandbox.resources
    values: dict[SandboxSort, str | float] = {
        SandboxSort.NAME: sandbox.name,
        SandboxSort.CPU: resources.cpu,
        SandboxSort.MEMORY: resources.memory_mib,
        SandboxSort.DISK: resources.disk_mib,
        SandboxSort.LAST_ACTIVITY_AT: sandbox.last_activity_at.isoformat(),
        SandboxSort.CREATED_AT: sandbox.created_at.isoformat(),
        SandboxSort.UPDATED_AT: sandbox.updated_at.isoformat(),
    }
    return values[sort], sandbox.id
