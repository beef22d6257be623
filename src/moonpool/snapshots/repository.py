"""All SQL of snapshots."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, func, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from moonpool.hosts.model import Resources
from moonpool.snapshots.model import Snapshot, SnapshotQuery, SnapshotState
from moonpool.store.database import Transaction
from moonpool.store.paging import Page
from moonpool.store.tables import snapshots


class SnapshotRepository:
    async def ensure(self, transaction: Transaction, wanted: Iterable[Snapshot]) -> None:
        """Insert those whose id is not there."""
        rows = await transaction.connection.execute(select(snapshots.c.id))
        known = {row.id for row in rows}
        for snapshot in wanted:
            if snapshot.id not in known:
                await transaction.connection.execute(insert(snapshots).values(**values_of(snapshot)))

    async def all(self, connection: AsyncConnection) -> list[Snapshot]:
        """Every team's, for the server itself."""
        return [snapshot_of(row) for row in await connection.execute(select(snapshots))]

    async def page(self, connection: AsyncConnection, team_id: str, query: SnapshotQuery) -> Page[Snapshot]:
        wanted = visible(team_id)
        if query.name:
            wanted = and_(wanted, func.lower(snapshots.c.name).contains(query.name.lower(), autoescape=True))
        total = (await connection.execute(select(func.count()).select_from(snapshots).where(wanted))).scalar_one()
        column = snapshots.c[query.sort.value]
        order = column.desc().nulls_last() if query.descending else column.asc().nulls_last()
        statement = select(snapshots).where(wanted).order_by(order, snapshots.c.id)
        statement = statement.limit(query.limit).offset((query.page - 1) * query.limit)
        rows = await connection.execute(statement)
        return Page(tuple(snapshot_of(row) for row in rows), total=total)


def visible(team_id: str) -> ColumnElement[bool]:
    return or_(snapshots.c.team_id == team_id, snapshots.c.team_id.is_(None))


def values_of(snapshot: Snapshot) -> dict[str, Any]:
    values = dict(vars(snapshot))
    resources: Resources = values.pop("resources")
    return values | {"cpu": resources.cpu, "memory_mib": resources.memory_mib, "disk_mib": resources.disk_mib}


def snapshot_of(row: Row[Any]) -> Snapshot:
    fields = dict(row._mapping)
    resources = Resources(fields.pop("cpu"), fields.pop("memory_mib"), fields.pop("disk_mib"))
    return Snapshot(**fields | {"state": SnapshotState(row.state), "resources": resources})
