"""All SQL of browser sessions and invitations."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, and_, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from moonpool.access.model import TeamRole
from moonpool.access.people import SESSION_IDLE, Invitation, InvitationStatus, Session
from moonpool.store.database import Transaction
from moonpool.store.tables import browser_sessions, invitations
from moonpool.store.text import storable

COLUMNS = [column for column in browser_sessions.c if column.name != "digest"]


@dataclass(frozen=True)
class StoredSession:
    session: Session
    digest: str


class SessionRepository:
    async def insert(self, transaction: Transaction, session: Session, digest: str) -> None:
        await transaction.connection.execute(insert(browser_sessions).values(**vars(session), digest=digest))

    async def by_digest(self, connection: AsyncConnection, digest: str) -> StoredSession | None:
        row = (await connection.execute(select(browser_sessions).where(browser_sessions.c.digest == digest))).first()
        if row is None:
            return None
        return StoredSession(Session(**{column.name: row._mapping[column.name] for column in COLUMNS}), row.digest)

    async def of_user(self, connection: AsyncConnection, user_id: str, now: datetime) -> list[Session]:
        """Those that have not ended, the last seen first."""
        query = (
            select(*COLUMNS)
            .where(browser_sessions.c.user_id == user_id)
            .where(browser_sessions.c.expires_at > now, browser_sessions.c.last_seen_at > now - SESSION_IDLE)
            .order_by(browser_sessions.c.last_seen_at.desc(), browser_sessions.c.id)
        )
        return [Session(**row._mapping) for row in await connection.execute(query)]

    async def seen(self, transaction: Transaction, session_id: str, now: datetime) -> None:
        one = browser_sessions.c.id == session_id
        await transaction.connection.execute(update(browser_sessions).where(one).values(last_seen_at=now))

    async def remove(self, transaction: Transaction, user_id: str, session_id: str) -> bool:
        """Whether it was there."""
        if not storable(session_id):
            return False
        one = and_(browser_sessions.c.user_id == user_id, browser_sessions.c.id == session_id)
        return (await transaction.connection.execute(delete(browser_sessions).where(one))).rowcount > 0

    async def remove_all(self, transaction: Transaction, user_id: str, *, keep: str | None = None) -> None:
        """All of a user's, but the one to ``keep``."""
        statement = delete(browser_sessions).where(browser_sessions.c.user_id == user_id)
        if keep is not None:
            statement = statement.where(browser_sessions.c.id != keep)
        await transaction.connection.execute(statement)

    async def prune(self, transaction: Transaction, now: datetime) -> None:
        """Those that have ended."""
        over = or_(browser_sessions.c.expires_at <= now, browser_sessions.c.last_seen_at <= now - SESSION_IDLE)
        await transaction.connection.execute(delete(browser_sessions).where(over))


class InvitationRepository:
    async def insert(self, transaction: Transaction, invitation: Invitation) -> None:
        await transaction.connection.execute(insert(invitations).values(**values_of(invitation)))

    async def update(self, transaction: Transaction, invitation: Invitation) -> None:
        one = invitations.c.team_id == invitation.team_id, invitations.c.id == invitation.id
        await transaction.connection.execute(update(invitations).where(*one).values(**values_of(invitation)))

    async def of_team(self, connection: AsyncConnection, team_id: str) -> list[Invitation]:
        """Those that wait for an answer, expired ones too; the newest first."""
        return await self._pending(connection, invitations.c.team_id == team_id)

    async def to(self, connection: AsyncConnection, email: str, now: datetime) -> list[Invitation]:
        """Those to an address that can be accepted."""
        return await self._pending(connection, and_(invitations.c.email == email, invitations.c.expires_at > now))

    async def in_team(self, connection: AsyncConnection, team_id: str, invitation_id: str) -> Invitation | None:
        return await self._one(connection, invitations.c.team_id == team_id, invitation_id)

    async def for_address(self, connection: AsyncConnection, email: str, invitation_id: str) -> Invitation | None:
        return await self._one(connection, invitations.c.email == email, invitation_id)

    async def cancel_all(self, transaction: Transaction, team_id: str, now: datetime) -> None:
        pending = invitations.c.team_id == team_id, invitations.c.status == InvitationStatus.PENDING
        values = {"status": InvitationStatus.CANCELLED, "updated_at": now}
        await transaction.connection.execute(update(invitations).where(*pending).values(**values))

    async def _pending(self, connection: AsyncConnection, condition: Any) -> list[Invitation]:
        query = select(invitations).where(condition, invitations.c.status == InvitationStatus.PENDING)
        rows = await connection.execute(query.order_by(invitations.c.created_at.desc(), invitations.c.id))
        return [invitation_of(row) for row in rows]

    async def _one(self, connection: AsyncConnection, condition: Any, invitation_id: str) -> Invitation | None:
        if not storable(invitation_id):
            return None
        query = select(invitations).where(condition, invitations.c.id == invitation_id)
        row = (await connection.execute(query)).one_or_none()
        return None if row is None else invitation_of(row)


def values_of(invitation: Invitation) -> dict[str, Any]:
    return vars(invitation) | {"role_ids": list(invitation.role_ids)}


def invitation_of(row: Row[Any]) -> Invitation:
    values = dict(row._mapping)
    values["role"], values["status"] = TeamRole(row.role), InvitationStatus(row.status)
    return Invitation(**{**values, "role_ids": tuple(row.role_ids)})
