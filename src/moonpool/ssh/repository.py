"""All SQL of SSH access."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, and_, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from moonpool.ssh.model import SshAccess
from moonpool.store.database import Transaction
from moonpool.store.tables import ssh_tokens


class SshRepository:
    async def insert(self, transaction: Transaction, access: SshAccess, digest: str) -> None:
        await transaction.connection.execute(insert(ssh_tokens).values(**vars(access), digest=digest))

    async def of_sandbox(self, connection: AsyncConnection, team_id: str, sandbox_id: str) -> Sequence[SshAccess]:
        wanted = and_(ssh_tokens.c.team_id == team_id, ssh_tokens.c.sandbox_id == sandbox_id)
        return [access_of(row) for row in await connection.execute(select(ssh_tokens).where(wanted))]

    async def by_digest(self, connection: AsyncConnection, digest: str) -> SshAccess | None:
        """Whoever's: the secret itself is what the asker has."""
        row = (await connection.execute(select(ssh_tokens).where(ssh_tokens.c.digest == digest))).one_or_none()
        return None if row is None else access_of(row)

    async def delete(self, transaction: Transaction, team_id: str, token_id: str) -> None:
        wanted = and_(ssh_tokens.c.team_id == team_id, ssh_tokens.c.id == token_id)
        await transaction.connection.execute(delete(ssh_tokens).where(wanted))

    async def delete_expired(self, transaction: Transaction, now: datetime) -> None:
        await transaction.connection.execute(delete(ssh_tokens).where(ssh_tokens.c.expires_at <= now))


def access_of(row: Row[Any]) -> SshAccess:
    fields = dict(row._mapping)
    del fields["digest"]
    return SshAccess(**fields)
