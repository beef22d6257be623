"""All SQL of users, of what was mailed to them, and of what they are to providers of logins.

Users belong to no one team: who may see which is for the services to say, which ask here by id or address.
"""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from moonpool.access.people import User, UserStatus
from moonpool.errors import NameTaken
from moonpool.store.database import Transaction
from moonpool.store.tables import account_tokens, provider_logins, users
from moonpool.store.text import storable

COLUMNS = frozenset(field.name for field in fields(User)) - {"has_password"}


@dataclass(frozen=True)
class Identity:
    """``subject`` is the user's id at the provider, which never changes."""

    provider: str
    subject: str
    user_id: str
    email: str
    created_at: datetime


class UserRepository:
    async def insert(self, transaction: Transaction, user: User, password_hash: str | None) -> None:
        """NameTaken where the address is somebody's."""
        values = {name: getattr(user, name) for name in COLUMNS} | {"password_hash": password_hash}
        try:
            await transaction.connection.execute(insert(users).values(**values))
        except IntegrityError as error:
            raise NameTaken("There is an account with this address already") from error

    async def by_id(self, connection: AsyncConnection, user_id: str) -> User | None:
        if not storable(user_id):
            return None
        return await self._one(connection, users.c.id == user_id)

    async def by_email(self, connection: AsyncConnection, email: str) -> User | None:
        return await self._one(connection, users.c.email == email)

    async def _one(self, connection: AsyncConnection, condition: Any) -> User | None:
        row = (await connection.execute(select(users).where(condition))).one_or_none()
        return None if row is None else user_of(row)

    async def password_hash(self, connection: AsyncConnection, user_id: str) -> str | None:
        query = select(users.c.password_hash).where(users.c.id == user_id)
        found: str | None = (await connection.execute(query)).scalar_one_or_none()
        return found

    async def all(self, connection: AsyncConnection) -> list[User]:
        """For platform admins and the operator."""
        rows = await connection.execute(select(users).order_by(users.c.created_at, users.c.id))
        return [user_of(row) for row in rows]

    async def with_prefix(self, connection: AsyncConnection, prefix: str, limit: int) -> list[User]:
        """Active users whose address begins so."""
        begins = func.substr(users.c.email, 1, len(prefix)) == prefix
        active = users.c.status == UserStatus.ACTIVE
        query = select(users).where(begins, active, users.c.handle == users.c.id).order_by(users.c.email)
        return [user_of(row) for row in await connection.execute(query.limit(limit))]

    async def update(self, transaction: Transaction, user_id: str, **values: Any) -> None:
        """Columns of the table; ``password_hash`` is one of them."""
        await transaction.connection.execute(update(users).where(users.c.id == user_id).values(**values))

    async def deleted_before(self, connection: AsyncConnection, moment: datetime) -> list[User]:
        over = users.c.status == UserStatus.DELETED, users.c.deleted_at <= moment
        return [user_of(row) for row in await connection.execute(select(users).where(*over))]

    async def pending_before(self, connection: AsyncConnection, moment: datetime) -> list[User]:
        """Those that were never activated."""
        over = users.c.status == UserStatus.PENDING, users.c.updated_at <= moment
        return [user_of(row) for row in await connection.execute(select(users).where(*over))]

    async def remove(self, transaction: Transaction, user_id: str) -> None:
        """For good; whatever else names the user must be gone by then."""
        for table in (account_tokens, provider_logins):
            await transaction.connection.execute(delete(table).where(table.c.user_id == user_id))
        await transaction.connection.execute(delete(users).where(users.c.id == user_id))

    # -- what was mailed -----------------------------------------------------------------------------------------------

    async def put_token(
        self, transaction: Transaction, digest: str, user_id: str, purpose: str, now: datetime, until: datetime
    ) -> None:
        """In place of all that the user had for this purpose."""
        await self.drop_tokens(transaction, user_id, purpose)
        values = {"digest": digest, "user_id": user_id, "purpose": purpose, "created_at": now, "expires_at": until}
        await transaction.connection.execute(insert(account_tokens).values(**values))

    async def drop_tokens(self, transaction: Transaction, user_id: str, purpose: str | None = None) -> None:
        statement = delete(account_tokens).where(account_tokens.c.user_id == user_id)
        if purpose is not None:
            statement = statement.where(account_tokens.c.purpose == purpose)
        await transaction.connection.execute(statement)

    async def token_made_at(self, connection: AsyncConnection, user_id: str, purpose: str) -> datetime | None:
        """When the user was sent the last one that is still there."""
        query = select(func.max(account_tokens.c.created_at)).where(
            account_tokens.c.user_id == user_id, account_tokens.c.purpose == purpose
        )
        found: datetime | None = (await connection.execute(query)).scalar_one()
        return found

    async def has_token(self, connection: AsyncConnection, digest: str, purpose: str, now: datetime) -> bool:
        """Whether it is one that ``take_token`` would take."""
        one = account_tokens.c.digest == digest, account_tokens.c.purpose == purpose
        expiry = (await connection.execute(select(account_tokens.c.expires_at).where(*one))).scalar_one_or_none()
        return expiry is not None and expiry > now

    async def take_token(self, transaction: Transaction, digest: str, purpose: str, now: datetime) -> User | None:
        """Whose it is, where it is one and not over; it is gone then."""
        one = account_tokens.c.digest == digest, account_tokens.c.purpose == purpose
        row = (await transaction.connection.execute(select(account_tokens).where(*one))).one_or_none()
        if row is None or row.expires_at <= now:
            return None
        await transaction.connection.execute(delete(account_tokens).where(*one))
        return await self.by_id(transaction.connection, row.user_id)

    # -- providers -----------------------------------------------------------------------------------------------------

    async def identity(self, connection: AsyncConnection, provider: str, subject: str) -> Identity | None:
        one = provider_logins.c.provider == provider, provider_logins.c.subject == subject
        row = (await connection.execute(select(provider_logins).where(*one))).one_or_none()
        return None if row is None else Identity(**row._mapping)

    async def identities(self, connection: AsyncConnection, user_id: str) -> list[Identity]:
        query = select(provider_logins).where(provider_logins.c.user_id == user_id).order_by(provider_logins.c.provider)
        return [Identity(**row._mapping) for row in await connection.execute(query)]

    async def add_identity(self, transaction: Transaction, identity: Identity) -> None:
        """NameTaken where it is somebody's already."""
        try:
            await transaction.connection.execute(insert(provider_logins).values(**vars(identity)))
        except IntegrityError as error:
            raise NameTaken("This login belongs to another account") from error

    async def drop_identity(self, transaction: Transaction, user_id: str, provider: str) -> None:
        one = provider_logins.c.user_id == user_id, provider_logins.c.provider == provider
        await transaction.connection.execute(delete(provider_logins).where(*one))


def user_of(row: Row[Any]) -> User:
    values = {name: row._mapping[name] for name in COLUMNS}
    return User(**{**values, "status": UserStatus(row.status), "has_password": row.password_hash is not None})
