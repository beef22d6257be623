"""Use cases of access: who a token belongs to, what they may do, and the keys themselves."""

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Set
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from itertools import count
from typing import Any

from moonpool.access.cache import TRUSTED_FOR, KeyCache
from moonpool.access.changes import KeyChanges
from moonpool.access.limits import LimitBook
from moonpool.access.model import (
    ALL_SCOPES,
    ApiKey,
    Grant,
    KeyChange,
    KeyOrigin,
    NewApiKey,
    Principal,
    Scope,
    TeamLimits,
    TeamRole,
)
from moonpool.access.people import Member, Team, User
from moonpool.access.repository import AccessRepository, StoredGrant
from moonpool.access.team_repository import TeamRepository
from moonpool.access.throttling import Throttles
from moonpool.access.usage import KeyUsage
from moonpool.clock import Clock, SystemClock
from moonpool.errors import Forbidden, InvalidInput, KeyExpired, KeyNotFound, NotFound, Unauthorized
from moonpool.ids import new_uuid
from moonpool.store.database import Store, Transaction
from moonpool.store.moments import in_utc

KEY_PREFIX = "mp_"
SECRET_BYTES = 32  # 43 url-safe characters
MIN_BOOTSTRAP_LENGTH = 8  # characters
MAX_TOKEN_LENGTH = 1024  # characters; longer ones are no keys and are not hashed
MAX_NAME_LENGTH = 255  # characters
BOOTSTRAP_NAME = "bootstrap"
TEAM_NAME = "default"
NO_LIMITS = TeamLimits()
ADMIN_NAME = "admin"


