"""All SQL of preview access."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from moonpool.previews.model import PreviewHost, PreviewToken
from moonpool.store.database import Transaction
from moonpool.store.tables import preview_hosts, preview_tokens


class PreviewRepository:
    async def insert_token(self, transaction: Transaction, token: PreviewToken, digest: str) -> None:
        await transaction.connection.execute(insert(preview_tokens).values(**vars(token), digest=digest))

    async def tokens(
        self, connection: AsyncConnection, team_id: str, sandbox_id: str, now: datetime
    ) -> list[PreviewToken]:
        """Those that still open something, the newest first."""
        query = select(preview_tokens).where(of(team_id, sandbox_id), living(now))
        rows = await connection.execute(query.order_by(preview_tokens.c.created_at.desc(), preview_tokens.c.id))
        return [token_of(row) for row in rows]

    async def count_tokens(self, connection: AsyncConnection, team_id: str, sandbox_id: str) -> int:
        query = select(func.count()).select_from(preview_tokens).where(of(team_id, sandbox_id))
        return (await connection.execute(query)).scalar_one()

    async def token(
        self, connection: AsyncConnection, team_id: str, sandbox_id: str, token_id: str, now: datetime
    ) -> PreviewToken | None:
        query = select(preview_tokens).where(of(team_id, sandbox_id), preview_tokens.c.id == token_id, living(now))
        row = (await connection.execute(query)).one_or_none()
        return None if row is None else token_of(row)

    async def set_expiry(self, transaction: Transaction, token: PreviewToken, expires_at: datetime | None) -> None:
        wanted = and_(of(token.team_id, token.sandbox_id), preview_tokens.c.id == token.id)
        await transaction.connection.execute(update(preview_tokens).where(wanted).values(expires_at=expires_at))

    async def delete_tokens(
        self, transaction: Transaction, team_id: str, sandbox_id: str, *, expired_at: datetime | None = None
    ) -> None:
        """All of a sandbox's, or those that have expired at that moment."""
        wanted = of(team_id, sandbox_id)
        if expired_at is not None:
            wanted = and_(wanted, preview_tokens.c.expires_at <= expired_at)
        await transaction.connection.execute(delete(preview_tokens).where(wanted))

    async def hosts(self, connection: AsyncConnection, team_id: str) -> list[PreviewHost]:
        query = select(preview_hosts).where(preview_hosts.c.team_id == team_id).order_by(preview_hosts.c.position)
        return [PreviewHost(row.host, row.created_at) for row in await connection.execute(query)]

    async def replace_hosts(self, transaction: Transaction, team_id: str, hosts: Sequence[PreviewHost]) -> None:
        await transaction.connection.execute(delete(preview_hosts).where(preview_hosts.c.team_id == team_id))
        rows = host_rows(team_id, hosts)
        if rows:
            await transaction.connection.execute(insert(preview_hosts), rows)


def of(team_id: str, sandbox_id: str) -> ColumnElement[bool]:
    return and_(preview_tokens.c.team_id == team_id, preview_tokens.c.sandbox_id == sandbox_id)


def living(now: datetime) -> ColumnElement[bool]:
    return or_(preview_tokens.c.expires_at.is_(None), preview_tokens.c.expires_at > now)


def token_of(row: Row[Any]) -> PreviewToken:
    fields = dict(row._mapping)
    del fields["digest"]
    return PreviewToken(**fields)


def host_rows(team_id: str, hosts: Iterable[PreviewHost]) -> list[dict[str, Any]]:
    return [{"team_id": team_id, "position": position, **vars(host)} for position, host in enumerate(hosts)]
