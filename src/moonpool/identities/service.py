"""Use cases of identities: made, given tokens and permissions, let in. No HTTP, no SQL."""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace

from moonpool.access.changes import KeyChanges
from moonpool.access.model import Principal, Scope
from moonpool.access.service import AccessService
from moonpool.clock import Clock
from moonpool.errors import (
    IdentityNotFound,
    IdentityTokenNotFound,
    InvalidInput,
    LimitExceeded,
    PermissionExists,
    PermissionNotFound,
    Unauthorized,
)
from moonpool.identities.model import Guest, Identity, IdentityToken, NewIdentityToken, Permission, Users
from moonpool.identities.repository import IdentityRepository
from moonpool.ids import new_uuid
from moonpool.sandboxes.service import SandboxService
from moonpool.store.database import Store

SECRET_BYTES = 32  # 43 url-safe characters
TOKEN_PREFIX = "mpi_"  # noqa: S105
MAX_TOKEN = 256  # characters; longer ones are none of ours
MAX_IDENTITIES = 10_000  # of a team
MAX_TOKENS = 100  # of an identity
MAX_PERMISSIONS = 1000  # of an identity
MAX_USERS = 100  # of a permission
MAX_USER = 32  # characters, as Linux has it
PIECE = 100  # identities that are deleted at a time
LOOK_AGAIN = 30.0  # seconds after which what another process has changed is seen
GUEST_SCOPES = frozenset({Scope.SANDBOXES_READ, Scope.SANDBOXES_WRITE})


