"""All SQL of snapshots."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from moonpool.engine.images.oci import ImageConfig
from moonpool.errors import NameTaken
from moonpool.hosts.model import Mount, Resources
from moonpool.snapshots.model import Snapshot, SnapshotQuery, SnapshotState
from moonpool.store.database import Transaction
from moonpool.store.paging import Page
from moonpool.store.tables import snapshots


class SnapshotRepository:
    async def insert(self, transaction: Transaction, snapshot: Snapshot) -> None:
        """NameTaken when the team has a snapshot of this name or there is one of this id."""
        try:
            await transaction.connection.execute(insert(snapshots).values(**values_of(snapshot)))
        except IntegrityError as error:
            raise name_taken(snapshot) from error

    async def write(self, transaction: Transaction, snapshot: Snapshot) -> None:
        """The row of this id becomes this; NameTaken."""
        owned = (snapshots.c.id == snapshot.id) & (snapshots.c.team_id == snapshot.team_id)
        try:
            await transaction.connection.execute(update(snapshots).where(owned).values(**values_of(snapshot)))
        except IntegrityError as error:
            raise name_taken(snapshot) from error

    async def delete(self, transaction: Transaction, snapshot: Snapshot) -> None:
        owned = (snapshots.c.id == snapshot.id) & (snapshots.c.team_id == snapshot.team_id)
        await transaction.connection.execute(delete(snapshots).where(owned))

    async def ensure(self, transaction: Transaction, wanted: Iterable[Snapshot]) -> None:
        """Insert those whose id is not there."""
        rows = await transaction.connection.execute(select(snapshots.c.id))
        known = {row.id for row in rows}
        for snapshot in wanted:
            if snapshot.id not in known:
                await transaction.connection.execute(insert(snapshots).values(**values_of(snapshot)))

    async def present(self, connection: AsyncConnection) -> list[Snapshot]:
        """Every team's that are not removed, for the server itself."""
        rows = await connection.execute(select(snapshots).where(snapshots.c.state != SnapshotState.REMOVED))
        return [snapshot_of(row) for row in rows]

    async def removed(self, connection: AsyncConnection, team_id: str, snapshot_id: str) -> Snapshot | None:
        """What is kept of one that was removed."""
        gone = (snapshots.c.id == snapshot_id) & (snapshots.c.state == SnapshotState.REMOVED)
        row = (await connection.execute(select(snapshots).where(gone, snapshots.c.team_id == team_id))).one_or_none()
        return None if row is None else snapshot_of(row)

    async def note_use(self, transaction: Transaction, moments: Mapping[str, datetime]) -> None:
        for snapshot_id, moment in moments.items():
            statement = update(snapshots).where(snapshots.c.id == snapshot_id).values(last_used_at=moment)
            await transaction.connection.execute(statement)

    async def prune(self, transaction: Transaction, before: datetime) -> None:
        """Delete records of what was removed before that moment."""
        gone = (snapshots.c.state == SnapshotState.REMOVED) & (snapshots.c.updated_at < before)
        await transaction.connection.execute(delete(snapshots).where(gone))

    async def page(self, connection: AsyncConnection, team_id: str, query: SnapshotQuery) -> Page[Snapshot]:
        wanted = visible(team_id)
        if not query.include_removed:
            wanted = and_(wanted, snapshots.c.state != SnapshotState.REMOVED)
        if query.name:
            wanted = and_(wanted, func.lower(snapshots.c.name).contains(query.name.lower(), autoescape=True))
        total = (await connection.execute(select(func.count()).select_from(snapshots).where(wanted))).scalar_one()
        column = snapshots.c[query.sort.value]
        order = column.desc().nulls_last() if query.descending else column.asc().nulls_last()
        statement = select(snapshots).where(wanted).order_by(order, snapshots.c.id)
        statement = statement.limit(query.limit).offset((query.page - 1) * query.limit)
        rows = await connection.execute(statement)
        return Page(tuple(snapshot_of(row) for row in rows), total=total)


def name_taken(snapshot: Snapshot) -> NameTaken:
    return NameTaken(f"Snapshot with name {snapshot.name} already exists")


def visible(team_id: str) -> ColumnElement[bool]:
    return or_(snapshots.c.team_id == team_id, snapshots.c.team_id.is_(None))


def values_of(snapshot: Snapshot) -> dict[str, Any]:
    values = dict(vars(snapshot))
    resources: Resources = values.pop("resources")
    sizes = {"cpu": resources.cpu, "memory_mib": resources.memory_mib, "disk_mib": resources.disk_mib}
    mounts = [asdict(mount) for mount in snapshot.mounts]
    config = None if snapshot.config is None else snapshot.config.document()
    own = {"dialect_data": dict(snapshot.dialect_data), "mounts": mounts, "config": config}
    return values | sizes | own


def snapshot_of(row: Row[Any]) -> Snapshot:
    fields = dict(row._mapping)
    resources = Resources(fields.pop("cpu"), fields.pop("memory_mib"), fields.pop("disk_mib"))
    mounts = tuple(Mount(**mount) for mount in row.mounts)
    config = None if row.config is None else ImageConfig.of(row.config)
    own = {"state": SnapshotState(row.state), "resources": resources, "mounts": mounts, "config": config}
    return Snapshot(**fields | own)