class AccessService:
    """Keys are random, shown once and stored as SHA-256: with 256 random bits a slow hash would add nothing.

    Verified keys are kept in memory for a moment (see ``cache``), so the usual request needs no SQL.
    """

    def __init__(self, store: Store, clock: Clock, limits: LimitBook | None = None) -> None:
        self.limits = limits or LimitBook(store, clock, TeamLimits())
        self.throttles = Throttles(self.limits, clock)
        self._store = store
        self._clock = clock
        self._repository = AccessRepository()
        self._teams = TeamRepository()
        self._cache = KeyCache(clock)
        self._changes = KeyChanges()
        self._looking: dict[tuple[str, int], asyncio.Task[StoredGrant | None]] = {}
        self._usage = KeyUsage(store, self._repository, clock)

    async def start(self, api_key: str | None) -> None:
        """Make the first team and its admin where they are missing; let ``api_key`` in, and no longer the value that it
        replaces. InvalidInput when it is too short."""
        digest = None
        if api_key is not None:
            if len(api_key) < MIN_BOOTSTRAP_LENGTH:
                message = f"MOONPOOL_API_KEY needs at least {MIN_BOOTSTRAP_LENGTH} characters"
                raise InvalidInput(message, field="MOONPOOL_API_KEY")
            digest = digest_of(api_key)
        async with self._store.transaction() as transaction:
            user = await self._ensure_admin(transaction)
            if api_key is not None and digest is not None:
                await self._repository.revoke_bootstrap(transaction, keep=digest)
                if await self._repository.key_by_digest(transaction.connection, digest) is None:
                    key = self._new_key(user.team_id, user.id, BOOTSTRAP_NAME, api_key, KeyOrigin.BOOTSTRAP)
                    await self._repository.insert_key(transaction, key, digest)
        self._cache.clear()
        await self.limits.load()

    async def close(self) -> None:
        """Write what is still only in memory: when keys were last used."""
        await self._usage.flush()

    # -- who asks ------------------------------------------------------------------------------------------------------

    async def authenticate(self, token: str) -> Principal:
        """Who a key belongs to; Unauthorized for an unknown or revoked one, KeyExpired for one past its time."""
        if not token or len(token) > MAX_TOKEN_LENGTH:
            raise Unauthorized
        digest = digest_of(token)
        grant = self._cache.get(digest)
        if grant is None:
            grant = await self._verify(digest)
        key = grant.key
        if key.expires_at is not None and key.expires_at <= self._clock.now():
            self._cache.forget(key.id)
            raise KeyExpired
        self._usage.note(key.id)
        return grant.principal

    async def still(self, team_id: str, key_id: str) -> Principal:
        """What a key may do now, for whoever it let in earlier: Unauthorized where it was revoked since, KeyExpired. A
        change by another process on the same database is seen within ``cache.TRUSTED_FOR`` seconds."""
        grant = self._cache.by_id(key_id)
        if grant is None:
            stored = await self._once(f"id {team_id} {key_id}", lambda: self._stored_by_id(team_id, key_id))
            grant = None if stored is None else stored.grant
        if grant is None or grant.key.team_id != team_id:
            raise Unauthorized
        if grant.key.expires_at is not None and grant.key.expires_at <= self._clock.now():
            raise KeyExpired
        return grant.principal

    async def changed(self, key_id: str) -> None:
        """Until the key may have changed since ``still``: at once where this process changes it, else after as long as
        another's changes may take to be seen."""
        await self._changes.wait(key_id, TRUSTED_FOR)

    def require(self, principal: Principal, scope: Scope) -> None:
        """Forbidden unless the principal's key has this scope."""
        if not principal.allows(scope):
            raise Forbidden(f"This key lacks the scope '{scope}'")

    def require_platform_admin(self, principal: Principal) -> None:
        """Forbidden for whoever is not one: what is asked for is of all teams."""
        if not principal.platform_admin:
            raise Forbidden("Only administrators of this server may do that", hint="Ask one of them.")

    def people_changed(self) -> None:
        """What members may do, or who is one, has changed: keys are looked up anew from now on."""
        self._cache.clear()
        self._changes.tell_all()

    async def local_principal(self) -> Principal:
        """The admin of the first team, for commands run on the server itself."""
        async with self._store.transaction() as transaction:
            user = await self._ensure_admin(transaction)
        return Principal(user.team_id, user.id, None, ALL_SCOPES, role=TeamRole.OWNER, platform_admin=True)

    async def team(self, principal: Principal) -> Team:
        """The team whose things the principal sees."""
        async with self._store.reading() as connection:
            team = await self._teams.team(connection, principal.team_id)
        if team is None:
            raise NotFound("Team not found")
        return team

    async def team_named(self, name: str) -> Team:
        """For the operator alone: any team, by its slug; NotFound."""
        await self.local_principal()  # There is a first team, even before the first start.
        async with self._store.reading() as connection:
            team = await self._teams.by_slug(connection, name)
        if team is None:
            raise NotFound(f"There is no team named '{name}'")
        return team

    async def members(self, principal: Principal) -> list[Member]:
        """Of the principal's team, the first one first."""
        async with self._store.reading() as connection:
            return await self._teams.members(connection, principal.team_id)

    async def user(self, principal: Principal) -> User:
        """Who the principal's key belongs to."""
        found = [member.user for member in await self.members(principal) if member.user.id == principal.user_id]
        if not found:
            raise NotFound("User not found")
        return found[0]

    # -- keys ----------------------------------------------------------------------------------------------------------

    async def create_key(
        self,
        principal: Principal,
        name: str,
        scopes: Iterable[Scope] = ALL_SCOPES,
        expires_at: datetime | None = None,
        *,
        numbered: bool = False,
    ) -> NewApiKey:
        """A new key of the principal's team; its secret is in the answer and nowhere else. NameTaken, unless it is to
        be ``numbered`` then; InvalidInput; Forbidden when it would have a scope that the principal lacks."""
        self.require(principal, Scope.KEYS_WRITE)
        wanted = frozenset(scopes)
        for scope in wanted:
            self.require(principal, scope)
        if expires_at is not None:
            expires_at = in_utc(expires_at, "expires_at")
            if expires_at <= self._clock.now():
                raise InvalidInput("The expiry is in the past", field="expires_at")
        secret = KEY_PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        key = self._new_key(
            principal.team_id, principal.user_id, valid_name(name), secret, KeyOrigin.CREATED, wanted, expires_at
        )
        async with self._store.transaction() as transaction:
            if numbered:
                known = await self._repository.keys(transaction.connection, principal.team_id)
                key = replace(key, name=free_name(key.name, {one.name for one in known}))
            await self._repository.insert_key(transaction, key, digest_of(secret))
        return NewApiKey(key, secret)

    async def list_keys(self, principal: Principal) -> list[ApiKey]:
        """All keys of the team, the newest first; without their secrets."""
        self.require(principal, Scope.KEYS_READ)
        async with self._store.reading() as connection:
            keys = await self._repository.keys(connection, principal.team_id)
        return [self._usage.fresh(key) for key in keys]

    async def get_key(self, principal: Principal, name_or_id: str) -> ApiKey:
        """One key of the team; KeyNotFound. The key that asks may always see itself."""
        if principal.key_id != name_or_id:
            self.require(principal, Scope.KEYS_READ)
        async with self._store.reading() as connection:
            key = await self._repository.key(connection, principal.team_id, name_or_id)
        if key is None:
            raise KeyNotFound
        return self._usage.fresh(key)

    async def update_key(self, principal: Principal, name_or_id: str, change: KeyChange) -> ApiKey:
        """Change what a key is called, may do, and how long. KeyNotFound, NameTaken, InvalidInput; Forbidden when it
        would get a scope that the principal lacks. An expiry in the past ends it at once. Other processes on the same
        database follow within ``cache.TRUSTED_FOR`` seconds."""
        self.require(principal, Scope.KEYS_WRITE)
        for scope in change.scopes or ():
            self.require(principal, scope)
        expires_at = None if change.expires_at is None else in_utc(change.expires_at, "expires_at")
        async with self._store.transaction() as transaction:
            found = await self._repository.key(transaction.connection, principal.team_id, name_or_id)
            if found is None:
                raise KeyNotFound
            require_own(principal, found)
            changed = replace(
                found,
                name=found.name if change.name is None else valid_name(change.name),
                scopes=found.scopes if change.scopes is None else change.scopes,
                expires_at=expires_at if change.set_expiry else found.expires_at,
            )
            await self._repository.update_key(transaction, changed)
        self._cache.forget(found.id)
        self._changes.tell(found.id)
        return self._usage.fresh(changed)

    async def revoke_key(self, principal: Principal, name_or_id: str) -> ApiKey:
        """End a key at once; its name is free again. KeyNotFound. Other processes on the same database follow within
        ``cache.TRUSTED_FOR`` seconds."""
        self.require(principal, Scope.KEYS_WRITE)
        async with self._store.transaction() as transaction:
            key = await self._repository.delete_key(transaction, principal.team_id, name_or_id)
            if key is None:
                raise KeyNotFound
            require_own(principal, key)
        self._cache.forget(key.id)
        self._changes.tell(key.id)
        return key

    # -- inside --------------------------------------------------------------------------------------------------------

    async def _ensure_admin(self, transaction: Transaction) -> User:
        now = self._clock.now()
        return await self._repository.ensure_admin(transaction, TEAM_NAME, ADMIN_NAME, now, platform_admin=True)

    async def _verify(self, digest: str) -> Grant:
        found = await self._once(f"digest {digest}", lambda: self._stored_by_digest(digest))
        if found is None or not hmac.compare_digest(found.digest, digest):
            raise Unauthorized
        return found.grant

    async def _stored_by_id(self, team_id: str, key_id: str) -> StoredGrant | None:
        async with self._store.reading() as connection:
            return await self._repository.grant_by_id(connection, team_id, key_id)

    async def _stored_by_digest(self, digest: str) -> StoredGrant | None:
        async with self._store.reading() as connection:
            return await self._repository.grant_by_digest(connection, digest)

    async def _once(self, what: str, look: Callable[[], Coroutine[Any, Any, StoredGrant | None]]) -> StoredGrant | None:
        """Looked up once for all who ask at a time, as a thousand streams of one key do; what was asked for before a
        change is not for who asks after it."""
        since = self._cache.changes
        asked = what, since
        task = self._looking.get(asked)
        if task is None:
            task = self._looking[asked] = asyncio.create_task(self._look(look, since), name="look up a key")
            task.add_done_callback(lambda done: self._looked(asked, done))
        return await asyncio.shield(task)

    async def _look(
        self, look: Callable[[], Coroutine[Any, Any, StoredGrant | None]], since: int
    ) -> StoredGrant | None:
        found = await look()
        if found is not None:
            self._cache.put(found.digest, found.grant, since)
        return found

    def _looked(self, asked: tuple[str, int], done: "asyncio.Task[StoredGrant | None]") -> None:
        del self._looking[asked]
        if not done.cancelled():
            done.exception()  # Whoever waited has it; nobody may have.

    def _new_key(
        self,
        team_id: str,
        user_id: str,
        name: str,
        secret: str,
        origin: KeyOrigin,
        scopes: frozenset[Scope] = ALL_SCOPES,
        expires_at: datetime | None = None,
    ) -> ApiKey:
        # What is shown of a key of the user's own making must not give away much of a short one.
        prefix, suffix = (secret[:6], secret[-3:]) if origin is KeyOrigin.CREATED else (secret[:2], "")
        return ApiKey(
            id=new_uuid(),
            team_id=team_id,
            user_id=user_id,
            name=name,
            prefix=prefix,
            suffix=suffix,
            scopes=scopes,
            origin=origin,
            created_at=self._clock.now(),
            expires_at=expires_at,
            last_used_at=None,
        )


