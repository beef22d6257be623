"""All SQL of metrics: what teams used each day, up to when it was added up, and what changed since."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from moonpool.events.model import EventType
from moonpool.hosts.model import Resources
from moonpool.metrics.model import DayUsage, Usage
from moonpool.sandboxes.model import SandboxState
from moonpool.store.database import Transaction
from moonpool.store.tables import events, usage_clock, usage_days

CLOCK = "usage"
CHANGES = (EventType.SANDBOX_CREATED, EventType.SANDBOX_STATE_UPDATED, EventType.SANDBOX_UPDATED)


@dataclass(frozen=True)
class Accrued:
    """``until`` on the wall clock, and ``monotonic`` on the one that counts since the machine's ``boot``."""

    until: datetime
    monotonic: float
    boot: str


@dataclass(frozen=True)
class Change:
    """A sandbox went from one state (None: it was not there) to another, at the size that it has since."""

    sandbox_id: str
    team_id: str
    at: datetime
    was: SandboxState | None
    state: SandboxState
    resources: Resources


class UsageRepository:
    async def accrued(self, connection: AsyncConnection) -> Accrued | None:
        """None before the first time."""
        row = (await connection.execute(select(usage_clock).where(usage_clock.c.name == CLOCK))).one_or_none()
        return None if row is None else Accrued(row.accrued_until, row.monotonic, row.boot)

    async def changes(self, connection: AsyncConnection, since: datetime) -> list[Change]:
        """Of all teams' sandboxes, in their order."""
        query = select(events).where(events.c.type.in_(CHANGES), events.c.created_at > since).order_by(events.c.id)
        return [change_of(row) for row in await connection.execute(query)]

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


def change_of(event: Row[Any]) -> Change:
    data = event.data
    was = data["old_state"]
    return Change(
        sandbox_id=event.subject_id,
        team_id=event.team_id,
        at=event.created_at,
        was=None if was is None else SandboxState(was),
        state=SandboxState(data["state"]),
        resources=Resources(data["cpu"], data["memory_mib"], data["disk_mib"]),
    )
