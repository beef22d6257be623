"""What opens previews, kept in memory after the first look, since every request of every page asks."""

from collections import OrderedDict
from collections.abc import Iterable
from datetime import datetime
from typing import TypeVar

from moonpool.clock import Clock
from moonpool.previews.model import DomainMapping, PreviewToken, SignedLink
from moonpool.previews.repository import DoorRepository, digest_of
from moonpool.store.database import Store

Value = TypeVar("Value")

REMEMBERED = 10_000  # links, sandboxes and teams of each kind


class Doors:
    """Whoever changes what is stored says so here after the commit; a look that was under way meanwhile is not kept."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._repository = DoorRepository()
        self._clock = clock
        self._links: OrderedDict[str, SignedLink] = OrderedDict()
        self._tokens: OrderedDict[str, dict[str, PreviewToken]] = OrderedDict()
        self._hosts: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._mappings: dict[str, DomainMapping] = {}
        self._changes = 0
        self._used: dict[str, datetime] = {}

    async def load(self) -> None:
        """Every mapped domain; once, before anything is served."""
        async with self._store.reading() as connection:
            self._mappings = {mapping.domain: mapping for mapping in await self._repository.mappings(connection)}

    # -- looking -------------------------------------------------------------------------------------------------------

    async def link(self, token: str, port: int) -> SignedLink | None:
        """The signed link of this token, if it opens this port now."""
        digest = digest_of(token)
        found = self._links.get(digest)
        if found is None:
            changes = self._changes
            async with self._store.reading() as connection:
                found = await self._repository.link(connection, digest)
            if found is not None and changes == self._changes:
                keep(self._links, digest, found)
        if found is None or found.port != port or found.expires_at <= self._clock.now():
            return None
        return found

    async def token(self, sandbox_id: str, token: str) -> PreviewToken | None:
        """The sandbox's living token with this secret; it counts as used."""
        found = (await self._tokens_of(sandbox_id)).get(digest_of(token))
        return self._noted(found)

    async def token_by_id(self, sandbox_id: str, token_id: str) -> PreviewToken | None:
        tokens = await self._tokens_of(sandbox_id)
        return self._noted(next((token for token in tokens.values() if token.id == token_id), None))

    async def trusted_hosts(self, team_id: str) -> tuple[str, ...]:
        found = self._hosts.get(team_id)
        if found is None:
            changes = self._changes
            async with self._store.reading() as connection:
                found = tuple(await self._repository.trusted_hosts(connection, team_id))
            if changes == self._changes:
                keep(self._hosts, team_id, found)
        return found

    def mapping(self, domain: str) -> DomainMapping | None:
        return self._mappings.get(domain)

    async def _tokens_of(self, sandbox_id: str) -> dict[str, PreviewToken]:
        found = self._tokens.get(sandbox_id)
        if found is None:
            changes = self._changes
            async with self._store.reading() as connection:
                found = await self._repository.tokens_by_digest(connection, sandbox_id)
            if changes == self._changes:
                keep(self._tokens, sandbox_id, found)
        return found

    def _noted(self, token: PreviewToken | None) -> PreviewToken | None:
        now = self._clock.now()
        if token is None or (token.expires_at is not None and token.expires_at <= now):
            return None
        self._used[token.id] = now
        return token

    # -- what has changed ----------------------------------------------------------------------------------------------

    def links_changed(self) -> None:
        self._changes += 1
        self._links.clear()

    def tokens_changed(self, sandbox_id: str) -> None:
        self._changes += 1
        self._tokens.pop(sandbox_id, None)

    def hosts_changed(self, team_id: str) -> None:
        self._changes += 1
        self._hosts.pop(team_id, None)

    def mapped(self, mappings: Iterable[DomainMapping]) -> None:
        self._mappings |= {mapping.domain: mapping for mapping in mappings}

    def unmapped(self, domain: str) -> None:
        self._mappings.pop(domain, None)

    def sandbox_gone(self, sandbox_id: str) -> None:
        self.tokens_changed(sandbox_id)
        for domain in [domain for domain, found in self._mappings.items() if found.sandbox_id == sandbox_id]:
            self.unmapped(domain)

    async def flush(self) -> None:
        """Write when tokens were last used."""
        used, self._used = self._used, {}
        if used:
            async with self._store.transaction() as transaction:
                await self._repository.note_use(transaction, used)


def keep(cache: "OrderedDict[str, Value]", key: str, value: Value) -> None:
    cache[key] = value
    if len(cache) > REMEMBERED:
        cache.popitem(last=False)
