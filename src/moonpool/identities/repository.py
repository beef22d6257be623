"""All SQL of identities."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Table, and_, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from moonpool.identities.model import Identity, IdentityToken, Permission
from moonpool.store.database import Transaction
from moonpool.store.tables import identities, identity_permissions, identity_tokens


class IdentityRepository:
    async def insert(self, transaction: Transaction, identity: Identity) -> None:
        await transaction.connection.execute(insert(identities).values(**vars(identity)))

    async def find(self, connection: AsyncConnection, team_id: str, identity_id: str) -> Identity | None:
        query = select(identities).where(identities.c.team_id == team_id, identities.c.id == identity_id)
        row = (await connection.execute(query)).one_or_none()
        return None if row is None else Identity(**row._mapping)

    async def count(self, connection: AsyncConnection, team_id: str) -> int:
        query = select(func.count()).select_from(identities).where(identities.c.team_id == team_id)
        return (await connection.execute(query)).scalar_one()

    async def page(self, connection: AsyncConnection, team_id: str, offset: int, limit: int) -> list[Identity]:
        """The newest first."""
        query = select(identities).where(identities.c.team_id == team_id)
        ordered = query.order_by(identities.c.created_at.desc(), identities.c.id).offset(offset).limit(limit)
        return [Identity(**row._mapping) for row in await connection.execute(ordered)]

    async def delete(self, transaction: Transaction, team_id: str, identity_id: str) -> None:
        """With its tokens and permissions."""
        for table in (identity_tokens, identity_permissions):
            await transaction.connection.execute(delete(table).where(of(table, team_id, identity_id)))
        gone = and_(identities.c.team_id == team_id, identities.c.id == identity_id)
        await transaction.connection.execute(delete(identities).where(gone))

    # -- tokens --------------------------------------------------------------------------------------------------------

    async def insert_token(self, transaction: Transaction, token: IdentityToken, digest: str) -> None:
        await transaction.connection.execute(insert(identity_tokens).values(**vars(token), digest=digest))

    async def token_by_digest(self, connection: AsyncConnection, digest: str) -> IdentityToken | None:
        """Whoever's: the secret is what names it."""
        row = (
            await connection.execute(select(identity_tokens).where(identity_tokens.c.digest == digest))
        ).one_or_none()
        return None if row is None else token_of(row)

    async def tokens(self, connection: AsyncConnection, team_id: str, identity_id: str) -> list[IdentityToken]:
        query = select(identity_tokens).where(of(identity_tokens, team_id, identity_id))
        rows = await connection.execute(query.order_by(identity_tokens.c.created_at, identity_tokens.c.id))
        return [token_of(row) for row in rows]

    async def delete_token(self, transaction: Transaction, team_id: str, identity_id: str, token_id: str) -> bool:
        wanted = and_(of(identity_tokens, team_id, identity_id), identity_tokens.c.id == token_id)
        return (await transaction.connection.execute(delete(identity_tokens).where(wanted))).rowcount > 0

    # -- permissions ---------------------------------------------------------------------------------------------------

    async def insert_permission(self, transaction: Transaction, permission: Permission) -> None:
        await transaction.connection.execute(insert(identity_permissions).values(**values_of(permission)))

    async def set_users(self, transaction: Transaction, permission: Permission) -> None:
        mine = identity_permissions.c.id == permission.id
        changed = update(identity_permissions).where(mine).values(users=values_of(permission)["users"])
        await transaction.connection.execute(changed)

    async def permission(
        self, connection: AsyncConnection, team_id: str, identity_id: str, sandbox_id: str
    ) -> Permission | None:
        query = select(identity_permissions).where(here(team_id, identity_id, sandbox_id))
        row = (await connection.execute(query)).one_or_none()
        return None if row is None else permission_of(row)

    async def permissions(self, connection: AsyncConnection, team_id: str, identity_id: str) -> Sequence[Permission]:
        """The oldest first."""
        query = select(identity_permissions).where(of(identity_permissions, team_id, identity_id))
        rows = await connection.execute(query.order_by(identity_permissions.c.created_at, identity_permissions.c.id))
        return [permission_of(row) for row in rows]

    async def delete_permission(
        self, transaction: Transaction, team_id: str, identity_id: str, sandbox_id: str
    ) -> bool:
        gone = delete(identity_permissions).where(here(team_id, identity_id, sandbox_id))
        return (await transaction.connection.execute(gone)).rowcount > 0


def of(table: Table, team_id: str, identity_id: str) -> ColumnElement[bool]:
    return and_(table.c.team_id == team_id, table.c.identity_id == identity_id)


def here(team_id: str, identity_id: str, sandbox_id: str) -> ColumnElement[bool]:
    mine = of(identity_permissions, team_id, identity_id)
    return and_(mine, identity_permissions.c.sandbox_id == sandbox_id)


def token_of(row: Row[Any]) -> IdentityToken:
    return IdentityToken(row.id, row.identity_id, row.team_id, row.created_at)


def values_of(permission: Permission) -> dict[str, Any]:
    users = None if permission.users is None else list(permission.users)
    return {**vars(permission), "users": users}


def permission_of(row: Row[Any]) -> Permission:
    users: list[str] | None = row.users
    return Permission(**{**row._mapping, "users": None if users is None else tuple(users)})
