"""The way to a team's webhooks for a person with a browser: a link, which opens them once, and the visit it becomes."""

import hmac
import secrets
from datetime import timedelta

from moonpool.access.model import ALL_SCOPES, MANAGERS, Principal, Scope
from moonpool.access.people import Team, UserStatus
from moonpool.access.service import AccessService, digest_of
from moonpool.clock import Clock
from moonpool.deliveries.model import PortalVisit
from moonpool.deliveries.portal_repository import PortalRepository
from moonpool.errors import CsrfRefused, PortalClosed, Unauthorized
from moonpool.ids import new_uuid
from moonpool.store.database import Store, Transaction

LINK_LIFETIME = timedelta(minutes=10)
VISIT_LIFETIME = timedelta(hours=1)
MOST = 50  # links and visits of one team at one time; beyond that the oldest goes
SECRET_BYTES = 32
MAX_SECRET = 128  # characters that are looked at
PREFIX = "whp_"


class PortalService:
    """Secrets are random, shown once and stored as SHA-256. A visit lasts no longer than what it was asked for with: it
    ends with that key, or with its maker's place among the team's admins. ``key`` is the server's own secret."""

    def __init__(self, store: Store, access: AccessService, clock: Clock, key: bytes) -> None:
        self._store, self._access, self._clock = store, access, clock
        self._key = hmac.digest(key, b"moonpool webhook visits", "sha256")
        self._repository = PortalRepository()

    async def link(self, principal: Principal) -> str:
        """What opens the principal's team's webhooks, once, within ``LINK_LIFETIME``. For a team's admins."""
        self._access.require(principal, Scope.ADMIN)
        async with self._store.transaction() as transaction:
            return await self._begin(transaction, principal, entered=False)

    async def open(self, principal: Principal) -> str:
        """A visit of somebody who is signed in already. For a team's admins."""
        self._access.require(principal, Scope.ADMIN)
        async with self._store.transaction() as transaction:
            return await self._begin(transaction, principal, entered=True)

    async def leads_to(self, secret: str) -> Team:
        """Which team's webhooks a link opens; nothing is used up. PortalClosed."""
        visit = await self._found(secret, entered=False)
        return await self._access.team(await self._still(visit))

    async def enter(self, secret: str) -> str:
        """A visit in exchange for a link; PortalClosed the second time."""
        visit = await self._found(secret, entered=False)
        principal = await self._still(visit)
        async with self._store.transaction() as transaction:
            if not await self._repository.remove(transaction, visit):
                raise PortalClosed
            return await self._begin(transaction, principal, entered=True)

    async def visitor(self, secret: str) -> Principal:
        """Who a visit is of, for the webhooks alone: none of the team's sandboxes is there. PortalClosed."""
        return await self._still(await self._found(secret, entered=True))

    async def leave(self, secret: str) -> None:
        """Gone is gone."""
        visit = await self._found(secret, entered=True)
        async with self._store.transaction() as transaction:
            await self._repository.remove(transaction, visit)

    def csrf(self, secret: str) -> str:
        """What the pages of a visit send with each change."""
        return hmac.digest(self._key, secret.encode("utf-8", "surrogatepass"), "sha256").hex()

    def check_csrf(self, secret: str, sent: str) -> None:
        """CsrfRefused unless the page that sent it is this visit's."""
        if not hmac.compare_digest(sent.encode("utf-8", "surrogatepass"), self.csrf(secret).encode()):
            raise CsrfRefused("This page is of an earlier visit", hint="Open it anew and try again.")

    # -- inside --------------------------------------------------------------------------------------------------------

    async def _begin(self, transaction: Transaction, principal: Principal, *, entered: bool) -> str:
        now, secret = self._clock.now(), PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        visit = PortalVisit(
            id=new_uuid(),
            team_id=principal.team_id,
            user_id=principal.user_id,
            key_id=principal.key_id,
            entered=entered,
            created_at=now,
            expires_at=now + (VISIT_LIFETIME if entered else LINK_LIFETIME),
        )
        await self._repository.prune(transaction, principal.team_id, now, MOST - 1)
        await self._repository.insert(transaction, visit, digest_of(secret))
        return secret

    async def _found(self, secret: str, *, entered: bool) -> PortalVisit:
        if not secret or len(secret) > MAX_SECRET:
            raise PortalClosed
        async with self._store.reading() as connection:
            visit = await self._repository.by_digest(connection, digest_of(secret))
        if visit is None or visit.entered is not entered or visit.expires_at <= self._clock.now():
            raise PortalClosed
        return visit

    async def _still(self, visit: PortalVisit) -> Principal:
        """PortalClosed where whoever asked for the link may not do so any more."""
        who = Principal(visit.team_id, visit.user_id, visit.key_id, ALL_SCOPES, sandboxes=frozenset())
        if visit.key_id is None:
            found = [one for one in await self._access.members(who) if one.user.id == visit.user_id]
            may = bool(found) and found[0].role in MANAGERS and found[0].user.status is UserStatus.ACTIVE
        else:
            may = await self._key_may(visit.team_id, visit.key_id)
        if not may:
            raise PortalClosed
        return who

    async def _key_may(self, team_id: str, key_id: str) -> bool:
        try:
            return (await self._access.still(team_id, key_id)).allows(Scope.ADMIN)
        except Unauthorized:  # A key that is past its time, too.
            return False
