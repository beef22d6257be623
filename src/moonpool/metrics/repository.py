"""All SQL of metrics: what teams used each day, and up to when it was added up."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from moonpool.metrics.model import DayUsage, Usage
from moonpool.store.database import Transaction
from moonpool.store.tables import usage_clock, usage_days

CLOCK = "usage"


@dataclass(frozen=True)
class Accrued:
    """``until`` on the wall clock, and ``monotonic`` on the one that counts since the machine's ``boot``."""

    until: datetime
    monotonic: float
    boot: str


class UsageRepository:
    async def accrued(self, connection: AsyncConnection) -> Accrued | None:
        """None before the first time."""
        row = (await connection.execute(select(usage_clock).where(usage_clock.c.name == CLOCK))).one_or_none()
        return None if row is None else Accrued(row.accrued_until, row.monotonic, row.boot)

    async def set_accrued(self, transaction: Transaction, accrued: Accrued) -> None:
        values = {"accrued_until": accrued.until, "monotonic": accrued.monotonic, "boot": accrued.boot}
        known = update(usage_clock).where(usage_clock.c.name == CLOCK).values(**values)
        if not (await transaction.connection.execute(known)).rowcount:
            await transaction.connection.execute(insert(usage_clock).values(name=CLOCK, **values))

    async def add(self, transaction: Transaction, team_id: str, usages: Mapping[date, Usage]) -> None:
        for day, usage in usages.items():
            row = (usage_days.c.team_id == team_id) & (usage_days.c.day == day.isoformat())
            more = {name: usage_days.c[name] + amount for name, amount in vars(usage).items()}
            if not (await transaction.connection.execute(update(usage_days).where(row).values(**more))).rowcount:
                values = {"team_id": team_id, "day": day.isoformat(), **vars(usage)}
                await transaction.connection.execute(insert(usage_days).values(**values))

    async def days(self, connection: AsyncConnection, team_id: str, first: date, last: date) -> list[DayUsage]:
        """Those on which anything was used, both ends included, in order."""
        within = usage_days.c.day.between(first.isoformat(), last.isoformat())
        query = select(usage_days).where(usage_days.c.team_id == team_id, within).order_by(usage_days.c.day)
        names = tuple(vars(Usage()))
        rows = await connection.execute(query)
        return [DayUsage(date.fromisoformat(row.day), Usage(*(getattr(row, name) for name in names))) for row in rows]
