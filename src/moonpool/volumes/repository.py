"""All SQL of volumes."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from moonpool.errors import NameTaken
from moonpool.store.database import Transaction
from moonpool.store.tables import volumes
from moonpool.volumes.model import Volume, VolumeState


class VolumeRepository:
    async def insert(self, transaction: Transaction, volume: Volume) -> None:
        """NameTaken when the team has a volume of this name."""
        try:
            await transaction.connection.execute(insert(volumes).values(**vars(volume)))
        except IntegrityError as error:
            raise name_taken(volume) from error

    async def write(self, transaction: Transaction, volume: Volume) -> None:
        """The row of this id becomes this."""
        owned = (volumes.c.id == volume.id) & (volumes.c.team_id == volume.team_id)
        await transaction.connection.execute(update(volumes).where(owned).values(**vars(volume)))

    async def note_use(self, transaction: Transaction, team_id: str, ids: Collection[str], now: datetime) -> None:
        used = volumes.c.id.in_(ids) & (volumes.c.team_id == team_id)
        await transaction.connection.execute(update(volumes).where(used).values(last_used_at=now))

    async def all(self, connection: AsyncConnection) -> list[Volume]:
        """Every team's, for the server itself."""
        return [volume_of(row) for row in await connection.execute(select(volumes))]

    async def prune(self, transaction: Transaction, before: datetime) -> None:
        """Forget those that were deleted before that moment."""
        gone = (volumes.c.state == VolumeState.DELETED) & (volumes.c.updated_at < before)
        await transaction.connection.execute(delete(volumes).where(gone))


def name_taken(volume: Volume) -> NameTaken:
    return NameTaken(f"Volume with name {volume.name} already exists")


def volume_of(row: Row[Any]) -> Volume:
    return Volume(**{**row._mapping, "state": VolumeState(row.state)})
