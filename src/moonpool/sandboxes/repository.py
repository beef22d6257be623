"""All SQL of sandboxes."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from moonpool.archives.model import backup_document, backup_of
from moonpool.engine.images.oci import ImageConfig
from moonpool.errors import NameTaken
from moonpool.hosts.model import Mount, NetworkPolicy, Resources
from moonpool.sandboxes.filters import conditions, sort_value, step
from moonpool.sandboxes.model import DesiredState, Sandbox, SandboxState, Timers
from moonpool.sandboxes.query import Page, SandboxQuery
from moonpool.store.database import Transaction
from moonpool.store.paging import encode_cursor
from moonpool.store.tables import sandboxes

RESOURCES = ("cpu", "memory_mib", "disk_mib", "pids")

UPDATE_UNCHANGED = update(sandboxes).where(
    sandboxes.c.id == bindparam("old_id"),
    sandboxes.c.state == bindparam("old_state"),
    sandboxes.c.version == bindparam("old_version"),
)


class SandboxRepository:
    async def insert(self, transaction: Transaction, sandbox: Sandbox) -> None:
        """NameTaken when the team has a live sandbox of this name."""
        try:
            await transaction.connection.execute(insert(sandboxes), values_of(sandbox))
        except IntegrityError as error:
            raise name_taken(sandbox) from error

    async def compare_and_set(self, transaction: Transaction, old: Sandbox, new: Sandbox) -> bool:
        """Write ``new`` where the row still is ``old``; False when it is not. NameTaken as for ``insert``."""
        before, after = values_of(old), values_of(new)
        changed = {name: value for name, value in after.items() if before[name] != value}
        row = {"old_id": old.id, "old_state": old.state, "old_version": old.version}
        try:
            result = await transaction.connection.execute(UPDATE_UNCHANGED, changed | row)
        except IntegrityError as error:
            raise name_taken(new) from error
        return result.rowcount == 1

    async def live(self, connection: AsyncConnection) -> list[Sandbox]:
        """Every team's sandboxes that are not destroyed, for the server itself."""
        rows = await connection.execute(select(sandboxes).where(sandboxes.c.state != SandboxState.DESTROYED))
        return [sandbox_of(row) for row in rows]

    async def find(self, connection: AsyncConnection, team_id: str, sandbox_id: str) -> Sandbox | None:
        query = select(sandboxes).where(sandboxes.c.team_id == team_id, sandboxes.c.id == sandbox_id)
        row = (await connection.execute(query)).one_or_none()
        return None if row is None else sandbox_of(row)

    async def page(self, connection: AsyncConnection, team_id: str, query: SandboxQuery) -> Page[Sandbox]:
        wanted = [sandboxes.c.team_id == team_id, *conditions(query, connection.dialect.name)]
        total = None
        if query.page is not None:
            counted = select(func.count()).select_from(sandboxes).where(*wanted)
            total = (await connection.execute(counted)).scalar_one()
        rows = (await connection.execute(step(select(sandboxes).where(*wanted), query))).all()
        following = query.limit is not None and len(rows) > query.limit
        items = tuple(sandbox_of(row) for row in rows[: query.limit])
        cursor = encode_cursor(query.sort, query.descending, *sort_value(items[-1], query.sort)) if following else None
        return Page(items, cursor, total)

    async def note_activity(self, transaction: Transaction, moments: Mapping[str, datetime]) -> None:
        """No change of version: activity is no change of the sandbox."""
        for sandbox_id, moment in moments.items():
            statement = update(sandboxes).where(sandboxes.c.id == sandbox_id).values(last_activity_at=moment)
            await transaction.connection.execute(statement)

    async def prune(self, transaction: Transaction, before: datetime, *, recreatable: bool) -> None:
        """Delete rows of sandboxes destroyed before that moment."""
        gone = (sandboxes.c.state == SandboxState.DESTROYED) & (sandboxes.c.updated_at < before)
        gone &= sandboxes.c.recreatable.is_(recreatable)
        await transaction.connection.execute(delete(sandboxes).where(gone))


def name_taken(sandbox: Sandbox) -> NameTaken:
    return NameTaken(f"Sandbox with name {sandbox.name} already exists")


def values_of(sandbox: Sandbox) -> dict[str, Any]:
    values = dict(vars(sandbox))
    resources = asdict(values.pop("resources"))
    return (
        values
        | resources
        | {
            "env": dict(sandbox.env),
            "secrets": dict(sandbox.secrets),
            "labels": dict(sandbox.labels),
            "network": asdict(sandbox.network),
            "timers": asdict(sandbox.timers),
            "dialect_data": dict(sandbox.dialect_data),
            "backup": backup_document(sandbox.backup),
            "mounts": [asdict(mount) for mount in sandbox.mounts],
            "config": None if sandbox.config is None else sandbox.config.document(),
        }
    )


def sandbox_of(row: Row[Any]) -> Sandbox:
    fields = dict(row._mapping)
    resources = Resources(**{name: fields.pop(name) for name in RESOURCES})
    return Sandbox(
        **fields
        | {
            "state": SandboxState(row.state),
            "desired": DesiredState(row.desired),
            "resources": resources,
            "network": NetworkPolicy.of(row.network),
            "timers": Timers(**row.timers),
            "backup": backup_of(row.backup),
            "mounts": tuple(Mount(**mount) for mount in row.mounts),
            "config": None if row.config is None else ImageConfig.of(row.config),
        }
    )
