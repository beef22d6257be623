"""All SQL of preview access."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from moonpool.previews.model import DomainMapping, PreviewHost, PreviewToken, SignedLink
from moonpool.store.database import Transaction
from moonpool.store.tables import file_keys, preview_hosts, preview_links, preview_mappings, preview_tokens, sandboxes


def digest_of(secret: str) -> str:
    """As which a secret is stored: it is random, so nothing slower would protect it better."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


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


class DoorRepository:
    """What a request to a preview needs to know, whose team is not known before: each query is by a secret, by a
    sandbox that was named by its id, or for the table of all domains."""

    async def tokens_by_digest(self, connection: AsyncConnection, sandbox_id: str) -> dict[str, PreviewToken]:
        query = select(preview_tokens).where(preview_tokens.c.sandbox_id == sandbox_id)
        return {row.digest: token_of(row) for row in await connection.execute(query)}

    async def note_use(self, transaction: Transaction, used: Mapping[str, datetime]) -> None:
        for token_id, moment in used.items():
            wanted = preview_tokens.c.id == token_id
            await transaction.connection.execute(update(preview_tokens).where(wanted).values(last_used_at=moment))

    async def link(self, connection: AsyncConnection, digest: str) -> SignedLink | None:
        row = (await connection.execute(select(preview_links).where(preview_links.c.digest == digest))).one_or_none()
        return None if row is None else link_of(row)

    async def trusted_hosts(self, connection: AsyncConnection, team_id: str) -> list[str]:
        query = (
            select(preview_hosts.c.host).where(preview_hosts.c.team_id == team_id).order_by(preview_hosts.c.position)
        )
        return list((await connection.execute(query)).scalars())

    async def mappings(self, connection: AsyncConnection) -> list[DomainMapping]:
        alive = select(sandboxes.c.id).where(sandboxes.c.desired != "destroyed")
        query = select(preview_mappings).where(preview_mappings.c.sandbox_id.in_(alive))
        return [DomainMapping(**row._mapping) for row in await connection.execute(query)]


class LinkRepository:
    """Signed links, mapped domains and keys of file links."""

    async def insert_link(self, transaction: Transaction, link: SignedLink, digest: str) -> None:
        await transaction.connection.execute(insert(preview_links).values(**vars(link), digest=digest))

    async def delete_link(
        self, transaction: Transaction, team_id: str, sandbox_id: str, port: int, digest: str
    ) -> bool:
        columns = preview_links.c
        wanted = and_(
            columns.team_id == team_id, columns.sandbox_id == sandbox_id, columns.port == port, columns.digest == digest
        )
        result = await transaction.connection.execute(delete(preview_links).where(wanted))
        return bool(result.rowcount)

    async def delete_expired(self, transaction: Transaction, now: datetime) -> None:
        await transaction.connection.execute(delete(preview_links).where(preview_links.c.expires_at <= now))

    async def count_links(self, connection: AsyncConnection, sandbox_id: str) -> int:
        query = select(func.count()).select_from(preview_links).where(preview_links.c.sandbox_id == sandbox_id)
        return (await connection.execute(query)).scalar_one()

    async def mappings(
        self, connection: AsyncConnection, team_id: str, sandbox_id: str | None = None
    ) -> list[DomainMapping]:
        query = select(preview_mappings).where(preview_mappings.c.team_id == team_id)
        if sandbox_id is not None:
            query = query.where(preview_mappings.c.sandbox_id == sandbox_id)
        rows = await connection.execute(query.order_by(preview_mappings.c.domain))
        return [DomainMapping(**row._mapping) for row in rows]

    async def put_mapping(self, transaction: Transaction, mapping: DomainMapping) -> None:
        """In the place of whatever the domain led to."""
        connection = transaction.connection
        await connection.execute(delete(preview_mappings).where(preview_mappings.c.domain == mapping.domain))
        await connection.execute(insert(preview_mappings).values(**vars(mapping)))

    async def delete_mapping(self, transaction: Transaction, team_id: str, domain: str) -> bool:
        wanted = and_(preview_mappings.c.team_id == team_id, preview_mappings.c.domain == domain)
        return bool((await transaction.connection.execute(delete(preview_mappings).where(wanted))).rowcount)

    async def salt(self, connection: AsyncConnection, sandbox_id: str) -> str | None:
        query = select(file_keys.c.salt).where(file_keys.c.sandbox_id == sandbox_id)
        return (await connection.execute(query)).scalar_one_or_none()

    async def put_salt(self, transaction: Transaction, team_id: str, sandbox_id: str, salt: str, now: datetime) -> None:
        connection = transaction.connection
        await connection.execute(delete(file_keys).where(file_keys.c.sandbox_id == sandbox_id))
        values = {"team_id": team_id, "sandbox_id": sandbox_id, "salt": salt, "created_at": now}
        await connection.execute(insert(file_keys).values(**values))


def of(team_id: str, sandbox_id: str) -> ColumnElement[bool]:
    return and_(preview_tokens.c.team_id == team_id, preview_tokens.c.sandbox_id == sandbox_id)


def living(now: datetime) -> ColumnElement[bool]:
    return or_(preview_tokens.c.expires_at.is_(None), preview_tokens.c.expires_at > now)


def token_of(row: Row[Any]) -> PreviewToken:
    fields = dict(row._mapping)
    del fields["digest"]
    return PreviewToken(**fields)


def link_of(row: Row[Any]) -> SignedLink:
    fields = dict(row._mapping)
    del fields["digest"]
    return SignedLink(**fields)


def host_rows(team_id: str, hosts: Iterable[PreviewHost]) -> list[dict[str, Any]]:
    return [{"team_id": team_id, "position": position, **vars(host)} for position, host in enumerate(hosts)]
