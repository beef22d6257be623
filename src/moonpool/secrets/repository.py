"""All SQL of secrets."""

from typing import Any

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from moonpool.errors import NameTaken
from moonpool.secrets.model import TeamSecret
from moonpool.store.database import Transaction
from moonpool.store.tables import team_secrets


class SecretRepository:
    async def insert(self, transaction: Transaction, secret: TeamSecret) -> None:
        """NameTaken when the team has a secret of this name."""
        try:
            await transaction.connection.execute(insert(team_secrets).values(**values_of(secret)))
        except IntegrityError as error:
            raise NameTaken(f"A secret named '{secret.name}' exists already") from error

    async def write(self, transaction: Transaction, secret: TeamSecret) -> None:
        owned = (team_secrets.c.id == secret.id) & (team_secrets.c.team_id == secret.team_id)
        await transaction.connection.execute(update(team_secrets).where(owned).values(**values_of(secret)))

    async def delete(self, transaction: Transaction, secret: TeamSecret) -> None:
        owned = (team_secrets.c.id == secret.id) & (team_secrets.c.team_id == secret.team_id)
        await transaction.connection.execute(delete(team_secrets).where(owned))

    async def all(self, connection: AsyncConnection) -> list[TeamSecret]:
        """Of every team, for the server itself."""
        return [secret_of(row) for row in await connection.execute(select(team_secrets))]


def values_of(secret: TeamSecret) -> dict[str, Any]:
    return vars(secret) | {"hosts": list(secret.hosts)}


def secret_of(row: Row[Any]) -> TeamSecret:
    return TeamSecret(**dict(row._mapping) | {"hosts": tuple(row.hosts)})
