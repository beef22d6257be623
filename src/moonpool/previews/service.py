"""Use cases of preview access."""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from moonpool.access.model import Principal, Scope
from moonpool.access.service import AccessService
from moonpool.clock import Clock
from moonpool.errors import InvalidInput, LimitExceeded, PreviewTokenNotFound
from moonpool.ids import random_word
from moonpool.previews.doors import Doors
from moonpool.previews.links import LinkService
from moonpool.previews.model import NewPreviewToken, PreviewHost, PreviewToken
from moonpool.previews.repository import PreviewRepository, digest_of
from moonpool.sandboxes.service import SandboxService
from moonpool.store.database import Store
from moonpool.store.moments import in_utc
from moonpool.store.text import storable

ID_PREFIX = "prv_"
ID_LENGTH = 16  # characters
SECRET_PREFIX = "prv_v1_"  # noqa: S105 - how such tokens begin, and none itself
SECRET_BYTES = 32  # 43 url-safe characters
SHOWN = len(SECRET_PREFIX) + 5  # characters of a token that are kept to recognise it by
MAX_TOKENS = 1000  # of one sandbox
MAX_HOSTS = 100  # of one team
MAX_HOST_LENGTH = 255  # characters


class PreviewService:
    """Tokens are random, shown once and stored as SHA-256. SandboxNotFound for another team's sandbox."""

    def __init__(
        self, store: Store, access: AccessService, sandboxes: SandboxService, clock: Clock, signing_key: bytes = b""
    ) -> None:
        self._store = store
        self._access = access
        self._sandboxes = sandboxes
        self._clock = clock
        self._repository = PreviewRepository()
        self.doors = Doors(store, clock)
        self.links = LinkService(store, access, sandboxes, self.doors, clock, signing_key)

    # -- tokens --------------------------------------------------------------------------------------------------------

    async def create_token(self, principal: Principal, sandbox: str, expires_at: datetime | None) -> NewPreviewToken:
        """InvalidInput for an expiry in the past, LimitExceeded when the sandbox has very many."""
        sandbox_id = await self._manageable(principal, sandbox)
        now = self._clock.now()
        if expires_at is not None:
            expires_at = in_utc(expires_at, "expires_at")
            if expires_at <= now:
                raise InvalidInput("The expiry is in the past", field="expires_at")
        secret = SECRET_PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        token = PreviewToken(
            id=ID_PREFIX + random_word(ID_LENGTH),
            team_id=principal.team_id,
            sandbox_id=sandbox_id,
            prefix=secret[:SHOWN],
            created_at=now,
            expires_at=expires_at,
            last_used_at=None,
        )
        async with self._store.transaction() as transaction:
            await self._repository.delete_tokens(transaction, principal.team_id, sandbox_id, expired_at=now)
            count = await self._repository.count_tokens(transaction.connection, principal.team_id, sandbox_id)
            if count >= MAX_TOKENS:
                raise LimitExceeded(f"This sandbox has {count} preview tokens", hint="Revoke some of them.")
            await self._repository.insert_token(transaction, token, digest_of(secret))
        self.doors.tokens_changed(sandbox_id)
        return NewPreviewToken(token, secret)

    async def list_tokens(self, principal: Principal, sandbox: str) -> list[PreviewToken]:
        """Those that have not expired, the newest first."""
        found = await self._sandboxes.get(principal, sandbox)
        async with self._store.reading() as connection:
            return await self._repository.tokens(connection, principal.team_id, found.id, self._clock.now())

    async def set_token_expiry(
        self, principal: Principal, sandbox: str, token_id: str, expires_at: datetime | None
    ) -> PreviewToken:
        """None: it never expires; a moment that has passed revokes it for good. PreviewTokenNotFound for one that
        does not exist or has expired."""
        sandbox_id = await self._manageable(principal, sandbox)
        if not storable(token_id):
            raise PreviewTokenNotFound
        expires_at = None if expires_at is None else in_utc(expires_at, "expires_at")
        now = self._clock.now()
        async with self._store.transaction() as transaction:
            connection = transaction.connection
            found = await self._repository.token(connection, principal.team_id, sandbox_id, token_id, now)
            if found is None:
                raise PreviewTokenNotFound
            await self._repository.set_expiry(transaction, found, expires_at)
        self.doors.tokens_changed(sandbox_id)
        return replace(found, expires_at=expires_at)

    async def revoke_tokens(self, principal: Principal, sandbox: str) -> None:
        """All of a sandbox's, at once."""
        sandbox_id = await self._manageable(principal, sandbox)
        async with self._store.transaction() as transaction:
            await self._repository.delete_tokens(transaction, principal.team_id, sandbox_id)
        self.doors.tokens_changed(sandbox_id)

    async def _manageable(self, principal: Principal, sandbox: str) -> str:
        self._access.require(principal, Scope.SANDBOXES_WRITE)
        return (await self._sandboxes.get(principal, sandbox)).id

    # -- hosts ---------------------------------------------------------------------------------------------------------

    async def list_hosts(self, principal: Principal) -> list[PreviewHost]:
        """The team's trusted hosts, in the order in which they were given."""
        self._access.require(principal, Scope.SANDBOXES_READ)
        async with self._store.reading() as connection:
            return await self._repository.hosts(connection, principal.team_id)

    async def replace_hosts(self, principal: Principal, hosts: Iterable[str]) -> list[PreviewHost]:
        """The list is ``hosts`` from now on; those that were on it keep their date. InvalidInput."""
        return await self._set_hosts(principal, checked(hosts), keep=False)

    async def add_hosts(self, principal: Principal, hosts: Iterable[str]) -> list[PreviewHost]:
        """The whole list, with ``hosts`` at its end where they were not on it."""
        return await self._set_hosts(principal, checked(hosts), keep=True)

    async def _set_hosts(self, principal: Principal, hosts: Sequence[str], *, keep: bool) -> list[PreviewHost]:
        self._access.require(principal, Scope.SANDBOXES_WRITE)
        now = self._clock.now()
        async with self._store.transaction() as transaction:
            known = await self._repository.hosts(transaction.connection, principal.team_id)
            dates = {host.host: host.created_at for host in known}
            wanted = dict.fromkeys([*dates, *hosts] if keep else hosts)
            if len(wanted) > MAX_HOSTS:
                raise InvalidInput(f"At most {MAX_HOSTS} preview hosts", field="hosts")
            listed = [PreviewHost(host, dates.get(host, now)) for host in wanted]
            await self._repository.replace_hosts(transaction, principal.team_id, listed)
        self.doors.hosts_changed(principal.team_id)
        return listed


def checked(hosts: Iterable[str]) -> list[str]:
    stripped = [host.strip() for host in hosts]
    for host in stripped:
        if not 0 < len(host) <= MAX_HOST_LENGTH or not host.isprintable() or " " in host or not storable(host):
            message = f"A preview host is a domain or an origin of 1 to {MAX_HOST_LENGTH} characters, without spaces"
            raise InvalidInput(message, field="hosts")
    return stripped
