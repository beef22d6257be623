"""All SQL of access."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, and_, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from moonpool.access.model import ApiKey, Grant, KeyOrigin, Scope, TeamRole, bounded
from moonpool.access.people import Membership, Team, User, UserStatus, scopes_of
from moonpool.access.team_repository import TeamRepository
from moonpool.access.user_repository import UserRepository, user_of
from moonpool.errors import NameTaken
from moonpool.ids import new_uuid
from moonpool.store.database import Transaction
from moonpool.store.tables import api_keys, memberships, team_limits, team_preferences, teams, users
from moonpool.store.text import storable


@dataclass(frozen=True)
class StoredGrant:
    grant: Grant
    digest: str


class AccessRepository:
    def __init__(self) -> None:
        self._teams = TeamRepository()
        self._users = UserRepository()

    async def ensure_admin(
        self, transaction: Transaction, team: str, name: str, now: datetime, *, platform_admin: bool = False
    ) -> User:
        """The server's own user ``name``, made together with its team where there is none."""
        found = (await transaction.connection.execute(select(users).where(users.c.handle == name))).one_or_none()
        if found is not None:
            return user_of(found)
        own = Team(new_uuid(), team, team, False, None, now, now)
        user = User(
            new_uuid(), name, own.id, name, f"{name}@localhost", UserStatus.ACTIVE, platform_admin, False, now, now
        )
        await self._teams.insert(transaction, own)
        await self._users.insert(transaction, user, None)
        await self._teams.insert_membership(transaction, Membership(own.id, user.id, TeamRole.OWNER, (), now, now))
        return user

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

    async def key_by_digest(self, connection: AsyncConnection, digest: str) -> ApiKey | None:
        row = (await connection.execute(select(api_keys).where(api_keys.c.digest == digest))).one_or_none()
        return None if row is None else key_of(row)

    async def grant_by_digest(self, connection: AsyncConnection, digest: str) -> StoredGrant | None:
        """None too where whoever made the key is no member of its team any more, or may not sign in."""
        return await self._grant(connection, api_keys.c.digest == digest)

    async def grant_by_id(self, connection: AsyncConnection, team_id: str, key_id: str) -> StoredGrant | None:
        return await self._grant(connection, and_(api_keys.c.team_id == team_id, api_keys.c.id == key_id))

    async def _grant(self, connection: AsyncConnection, condition: Any) -> StoredGrant | None:
        of_maker = and_(memberships.c.team_id == api_keys.c.team_id, memberships.c.user_id == api_keys.c.user_id)
        query = (
            select(api_keys, memberships.c.role, memberships.c.role_ids, users.c.platform_admin)
            .join(users, users.c.id == api_keys.c.user_id)
            .join(memberships, of_maker)
            .join(teams, teams.c.id == api_keys.c.team_id)
            .where(condition, users.c.status == UserStatus.ACTIVE, teams.c.deleted_at.is_(None))
        )
        row = (await connection.execute(query)).one_or_none()
        if row is None:
            return None
        key, role = key_of(row), TeamRole(row.role)
        assigned = await self._teams.assigned(connection, key.team_id, row.role_ids)
        scopes = bounded(key.scopes, scopes_of(role, assigned))
        return StoredGrant(Grant(key, role, scopes, row.platform_admin and Scope.ADMIN in scopes), row.digest)

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


class PreferenceRepository:
    async def all(self, connection: AsyncConnection) -> dict[tuple[str, str], Mapping[str, Any]]:
        """Every team's, for the server itself: by team and dialect."""
        rows = await connection.execute(select(team_preferences))
        return {(row.team_id, row.dialect): dict(row.document) for row in rows}

    async def find(self, connection: AsyncConnection, team_id: str, dialect: str) -> dict[str, Any]:
        own = (team_preferences.c.team_id == team_id) & (team_preferences.c.dialect == dialect)
        found = (await connection.execute(select(team_preferences.c.document).where(own))).scalar()
        return dict(found or {})

    async def write(
        self, transaction: Transaction, team_id: str, dialect: str, values: Mapping[str, Any], now: datetime
    ) -> None:
        own = (team_preferences.c.team_id == team_id) & (team_preferences.c.dialect == dialect)
        await transaction.connection.execute(delete(team_preferences).where(own))
        row = {"team_id": team_id, "dialect": dialect, "document": dict(values), "updated_at": now}
        await transaction.connection.execute(insert(team_preferences).values(**row))


def named(team_id: str, name_or_id: str) -> Any:
    return and_(api_keys.c.team_id == team_id, or_(api_keys.c.id == name_or_id, api_keys.c.name == name_or_id))


def key_of(row: Row[Any]) -> ApiKey:
    fields = {column.name: row._mapping[column.name] for column in api_keys.c if column.name != "digest"}
    fields["scopes"] = frozenset(Scope(scope) for scope in row.scopes)
    fields["origin"] = KeyOrigin(row.origin)
    return ApiKey(**fields)
