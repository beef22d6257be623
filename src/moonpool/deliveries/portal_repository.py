"""All SQL of visits to a team's webhooks."""

from datetime import datetime

from sqlalchemy import delete, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from moonpool.deliveries.model import PortalVisit
from moonpool.store.database import Transaction
from moonpool.store.tables import webhook_visits

COLUMNS = [column for column in webhook_visits.c if column.name != "digest"]


class PortalRepository:
    """Rows are found by the digest of what a visitor has, which says whose team it is."""

    async def insert(self, transaction: Transaction, visit: PortalVisit, digest: str) -> None:
        await transaction.connection.execute(insert(webhook_visits).values(**vars(visit), digest=digest))

    async def by_digest(self, connection: AsyncConnection, digest: str) -> PortalVisit | None:
        row = (await connection.execute(select(*COLUMNS).where(webhook_visits.c.digest == digest))).first()
        return None if row is None else PortalVisit(**row._mapping)

    async def remove(self, transaction: Transaction, visit: PortalVisit) -> bool:
        """Whether it was there: of two who use up the same link, one hears so."""
        one = (webhook_visits.c.id == visit.id) & (webhook_visits.c.team_id == visit.team_id)
        return (await transaction.connection.execute(delete(webhook_visits).where(one))).rowcount > 0

    async def prune(self, transaction: Transaction, team_id: str, now: datetime, most: int) -> None:
        """What is over goes, of every team; and of this one all but the newest ``most``."""
        newest = (
            select(webhook_visits.c.id)
            .where(webhook_visits.c.team_id == team_id)
            .order_by(webhook_visits.c.created_at.desc(), webhook_visits.c.id)
            .limit(most)
        )
        kept = [row.id for row in await transaction.connection.execute(newest)]
        surplus = (webhook_visits.c.team_id == team_id) & webhook_visits.c.id.not_in(kept)
        over = webhook_visits.c.expires_at <= now
        await transaction.connection.execute(delete(webhook_visits).where(or_(over, surplus)))
