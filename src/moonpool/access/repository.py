"""All SQL of access."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, and_, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from moonpool.access.model import ApiKey, KeyOrigin, Scope, Team, User
from moonpool.errors import NameTaken
from moonpool.ids import new_uuid
from moonpool.store.database import Transaction
from moonpool.store.tables import api_keys, team_limits, teams, users
from moonpool.store.text import storable

ADMIN_ROLE = "admin"


@dataclass(frozen=True)
class StoredKey:
    key: ApiKey
    digest: str


class AccessRepository:
    async def ensure_admin(self, transaction: Transaction, team: str, name: str, now: datetime) -> User:
        """The user ``name``, made together with its team where there is none."""
        found = (await transaction.connection.execute(select(users).where(users.c.name == name))).one_or_none()
        if found is not None:
            return User(**found._mapping)
        user = User(new_uuid(), new_uuid(), name, f"{name}@localhost", ADMIN_ROLE, now)
        await transaction.connection.execute(insert(teams).values(id=user.team_id, name=team, created_at=now))
        await transaction.connection.execute(insert(users).values(**vars(user)))
        return user

    async def team(self, connection: AsyncConnection, team_id: str) -> Team | None:
        row = (await connection.execute(select(teams).where(teams.c.id == team_id))).one_or_none()
        return None if row is None else Team(**row._mapping)

    async def members(self, connection: AsyncConnection, team_id: str) -> list[User]:
        query = select(users).where(users.c.team_id == team_id).order_by(users.c.created_at, users.c.id)
        return [User(**row._mapping) for row in await connection.execute(query)]

    async def insert_key(self, transaction: Transaction, key: ApiKey, digest: str) -> None:
        """NameTaken when the team has a key of this name."""
        values = vars(key) | {"scopes": sorted(key.scopes), "digest": digest}
        try:
            await transaction.connection.execute(insert(api_keys).values(**values))
        except IntegrityError as error:
            raise NameTaken(f"An API key named '{key.name}' exists already") from error

    async def update_key(self, transaction: Transaction, key: ApiKey) -> None:
        """Name, scopes and expiry. NameTaken when the team has another key of this name."""
        values = {"name": key.name, "scopes": sorted(key.scopes), "expires_at": key.expires_at}
        try:
            await transaction.connection.execute(update(api_keys).where(api_keys.c.id == key.id).values(**values))
        except IntegrityError as error:
            raise NameTaken(f"An API key named '{key.name}' exists already") from error

    async def revoke_bootstrap(self, transaction: Transaction, *, keep: str) -> None:
        """Delete the bootstrap keys but the one with this digest."""
        doomed = and_(api_keys.c.origin == KeyOrigin.BOOTSTRAP, api_keys.c.digest != keep)
        await transaction.connection.execute(delete(api_keys).where(doomed))

    async def key_by_digest(self, connection: AsyncConnection, digest: str) -> StoredKey | None:
        row = (await connection.execute(select(api_keys).where(api_keys.c.digest == digest))).one_or_none()
        return None if row is None else StoredKey(key_of(row), row.digest)

    async def keys(self, connection: AsyncConnection, team_id: str) -> list[ApiKey]:
        query = select(api_keys).where(api_keys.c.team_id == team_id)
        rows = await connection.execute(query.order_by(api_keys.c.created_at.desc(), api_keys.c.id))
        return [key_of(row) for row in rows]

    async def key(self, connection: AsyncConnection, team_id: str, name_or_id: str) -> ApiKey | None:
        """By id, else by name."""
        if not storable(name_or_id):
            return None
        rows = (await connection.execute(select(api_keys).where(named(team_id, name_or_id)))).all()
        return next((key_of(row) for row in sorted(rows, key=lambda row: row.id != name_or_id)), None)

    async def delete_key(self, transaction: Transaction, team_id: str, name_or_id: str) -> ApiKey | None:
        found = await self.key(transaction.connection, team_id, name_or_id)
        if found is not None:
            await transaction.connection.execute(delete(api_keys).where(api_keys.c.id == found.id))
        return found

    async def team_named(self, connection: AsyncConnection, name: str) -> Team | None:
        row = (await connection.execute(select(teams).where(teams.c.name == name))).one_or_none()
        return None if row is None else Team(**row._mapping)

    async def limits(self, connection: AsyncConnection) -> dict[str, dict[str, Any]]:
        """What was set for each team by its name, for the server itself."""
        rows = await connection.execute(select(team_limits.c.team_id, team_limits.c.limits))
        return {row.team_id: dict(row.limits) for row in rows}

    async def write_limits(
        self, transaction: Transaction, team_id: str, limits: Mapping[str, float | None], now: datetime
    ) -> None:
        await transaction.connection.execute(delete(team_limits).where(team_limits.c.team_id == team_id))
        values = {"team_id": team_id, "limits": dict(limits), "updated_at": now}
        await transaction.connection.execute(insert(team_limits).values(**values))

    async def note_usage(self, transaction: Transaction, used: Mapping[str, datetime]) -> None:
        for key_id, moment in used.items():
            statement = update(api_keys).where(api_keys.c.id == key_id).values(last_used_at=moment)
            await transaction.connection.execute(statement)


def named(team_id: str, name_or_id: str) -> Any:
    return and_(api_keys.c.team_id == team_id, or_(api_keys.c.id == name_or_id, api_keys.c.name == name_or_id))


def key_of(row: Row[Any]) -> ApiKey:
    fields = dict(row._mapping)
    del fields["digest"]
    fields["scopes"] = frozenset(Scope(scope) for scope in row.scopes)
    fields["origin"] = KeyOrigin(row.origin)
    return ApiKey(**fields)
