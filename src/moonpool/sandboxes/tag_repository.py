"""All SQL of tags and their aliases."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import and_, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from moonpool.store.database import Transaction
from moonpool.store.tables import sandbox_tags, tag_aliases, tagged_sandboxes


class TagRepository:
    async def insert(
        self, transaction: Transaction, team_id: str, tag_id: str, sandbox_ids: Sequence[str], now: datetime
    ) -> None:
        values = {"id": tag_id, "team_id": team_id, "created_at": now}
        await transaction.connection.execute(insert(sandbox_tags).values(**values))
        members = [
            {"tag_id": tag_id, "position": position, "sandbox_id": sandbox_id}
            for position, sandbox_id in enumerate(sandbox_ids)
        ]
        await transaction.connection.execute(insert(tagged_sandboxes), members)

    async def exists(self, transaction: Transaction, team_id: str, tag_id: str) -> bool:
        query = select(sandbox_tags.c.id).where(sandbox_tags.c.team_id == team_id, sandbox_tags.c.id == tag_id)
        return (await transaction.connection.execute(query)).one_or_none() is not None

    async def assign(
        self, transaction: Transaction, new_id: str, team_id: str, namespace: str, alias: str, tag_id: str
    ) -> str:
        """The alias's id: its old one where there was such an alias, else ``new_id``."""
        columns = tag_aliases.c
        wanted = and_(columns.team_id == team_id, columns.namespace == namespace, columns.alias == alias)
        known: str | None = (
            await transaction.connection.execute(select(columns.id).where(wanted))
        ).scalar_one_or_none()
        if known is not None:
            await transaction.connection.execute(update(tag_aliases).where(wanted).values(tag_id=tag_id))
            return known
        values = {"id": new_id, "team_id": team_id, "namespace": namespace, "alias": alias, "tag_id": tag_id}
        await transaction.connection.execute(insert(tag_aliases).values(**values))
        return new_id

    async def members(self, connection: AsyncConnection, team_id: str, tag_id: str) -> list[str]:
        """The ids of the tag's sandboxes, in their order; none for another team's tag."""
        query = (
            select(tagged_sandboxes.c.sandbox_id)
            .join(sandbox_tags, sandbox_tags.c.id == tagged_sandboxes.c.tag_id)
            .where(sandbox_tags.c.team_id == team_id, sandbox_tags.c.id == tag_id)
            .order_by(tagged_sandboxes.c.position)
        )
        return [row.sandbox_id for row in await connection.execute(query)]

    async def members_of_alias(
        self, connection: AsyncConnection, team_id: str, namespace: str, alias: str
    ) -> list[str]:
        columns = tag_aliases.c
        wanted = and_(columns.team_id == team_id, columns.namespace == namespace, columns.alias == alias)
        tag_id = (await connection.execute(select(columns.tag_id).where(wanted))).scalar_one_or_none()
        return [] if tag_id is None else await self.members(connection, team_id, tag_id)