def require_own(principal: Principal, key: ApiKey) -> None:
    """Plain members change their own keys alone: Forbidden."""
    if principal.role is TeamRole.MEMBER and key.user_id != principal.user_id:
        raise Forbidden("This key is another member's", hint="Ask an owner or admin of the team.")


def digest_of(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def valid_name(name: str) -> str:
    name = name.strip()
    if not name or len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise InvalidInput(f"A key's name has 1 to {MAX_NAME_LENGTH} printable characters", field="name")
    return name


def free_name(name: str, taken: Set[str]) -> str:
    """The name itself, or with the first number that makes it free."""
    if name not in taken:
        return name
    numbers = (f" ({number})" for number in count(2))
    return next(one for number in numbers if (one := name[: MAX_NAME_LENGTH - len(number)] + number) not in taken)


@asynccontextmanager
async def open_access(database_url: str, limits: TeamLimits = NO_LIMITS) -> AsyncIterator[AccessService]:
    """Access without a running server, for commands run on the machine itself: migrates the database when needed.
    ``limits`` are those of a team for which nothing else was set."""
    store = await Store.open(database_url)
    try:
        clock = SystemClock()
        access = AccessService(store, clock, LimitBook(store, clock, limits))
        await access.limits.load()
        yield access
        await access.close()
    finally:
        await store.close()
