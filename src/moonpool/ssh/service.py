"""Use cases of SSH access: tokens that let in, for one sandbox, for a while."""

import hashlib
import re
from collections.abc import Callable
from datetime import timedelta

from moonpool.access.model import Principal, Scope
from moonpool.access.service import AccessService
from moonpool.clock import Clock
from moonpool.errors import InvalidInput, NotSupported, RateLimited, SshAccessNotFound, Unauthorized
from moonpool.identities.service import IdentityService
from moonpool.ids import new_uuid, random_word
from moonpool.sandboxes.service import SandboxService
from moonpool.ssh.model import NewSshAccess, SshAccess, Visitor
from moonpool.ssh.repository import SshRepository
from moonpool.store.database import Store

TOKEN_LENGTH = 32  # characters [a-z0-9]: 165 bits
LONGEST = 7 * 24 * 60  # minutes
IDENTITY = re.compile(
    r"(?P<sandbox>[a-z0-9]{1,36})(?:\+(?P<user>[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}))?[:,](?P<token>.{1,256})"
)


class SshService:
    """Tokens are random, shown once and stored as SHA-256. ``on_end`` is told of each token that is over, and of each
    identity that may do less than before, so that their connections end with it. ``address`` is host and port for
    clients; None while nobody listens."""

    def __init__(
        self,
        store: Store,
        access: AccessService,
        sandboxes: SandboxService,
        identities: IdentityService,
        clock: Clock,
    ) -> None:
        self._store = store
        self._access = access
        self._sandboxes = sandboxes
        self._identities = identities
        identities.on_change = lambda identity_id: self.on_end(identity_id)
        self._clock = clock
        self._repository = SshRepository()
        self.on_end: Callable[[str], None] = lambda token_id: None
        self.port: int | None = None

    async def create(self, principal: Principal, sandbox: str, minutes: float) -> NewSshAccess:
        """A token in the place of those that the sandbox had. InvalidInput; NotSupported where SSH is off."""
        self._access.require(principal, Scope.SANDBOXES_WRITE)
        if self.port is None:
            hint = "Set MOONPOOL_SSH_LISTEN, as 0.0.0.0:2222, and start the server again."
            raise NotSupported("SSH is off on this server", hint=hint)
        if not 0 < minutes <= LONGEST:
            raise InvalidInput(f"SSH access lasts for up to {LONGEST} minutes", field="expiresInMinutes")
        found = await self._sandboxes.get(principal, sandbox)
        now, token = self._clock.now(), random_word(TOKEN_LENGTH)
        access = SshAccess(new_uuid(), principal.team_id, found.id, now, now + timedelta(minutes=minutes))
        async with self._store.transaction() as transaction:
            await self._repository.delete_expired(transaction, now)
            before = await self._repository.of_sandbox(transaction.connection, principal.team_id, found.id)
            for old in before:
                await self._repository.delete(transaction, principal.team_id, old.id)
            await self._repository.insert(transaction, access, digest_of(token))
        for old in before:
            self.on_end(old.id)
        return NewSshAccess(access, token)

    async def revoke(self, principal: Principal, sandbox: str, token: str | None) -> None:
        """This token of the sandbox's, or all; connections that it let in end at once. SshAccessNotFound."""
        self._access.require(principal, Scope.SANDBOXES_WRITE)
        found = await self._sandboxes.get(principal, sandbox)
        async with self._store.transaction() as transaction:
            connection = transaction.connection
            gone = list(await self._repository.of_sandbox(connection, principal.team_id, found.id))
            if token is not None:
                named = await self._repository.by_digest(connection, digest_of(token))
                gone = [access for access in gone if named is not None and access.id == named.id]
                if not gone:
                    raise SshAccessNotFound
            for access in gone:
                await self._repository.delete(transaction, principal.team_id, access.id)
        for access in gone:
            self.on_end(access.id)

    async def let_in(self, name: str) -> Visitor | None:
        """By an SSH token, or as ``SANDBOX:TOKEN`` or ``SANDBOX+USER:TOKEN`` by that of an identity (``,`` for ``:``
        as well, which scp needs). None: by nothing."""
        if found := IDENTITY.fullmatch(name):
            return await self._guest(found["sandbox"], found["user"], found["token"])
        access = await self.validate(name)
        return None if access is None else Visitor(access.id, access.sandbox_id)

    async def _guest(self, sandbox_id: str, user: str | None, token: str) -> Visitor | None:
        try:
            guest = await self._identities.authenticate(token)
        except (Unauthorized, RateLimited):
            return None
        sandbox = self._sandboxes.peek(sandbox_id)
        if sandbox is None or sandbox.doomed or not guest.may_act_as(sandbox_id, user or sandbox.user):
            return None
        return Visitor(guest.identity_id, sandbox_id, user)

    async def validate(self, token: str, team_id: str | None = None) -> SshAccess | None:
        """What the token lets in to now, as far as it is the team's; None for nothing."""
        if not token or len(token) > 2 * TOKEN_LENGTH:
            return None
        async with self._store.reading() as connection:
            found = await self._repository.by_digest(connection, digest_of(token))
        if found is None or found.expires_at <= self._clock.now():
            return None
        sandbox = self._sandboxes.peek(found.sandbox_id)
        if sandbox is None or sandbox.doomed or (team_id is not None and found.team_id != team_id):
            return None
        return found


def digest_of(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
