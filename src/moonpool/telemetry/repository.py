"""All SQL of telemetry's targets."""

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from moonpool.store.database import Transaction
from moonpool.store.tables import telemetry_targets
from moonpool.telemetry.model import KeptTarget


class TargetRepository:
    async def find(self, connection: AsyncConnection, team_id: str) -> KeptTarget | None:
        query = select(telemetry_targets).where(telemetry_targets.c.team_id == team_id)
        row = (await connection.execute(query)).one_or_none()
        return None if row is None else KeptTarget(**row._mapping)

    async def all(self, connection: AsyncConnection) -> list[KeptTarget]:
        """Every team's, for the server itself."""
        return [KeptTarget(**row._mapping) for row in await connection.execute(select(telemetry_targets))]

    async def write(self, transaction: Transaction, target: KeptTarget) -> None:
        await self.delete(transaction, target.team_id)
        await transaction.connection.execute(insert(telemetry_targets).values(**vars(target)))

    async def delete(self, transaction: Transaction, team_id: str) -> None:
        own = telemetry_targets.c.team_id == team_id
        await transaction.connection.execute(delete(telemetry_targets).where(own))
