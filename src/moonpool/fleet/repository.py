"""All SQL of the fleet."""

from datetime import datetime

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from moonpool.errors import NameTaken
from moonpool.fleet.model import HostRecord, PoolRecord
from moonpool.sandboxes.placing import Placing
from moonpool.store.database import Transaction
from moonpool.store.tables import hosts, warm_pools


class HostRepository:
    async def ensure(self, transaction: Transaction, host_id: str, now: datetime) -> HostRecord:
        """What is kept of this host, from its first start on."""
        found = await self.find(transaction.connection, host_id)
        if found is not None:
            return found
        values = {"id": host_id, "unschedulable": False, "draining": False, "tags": [], "updated_at": now}
        await transaction.connection.execute(insert(hosts).values(**values))
        return HostRecord(Placing(), (), now)

    async def others(self, connection: AsyncConnection, host_id: str) -> list[str]:
        """Ids of all other hosts of which something is kept."""
        wanted = select(hosts.c.id).where(hosts.c.id != host_id).order_by(hosts.c.id)
        return list((await connection.execute(wanted)).scalars())

    async def find(self, connection: AsyncConnection, host_id: str) -> HostRecord | None:
        row = (await connection.execute(select(hosts).where(hosts.c.id == host_id))).one_or_none()
        if row is None:
            return None
        return HostRecord(Placing(row.unschedulable, row.draining), tuple(row.tags), row.updated_at)

    async def write(self, transaction: Transaction, host_id: str, record: HostRecord) -> None:
        values = {
            "unschedulable": record.placing.unschedulable,
            "draining": record.placing.draining,
            "tags": list(record.tags),
            "updated_at": record.updated_at,
        }
        await transaction.connection.execute(update(hosts).where(hosts.c.id == host_id).values(**values))


class PoolRepository:
    async def all_of(self, connection: AsyncConnection, team_id: str) -> list[PoolRecord]:
        """The oldest first."""
        wanted = select(warm_pools).where(warm_pools.c.team_id == team_id)
        rows = await connection.execute(wanted.order_by(warm_pools.c.created_at, warm_pools.c.id))
        return [PoolRecord(**row._mapping) for row in rows]

    async def total(self, connection: AsyncConnection) -> int:
        """Of every team's sizes, for the server itself."""
        return int((await connection.execute(select(func.coalesce(func.sum(warm_pools.c.size), 0)))).scalar_one())

    async def insert(self, transaction: Transaction, pool: PoolRecord) -> None:
        """NameTaken where the team has one for this snapshot."""
        try:
            await transaction.connection.execute(insert(warm_pools).values(**vars(pool)))
        except IntegrityError as error:
            raise NameTaken(f"There is a warm pool for snapshot {pool.snapshot_name} already") from error

    async def write(self, transaction: Transaction, pool: PoolRecord) -> None:
        own = (warm_pools.c.id == pool.id) & (warm_pools.c.team_id == pool.team_id)
        changed = {"size": pool.size, "updated_at": pool.updated_at}
        await transaction.connection.execute(update(warm_pools).where(own).values(**changed))

    async def delete(self, transaction: Transaction, pool: PoolRecord) -> None:
        own = (warm_pools.c.id == pool.id) & (warm_pools.c.team_id == pool.team_id)
        await transaction.connection.execute(delete(warm_pools).where(own))
