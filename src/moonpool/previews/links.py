"""Use cases of signed links, of domains that lead to sandboxes, and of the keys of file links."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from datetime import timedelta

from moonpool.access.model import Principal, Scope
from moonpool.access.service import AccessService
from moonpool.clock import Clock
from moonpool.errors import DomainTaken, InvalidInput, LimitExceeded, MappingNotFound, PreviewTokenNotFound
from moonpool.ids import random_word
from moonpool.previews.doors import Doors
from moonpool.previews.model import LINK_LENGTH, DomainMapping, NewLink, SignedLink
from moonpool.previews.repository import LinkRepository, digest_of
from moonpool.sandboxes.model import Sandbox
from moonpool.sandboxes.service import SandboxService
from moonpool.store.database import Store

MAX_LINKS = 1000  # of one sandbox
MAX_MAPPINGS = 100  # of one sandbox
LONGEST_LINK = 24 * 3600  # seconds
HIGHEST_PORT = 65535
SALT_BYTES = 32
LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
DOMAIN = re.compile(rf"(?=.{{1,253}}\Z)(?:{LABEL}\.)+[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])")
PURPOSE = b"moonpool file links\0"


class LinkService:
    """``reserved`` says of a domain whether it is the server's own, so that no user can take it. Where the server does
    not know by which name clients reach it (``knows_itself``), no domain is safe to give away."""

    def __init__(
        self,
        store: Store,
        access: AccessService,
        sandboxes: SandboxService,
        doors: Doors,
        clock: Clock,
        key: bytes,
        reserved: Callable[[str], bool] = lambda domain: False,
    ) -> None:
        self._store = store
        self._access = access
        self._sandboxes = sandboxes
        self._doors = doors
        self._clock = clock
        self._key = key
        self._repository = LinkRepository()
        self.reserved = reserved
        self.own_domain = "localhost"  # without a port
        self.knows_itself = True

    # -- signed links --------------------------------------------------------------------------------------------------

    async def create(self, principal: Principal, sandbox: str, port: int, seconds: int) -> NewLink:
        """A link to one port that holds for ``seconds``, over restarts; InvalidInput, LimitExceeded."""
        found = await self._writable(principal, sandbox)
        check_port(port)
        if not 1 <= seconds <= LONGEST_LINK:
            raise InvalidInput(f"A link holds for 1 to {LONGEST_LINK} seconds", field="expiresInSeconds")
        now, token = self._clock.now(), random_word(LINK_LENGTH)
        link = SignedLink(principal.team_id, found.id, port, now, now + timedelta(seconds=seconds))
        async with self._store.transaction() as transaction:
            await self._repository.delete_expired(transaction, now)
            if await self._repository.count_links(transaction.connection, found.id) >= MAX_LINKS:
                raise LimitExceeded(f"This sandbox has {MAX_LINKS} signed links", hint="Expire some of them.")
            await self._repository.insert_link(transaction, link, digest_of(token))
        return NewLink(link, token)

    async def expire(self, principal: Principal, sandbox: str, port: int, token: str) -> None:
        """At once; PreviewTokenNotFound where there is none."""
        found = await self._writable(principal, sandbox)
        digest = digest_of(token)
        async with self._store.transaction() as transaction:
            gone = await self._repository.delete_link(transaction, principal.team_id, found.id, port, digest)
        self._doors.links_changed()
        if not gone:
            raise PreviewTokenNotFound("No such signed link")

    # -- domains -------------------------------------------------------------------------------------------------------

    async def map_domain(self, principal: Principal, sandbox: str, domain: str, port: int) -> DomainMapping:
        """From now on the domain leads to this port, and is open to everybody. InvalidInput, LimitExceeded; DomainTaken
        while it leads to another team's sandbox."""
        found = await self._writable(principal, sandbox)
        check_port(port)
        name = domain.strip().lower().rstrip(".")
        if not DOMAIN.fullmatch(name) or self.reserved(name):
            raise InvalidInput("A domain has letters, digits and dashes, and is not the server's own", field="domain")
        if not self.knows_itself:
            hint = "The operator has to set MOONPOOL_PUBLIC_URL."
            raise InvalidInput(f"This server does not know its own name yet. {hint}", field="domain", hint=hint)
        return await self._put(DomainMapping(name, principal.team_id, found.id, port, self._clock.now()))

    async def map_own(self, principal: Principal, sandbox: str, port: int) -> DomainMapping:
        """The sandbox's own name below the server's domain leads to this port, and is open to everybody."""
        found = await self._writable(principal, sandbox)
        check_port(port)
        name = f"{found.id}.{self.own_domain}"
        return await self._put(DomainMapping(name, principal.team_id, found.id, port, self._clock.now()))

    async def _put(self, mapping: DomainMapping) -> DomainMapping:
        name, team_id, sandbox_id = mapping.domain, mapping.team_id, mapping.sandbox_id
        async with self._store.transaction() as transaction:
            taken = self._doors.mapping(name)
            if taken is not None and taken.team_id != team_id:
                raise DomainTaken(f"The domain {name} leads to another sandbox")
            known = await self._repository.mappings(transaction.connection, team_id, sandbox_id)
            if len(known) >= MAX_MAPPINGS and name not in {other.domain for other in known}:
                raise LimitExceeded(f"This sandbox has {MAX_MAPPINGS} domains", hint="Remove some of them.")
            await self._repository.put_mapping(transaction, mapping)
            transaction.after_commit(lambda: self._doors.mapped((mapping,)))
        return mapping

    async def unmap_domain(self, principal: Principal, domain: str) -> None:
        """MappingNotFound for one that is not the team's."""
        self._access.require(principal, Scope.SANDBOXES_WRITE)
        name = domain.strip().lower().rstrip(".")
        if not DOMAIN.fullmatch(name):
            raise MappingNotFound
        async with self._store.transaction() as transaction:
            gone = await self._repository.delete_mapping(transaction, principal.team_id, name)
            if gone:
                transaction.after_commit(lambda: self._doors.unmapped(name))
        if not gone:
            raise MappingNotFound

    async def mappings(self, principal: Principal, sandbox_id: str | None = None) -> list[DomainMapping]:
        """The team's, by domain; of one sandbox alone where it is named."""
        self._access.require(principal, Scope.SANDBOXES_READ)
        async with self._store.reading() as connection:
            found = await self._repository.mappings(connection, principal.team_id, sandbox_id)
        return [mapping for mapping in found if self._doors.mapping(mapping.domain) is not None]

    # -- keys of file links --------------------------------------------------------------------------------------------

    async def file_key(self, principal: Principal, sandbox: str, *, rotate: bool = False) -> str:
        """The key with which whoever may use the sandbox signs links to its files; a new one ends all links."""
        found = await self._writable(principal, sandbox)
        async with self._store.transaction() as transaction:
            salt = await self._repository.salt(transaction.connection, found.id)
            if salt is None or rotate:
                salt = secrets.token_hex(SALT_BYTES)
                now = self._clock.now()
                await self._repository.put_salt(transaction, principal.team_id, found.id, salt, now)
        return self._derived(salt)

    async def known_file_key(self, sandbox_id: str) -> str | None:
        """For checking a signature, which is all that its asker has; None where no key was ever given out."""
        async with self._store.reading() as connection:
            salt = await self._repository.salt(connection, sandbox_id)
        return None if salt is None else self._derived(salt)

    def _derived(self, salt: str) -> str:
        return hmac.new(self._key, PURPOSE + salt.encode(), hashlib.sha256).hexdigest()

    async def _writable(self, principal: Principal, sandbox: str) -> Sandbox:
        self._access.require(principal, Scope.SANDBOXES_WRITE)
        return await self._sandboxes.get(principal, sandbox)


def acting_for(sandbox: Sandbox) -> Principal:
    """Whoever a token, link or cookie of a sandbox lets in: acts on it for its team, and can do no more than this."""
    scopes = frozenset({Scope.SANDBOXES_READ, Scope.SANDBOXES_WRITE})
    return Principal(sandbox.team_id, "", None, scopes)


def check_port(port: int) -> None:
    if not 1 <= port <= HIGHEST_PORT:
        raise InvalidInput(f"A port is a number from 1 to {HIGHEST_PORT}", field="port")
