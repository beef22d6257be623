"""All SQL of events."""

from datetime import datetime
from typing import Any, cast

from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from moonpool.events.model import Event, EventType, NewEvent
from moonpool.store.database import Transaction
from moonpool.store.tables import event_cursors, events

CONSUMER = "server"


class EventRepository:
    async def insert(self, transaction: Transaction, new: NewEvent) -> Event:
        values = vars(new) | {"data": dict(new.data)}
        result = await transaction.connection.execute(insert(events), values)
        (event_id,) = cast(tuple[int], result.inserted_primary_key)
        return Event(id=event_id, **values)

    async def after(self, connection: AsyncConnection, since: int, team_id: str | None, limit: int) -> list[Event]:
        """The oldest ``limit`` events after ``since``; ``team_id`` None: of all teams, for the server itself."""
        query = select(events).where(events.c.id > since).order_by(events.c.id).limit(limit)
        if team_id is not None:
            query = query.where(events.c.team_id == team_id)
        return [event_of(row) for row in await connection.execute(query)]

    async def cursor(self, connection: AsyncConnection) -> int:
        """The last event that was handed out; 0 at first."""
        return await self.position(connection, CONSUMER) or 0

    async def position(self, connection: AsyncConnection, consumer: str) -> int | None:
        """The last event that a consumer took; None where there was never one of this name."""
        query = select(event_cursors.c.last_event_id).where(event_cursors.c.consumer == consumer)
        found: int | None = (await connection.execute(query)).scalar_one_or_none()
        return found

    async def save_cursor(self, transaction: Transaction, event_id: int, consumer: str = CONSUMER) -> None:
        saved = update(event_cursors).where(event_cursors.c.consumer == consumer).values(last_event_id=event_id)
        if (await transaction.connection.execute(saved)).rowcount == 0:
            values = {"consumer": consumer, "last_event_id": event_id}
            await transaction.connection.execute(insert(event_cursors).values(**values))

    async def prune(self, transaction: Transaction, before: datetime, handed_out: int) -> None:
        """What is older, was handed out, and was taken by every consumer."""
        taken = select(func.min(event_cursors.c.last_event_id)).scalar_subquery()
        doomed = (events.c.created_at < before) & (events.c.id <= handed_out) & (events.c.id <= taken)
        await transaction.connection.execute(delete(events).where(doomed))


def event_of(row: Row[Any]) -> Event:
    return Event(**dict(row._mapping) | {"type": EventType(row.type)})
