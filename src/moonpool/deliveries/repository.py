"""All SQL of receivers and deliveries."""

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, and_, delete, exists, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from moonpool.deliveries.model import Attempt, Delivery, DeliveryState, Kind, Provider, Receiver
from moonpool.errors import NameTaken
from moonpool.store.database import Transaction
from moonpool.store.tables import deliveries, receivers, webhook_teams

PENDING = deliveries.c.state == DeliveryState.PENDING
EARLIER = deliveries.alias("earlier")
OVERTAKEN = exists().where(
    and_(
        EARLIER.c.receiver_id == deliveries.c.receiver_id,
        EARLIER.c.subject_id == deliveries.c.subject_id,
        EARLIER.c.state == DeliveryState.PENDING,
        EARLIER.c.id < deliveries.c.id,
    )
)


class ReceiverRepository:
    async def insert(self, transaction: Transaction, receiver: Receiver) -> None:
        """NameTaken where the team has another of this kind and name."""
        try:
            await transaction.connection.execute(insert(receivers).values(**row_of(receiver)))
        except IntegrityError as error:
            raise name_taken(receiver) from error

    async def write(self, transaction: Transaction, receiver: Receiver) -> None:
        """The row of this id becomes this. NameTaken."""
        owned = (receivers.c.id == receiver.id) & (receivers.c.team_id == receiver.team_id)
        try:
            await transaction.connection.execute(update(receivers).where(owned).values(**row_of(receiver)))
        except IntegrityError as error:
            raise name_taken(receiver) from error

    async def delete(self, transaction: Transaction, receiver: Receiver) -> None:
        """With all that was on its way there."""
        connection = transaction.connection
        await connection.execute(delete(deliveries).where(deliveries.c.receiver_id == receiver.id))
        owned = (receivers.c.id == receiver.id) & (receivers.c.team_id == receiver.team_id)
        await connection.execute(delete(receivers).where(owned))

    async def all(self, connection: AsyncConnection) -> list[Receiver]:
        """Of every team, for the server itself."""
        return [receiver_of(row) for row in await connection.execute(select(receivers))]

    async def teams(self, connection: AsyncConnection) -> dict[str, tuple[datetime, datetime]]:
        """Those that use webhooks: since when, and when they were looked at last."""
        rows = await connection.execute(select(webhook_teams))
        return {row.team_id: (row.created_at, row.updated_at) for row in rows}

    async def note_team(self, transaction: Transaction, team_id: str, now: datetime) -> None:
        seen = update(webhook_teams).where(webhook_teams.c.team_id == team_id).values(updated_at=now)
        if (await transaction.connection.execute(seen)).rowcount == 0:
            values = {"team_id": team_id, "created_at": now, "updated_at": now}
            await transaction.connection.execute(insert(webhook_teams).values(**values))


class DeliveryRepository:
    async def insert(self, transaction: Transaction, new: Sequence[Delivery]) -> None:
        """Their ids are given here, in this order."""
        for delivery in new:
            await transaction.connection.execute(insert(deliveries).values(**values_of(delivery)))

    async def write(self, transaction: Transaction, delivery: Delivery) -> None:
        values = values_of(delivery)
        await transaction.connection.execute(update(deliveries).where(deliveries.c.id == delivery.id).values(**values))

    async def due(
        self, connection: AsyncConnection, now: datetime, full: Collection[str], limit: int
    ) -> list[Delivery]:
        """The oldest ones whose time has come, of all teams: of each receiver and subject only the first that is
        pending, and none of the ``full`` receivers."""
        wanted = select(deliveries).where(PENDING, deliveries.c.next_attempt_at <= now, ~OVERTAKEN)
        if full:
            wanted = wanted.where(deliveries.c.receiver_id.not_in(full))
        return [delivery_of(row) for row in await connection.execute(wanted.order_by(deliveries.c.id).limit(limit))]

    async def next_due(self, connection: AsyncConnection, now: datetime) -> datetime | None:
        """When the next of those comes that are not due yet."""
        later = select(func.min(deliveries.c.next_attempt_at)).where(PENDING, deliveries.c.next_attempt_at > now)
        found: datetime | None = (await connection.execute(later)).scalar_one_or_none()
        return found

    async def page(
        self,
        connection: AsyncConnection,
        receiver_id: str,
        state: DeliveryState | None,
        before_id: int | None,
        limit: int,
    ) -> list[Delivery]:
        """The newest first; the receiver was found to be the asker's."""
        wanted = select(deliveries).where(deliveries.c.receiver_id == receiver_id)
        if state is not None:
            wanted = wanted.where(deliveries.c.state == state)
        if before_id is not None:
            wanted = wanted.where(deliveries.c.id < before_id)
        ordered = wanted.order_by(deliveries.c.id.desc()).limit(limit)
        return [delivery_of(row) for row in await connection.execute(ordered)]

    async def get(self, connection: AsyncConnection, receiver_id: str, delivery_id: int) -> Delivery | None:
        named = (deliveries.c.receiver_id == receiver_id) & (deliveries.c.id == delivery_id)
        row = (await connection.execute(select(deliveries).where(named))).one_or_none()
        return None if row is None else delivery_of(row)

    async def revive(self, transaction: Transaction, receiver_id: str, since: datetime, now: datetime) -> int:
        """What failed since then is to be sent again, from its first attempt on; how many there are."""
        failed = and_(
            deliveries.c.receiver_id == receiver_id,
            deliveries.c.state == DeliveryState.FAILED,
            deliveries.c.created_at >= since,
        )
        again = {"state": DeliveryState.PENDING, "next_attempt_at": now, "finished_at": None, "attempts": []}
        return int((await transaction.connection.execute(update(deliveries).where(failed).values(**again))).rowcount)

    async def give_up(self, transaction: Transaction, receiver_id: str, now: datetime) -> None:
        """Nothing that is pending for the receiver is sent any more."""
        waiting = (deliveries.c.receiver_id == receiver_id) & PENDING
        ended = {"state": DeliveryState.FAILED, "finished_at": now}
        await transaction.connection.execute(update(deliveries).where(waiting).values(**ended))

    async def prune(self, transaction: Transaction, before: datetime) -> None:
        await transaction.connection.execute(delete(deliveries).where(deliveries.c.finished_at < before))


def name_taken(receiver: Receiver) -> NameTaken:
    return NameTaken(f"A {receiver.kind} named '{receiver.name}' exists already")


def row_of(receiver: Receiver) -> dict[str, Any]:
    return vars(receiver) | {"events": list(receiver.events)}


def receiver_of(row: Row[Any]) -> Receiver:
    made = {"kind": Kind(row.kind), "provider": Provider(row.provider), "events": tuple(row.events)}
    return Receiver(**dict(row._mapping) | made)


def values_of(delivery: Delivery) -> dict[str, Any]:
    attempts = [vars(attempt) | {"at": attempt.at.isoformat()} for attempt in delivery.attempts]
    return {name: value for name, value in vars(delivery).items() if name != "id"} | {"attempts": attempts}


def delivery_of(row: Row[Any]) -> Delivery:
    attempts = tuple(Attempt(**{**one, "at": datetime.fromisoformat(one["at"])}) for one in row.attempts)
    return Delivery(**dict(row._mapping) | {"state": DeliveryState(row.state), "attempts": attempts})


def as_text(body: Any) -> str:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))