class IdentityService:
    """A team's identities are managed by its keys (scopes of keys), and are nothing to another team (IdentityNotFound).

    A token lets an identity in to the sandboxes that it was given, and to nothing else; it is random, shown once and
    stored as SHA-256. Whoever it has let in stays for as long as ``still`` says so; ``on_change`` is told of each
    identity that may do less than before.
    """

    def __init__(self, store: Store, access: AccessService, sandboxes: SandboxService, clock: Clock) -> None:
        self._store, self._access, self._sandboxes, self._clock = store, access, sandboxes, clock
        self._repository = IdentityRepository()
        self._changes = KeyChanges()
        self.on_change: Callable[[str], None] = lambda identity_id: None

    # -- who comes -----------------------------------------------------------------------------------------------------

    async def authenticate(self, token: str) -> Guest:
        """Unauthorized for one that is unknown or was revoked; RateLimited as for its team's keys."""
        if not token.startswith(TOKEN_PREFIX) or len(token) > MAX_TOKEN:
            raise Unauthorized
        async with self._store.reading() as connection:
            found = await self._repository.token_by_digest(connection, digest_of(token))
            if found is None:
                raise Unauthorized
            granted = await self._repository.permissions(connection, found.team_id, found.identity_id)
        guest = guest_of(found, granted)
        self._access.throttles.admit(guest.principal)
        return guest

    async def still(self, guest: Guest) -> Guest:
        """What it may do now. Unauthorized where its token was revoked since."""
        team_id, identity_id = guest.principal.team_id, guest.identity_id
        async with self._store.reading() as connection:
            tokens = await self._repository.tokens(connection, team_id, identity_id)
            granted = await self._repository.permissions(connection, team_id, identity_id)
        for token in tokens:
            if token.id == guest.token_id:
                return guest_of(token, granted)
        raise Unauthorized

    async def changed(self, guest: Guest) -> None:
        """Until that may be another answer."""
        await self._changes.wait(guest.identity_id, LOOK_AGAIN)

    # -- identities ----------------------------------------------------------------------------------------------------

    async def create(self, principal: Principal) -> Identity:
        self._access.require(principal, Scope.KEYS_WRITE)
        identity = Identity(new_uuid(), principal.team_id, self._clock.now())
        async with self._store.transaction() as transaction:
            if await self._repository.count(transaction.connection, principal.team_id) >= MAX_IDENTITIES:
                raise LimitExceeded(f"A team has at most {MAX_IDENTITIES} identities", hint="Delete some of them.")
            await self._repository.insert(transaction, identity)
        return identity

    async def get(self, principal: Principal, identity: str) -> Identity:
        self._access.require(principal, Scope.KEYS_READ)
        async with self._store.reading() as connection:
            found = await self._repository.find(connection, principal.team_id, identity)
        if found is None:
            raise IdentityNotFound(f"There is no identity {identity[:64]}")
        return found

    async def list(self, principal: Principal, offset: int, limit: int) -> tuple[list[Identity], int]:
        """A part, the newest first, and how many there are."""
        self._access.require(principal, Scope.KEYS_READ)
        async with self._store.reading() as connection:
            page = await self._repository.page(connection, principal.team_id, offset, limit)
            return page, await self._repository.count(connection, principal.team_id)

    async def delete(self, principal: Principal, identity: str) -> None:
        """With its tokens, at once."""
        found = await self._managed(principal, identity)
        async with self._store.transaction() as transaction:
            await self._repository.delete(transaction, found.team_id, found.id)
        self._told(found.id)

    async def delete_all(self, principal: Principal) -> None:
        """Of a team that is no more."""
        while found := (await self.list(principal, 0, PIECE))[0]:
            for identity in found:
                await self.delete(principal, identity.id)

    # -- tokens --------------------------------------------------------------------------------------------------------

    async def create_token(self, principal: Principal, identity: str) -> NewIdentityToken:
        found = await self._managed(principal, identity)
        secret = TOKEN_PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        token = IdentityToken(new_uuid(), found.id, found.team_id, self._clock.now())
        async with self._store.transaction() as transaction:
            known = await self._repository.tokens(transaction.connection, found.team_id, found.id)
            if len(known) >= MAX_TOKENS:
                raise LimitExceeded(f"An identity has at most {MAX_TOKENS} tokens", hint="Revoke some of them.")
            await self._repository.insert_token(transaction, token, digest_of(secret))
        return NewIdentityToken(token, secret)

    async def tokens(self, principal: Principal, identity: str) -> Sequence[IdentityToken]:
        """Without their secrets."""
        found = await self.get(principal, identity)
        async with self._store.reading() as connection:
            return await self._repository.tokens(connection, found.team_id, found.id)

    async def revoke_token(self, principal: Principal, identity: str, token: str) -> None:
        """At once, and whoever it has let in. IdentityTokenNotFound."""
        found = await self._managed(principal, identity)
        async with self._store.transaction() as transaction:
            gone = await self._repository.delete_token(transaction, found.team_id, found.id, token)
        if not gone:
            raise IdentityTokenNotFound
        self._told(found.id)

    # -- permissions ---------------------------------------------------------------------------------------------------

    async def grant(self, principal: Principal, identity: str, sandbox: str, users: Users) -> Permission:
        """No more than the key itself may do. PermissionExists, SandboxNotFound, InvalidInput."""
        found = await self._managed(principal, identity)
        self._access.require(principal, Scope.SANDBOXES_WRITE)
        check_users(users)
        target = await self._sandboxes.get(principal, sandbox)
        permission = Permission(
            new_uuid(), found.id, found.team_id, target.id, users, principal.user_id, self._clock.now()
        )
        async with self._store.transaction() as transaction:
            known = await self._repository.permissions(transaction.connection, found.team_id, found.id)
            if target.id in {other.sandbox_id for other in known}:
                raise PermissionExists
            if len(known) >= MAX_PERMISSIONS:
                message = f"An identity has at most {MAX_PERMISSIONS} permissions"
                raise LimitExceeded(message, hint="Revoke some of them.")
            await self._repository.insert_permission(transaction, permission)
        return permission

    async def permission(self, principal: Principal, identity: str, sandbox: str) -> Permission:
        """PermissionNotFound."""
        found = await self.get(principal, identity)
        async with self._store.reading() as connection:
            permission = await self._repository.permission(connection, found.team_id, found.id, sandbox)
        if permission is None:
            raise PermissionNotFound
        return permission

    async def permissions(self, principal: Principal, identity: str) -> Sequence[Permission]:
        found = await self.get(principal, identity)
        async with self._store.reading() as connection:
            return await self._repository.permissions(connection, found.team_id, found.id)

    async def set_users(self, principal: Principal, identity: str, sandbox: str, users: Users) -> Permission:
        """PermissionNotFound, InvalidInput."""
        await self._managed(principal, identity)
        self._access.require(principal, Scope.SANDBOXES_WRITE)
        check_users(users)
        changed = replace(await self.permission(principal, identity, sandbox), users=users)
        async with self._store.transaction() as transaction:
            await self._repository.set_users(transaction, changed)
        self._told(changed.identity_id)
        return changed

    async def revoke(self, principal: Principal, identity: str, sandbox: str) -> None:
        """At once, and whoever is in that sandbox because of it. PermissionNotFound."""
        found = await self._managed(principal, identity)
        async with self._store.transaction() as transaction:
            gone = await self._repository.delete_permission(transaction, found.team_id, found.id, sandbox)
        if not gone:
            raise PermissionNotFound
        self._told(found.id)

    def _told(self, identity_id: str) -> None:
        self._changes.tell(identity_id)
        self.on_change(identity_id)

    async def _managed(self, principal: Principal, identity: str) -> Identity:
        self._access.require(principal, Scope.KEYS_WRITE)
        return await self.get(principal, identity)


def check_users(users: Users) -> None:
    if users is not None and (len(users) > MAX_USERS or any(not 0 < len(user) <= MAX_USER for user in users)):
        message = f"At most {MAX_USERS} users, each of 1 to {MAX_USER} characters"
        raise InvalidInput(message, field="allowedUsers", hint="Leave it away for every user.")


def guest_of(token: IdentityToken, granted: Sequence[Permission]) -> Guest:
    permissions = {permission.sandbox_id: permission.users for permission in granted}
    principal = Principal(token.team_id, token.identity_id, None, GUEST_SCOPES, sandboxes=frozenset(permissions))
    return Guest(token.identity_id, token.id, principal, permissions)


def digest_of(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
