"""Keys of every kind, written into a running server's database."""

import asyncio
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from moonpool.access.model import ALL_SCOPES, ApiKey, KeyOrigin, Scope
from moonpool.access.people import User
from moonpool.access.repository import AccessRepository
from moonpool.access.service import digest_of
from moonpool.ids import new_uuid
from moonpool.store.database import Store
from tests.servers import Server

READING = frozenset({Scope.SANDBOXES_READ, Scope.SNAPSHOTS_READ})


@dataclass(frozen=True)
class Keys:
    """``reading`` and ``expired`` are the server's own team's, ``stranger`` is another team's."""

    reading: str
    expired: str
    stranger: str


def make_keys(server: Server) -> Keys:
    return asyncio.run(insert_keys(f"sqlite:///{server.data.resolve() / 'db.sqlite'}"))


async def insert_keys(database: str) -> Keys:
    now = datetime.now(UTC)
    repository = AccessRepository()
    store = await Store.open(database)
    try:
        async with store.transaction() as transaction:
            own = await repository.ensure_admin(transaction, "default", "admin", now)
            other = await repository.ensure_admin(transaction, "strangers", "stranger", now)
            made = {
                "reading": new_key(own, "reading", READING, now),
                "expired": new_key(own, "expired", ALL_SCOPES, now - timedelta(hours=1)),
                "stranger": new_key(other, "stranger", ALL_SCOPES, now),
            }
            for key, secret in made.values():
                await repository.insert_key(transaction, key, digest_of(secret))
    finally:
        await store.close()
    return Keys(**{name: secret for name, (_, secret) in made.items()})


def new_key(user: User, name: str, scopes: frozenset[Scope], now: datetime) -> tuple[ApiKey, str]:
    """``now`` is when it was made; it lives for half an hour."""
    secret = f"mp_{secrets.token_urlsafe(32)}"
    expires_at = now + timedelta(minutes=30)
    key = ApiKey(
        new_uuid(), user.team_id, user.id, name, secret[:6], "", scopes, KeyOrigin.CREATED, now, expires_at, None
    )
    return key, secret
