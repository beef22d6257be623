"""Use cases of webhooks: a team's endpoints, and what was sent to them."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from moonpool.access.model import Principal, Scope
from moonpool.access.service import AccessService
from moonpool.clock import Clock
from moonpool.deliveries.book import ReceiverBook
from moonpool.deliveries.dispatcher import Dispatcher, new_delivery
from moonpool.deliveries.model import (
    Attempt,
    Delivery,
    DeliveryState,
    EndpointChange,
    Kind,
    NewEndpoint,
    Opened,
    Provider,
    Receiver,
)
from moonpool.deliveries.providers import test_body
from moonpool.deliveries.repository import DeliveryRepository, ReceiverRepository
from moonpool.deliveries.signing import check_secret, new_secret
from moonpool.deliveries.webhook_config import SECRET, URL, rotated
from moonpool.errors import DeliveryNotFound, InvalidInput, InvalidState, NotFound
from moonpool.ids import new_uuid
from moonpool.outbound import Outbound
from moonpool.store.database import Store
from moonpool.store.moments import in_utc
from moonpool.store.paging import Page, decode_cursor, encode_cursor
from moonpool.store.text import storable

MAX_DESCRIPTION = 500  # characters
MAX_PAGE = 200
TEST = "test"


class WebhookService:
    """For a team's admins: an address gets to know everything that its events tell."""

    def __init__(
        self,
        store: Store,
        access: AccessService,
        book: ReceiverBook,
        dispatcher: Dispatcher,
        outbound: Outbound,
        kinds: Collection[str],
        clock: Clock,
    ) -> None:
        self._store, self._access, self._book, self._dispatcher = store, access, book, dispatcher
        self._outbound, self._kinds, self._clock = outbound, kinds, clock
        self._receivers = ReceiverRepository()
        self._deliveries = DeliveryRepository()

    # -- the team ------------------------------------------------------------------------------------------------------

    async def initialised(self, principal: Principal) -> tuple[datetime, datetime]:
        """Since when the team uses webhooks, and when it was said last; NotFound where it does not."""
        self._access.require(principal, Scope.ADMIN)
        async with self._store.reading() as connection:
            known = (await self._receivers.teams(connection)).get(principal.team_id)
        if known is None:
            raise NotFound("Webhooks are not initialized for this organization")
        return known

    async def initialise(self, principal: Principal) -> tuple[datetime, datetime]:
        """Again: nothing but the moment changes."""
        self._access.require(principal, Scope.ADMIN)
        async with self._store.transaction() as transaction:
            await self._receivers.note_team(transaction, principal.team_id, self._clock.now())
        return await self.initialised(principal)

    async def refresh(self, principal: Principal) -> None:
        """Read the endpoints again, as another process may have written them, and send what is due."""
        await self.initialised(principal)
        await self._book.load()
        self._dispatcher.wake()

    # -- endpoints -----------------------------------------------------------------------------------------------------

    def list(self, principal: Principal) -> list[Opened]:
        self._access.require(principal, Scope.ADMIN)
        return [self._opened(one) for one in self._book.of(principal.team_id, Kind.ENDPOINT)]

    def get(self, principal: Principal, endpoint: str) -> Opened:
        return self._opened(self._find(principal, endpoint))

    async def create(self, principal: Principal, new: NewEndpoint) -> Opened:
        """With its secret, which is told this once. InvalidInput, LimitExceeded."""
        self._access.require(principal, Scope.ADMIN)
        url = await self._outbound.check(new.url, "url", owner=principal.team_id)
        secret = new_secret() if new.secret is None else check_secret(new.secret)
        now, endpoint_id = self._clock.now(), new_uuid()
        receiver = Receiver(
            id=endpoint_id,
            team_id=principal.team_id,
            kind=Kind.ENDPOINT,
            provider=Provider.WEBHOOK,
            name=endpoint_id,
            description=described(new.description),
            events=self._checked(new.events),
            config=self._book.seal({URL: url, SECRET: secret}),
            enabled=True,
            disabled_reason=None,
            failing_since=None,
            created_at=now,
            updated_at=now,
        )
        await self.initialise(principal)
        await self._book.add(receiver)
        return Opened(receiver, url, secret)

    async def update(self, principal: Principal, endpoint: str, change: EndpointChange) -> Opened:
        """InvalidInput. One that is enabled again begins with what happens from now on."""
        old = self._find(principal, endpoint)
        config, now = self._book.open(old), self._clock.now()
        if change.url is not None:
            config[URL] = await self._outbound.check(change.url, "url", owner=principal.team_id)
        new = replace(
            old,
            description=old.description if change.description is None else described(change.description),
            events=old.events if change.events is None else self._checked(change.events),
            config=self._book.seal(config),
            updated_at=now,
        )
        if change.enabled is True:
            new = replace(new, enabled=True, disabled_reason=None, failing_since=None)
        if change.enabled is False and old.enabled:
            async with self._store.transaction() as transaction:
                await self._book.disable(transaction, new, "Disabled by an admin", now)
        else:
            await self._book.write(new)
        return self.get(principal, endpoint)

    async def delete(self, principal: Principal, endpoint: str) -> None:
        """With its log, and what was on its way."""
        await self._book.remove(self._find(principal, endpoint))

    async def rotate(self, principal: Principal, endpoint: str, secret: str | None = None) -> Opened:
        """Another secret, told this once; the one before signs too for ``OVERLAP``."""
        old, now = self._find(principal, endpoint), self._clock.now()
        secret = new_secret() if secret is None else check_secret(secret)
        config = rotated(self._book.open(old), secret, now)
        new = await self._book.write(replace(old, config=self._book.seal(config), updated_at=now))
        return Opened(new, config[URL], secret)

    # -- deliveries ----------------------------------------------------------------------------------------------------

    async def deliveries(
        self,
        principal: Principal,
        endpoint: str,
        *,
        state: DeliveryState | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Delivery]:
        """The newest first, as far back as they are kept. InvalidInput."""
        receiver = self._find(principal, endpoint)
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidInput(f"limit: 1 to {MAX_PAGE}", field="limit")
        before = None if cursor is None else decode_cursor(cursor, 1)[0]
        if before is not None and not (isinstance(before, int) and 0 <= before < 2**63):
            raise InvalidInput("Invalid cursor", field="cursor")
        async with self._store.reading() as connection:
            found = await self._deliveries.page(connection, receiver.id, state, before, limit)
        return Page(tuple(found), encode_cursor(found[-1].id) if len(found) == limit else None)

    async def delivery(self, principal: Principal, endpoint: str, delivery_id: int) -> Delivery:
        """DeliveryNotFound."""
        receiver = self._find(principal, endpoint)
        async with self._store.reading() as connection:
            found = await self._deliveries.get(connection, receiver.id, delivery_id)
        if found is None:
            raise DeliveryNotFound
        return found

    async def replay(self, principal: Principal, endpoint: str, delivery_id: int) -> Delivery:
        """The same message again, under the same message id. InvalidState while the first is pending, or the endpoint
        is disabled."""
        receiver = self._enabled(self._find(principal, endpoint))
        old = await self.delivery(principal, endpoint, delivery_id)
        if old.state is DeliveryState.PENDING:
            raise InvalidState("This delivery is still pending", state=old.state)
        now = self._clock.now()
        again = replace(new_delivery(receiver, old.subject_id, old.type, old.body, now), message_id=old.message_id)
        await self._send(again)
        return (await self.deliveries(principal, endpoint, limit=1)).items[0]

    async def recover(self, principal: Principal, endpoint: str, since: datetime) -> int:
        """Send again whatever failed since then; how much that is."""
        receiver = self._enabled(self._find(principal, endpoint))
        async with self._store.transaction() as transaction:
            moment = in_utc(since, "since")
            count = await self._deliveries.revive(transaction, receiver.id, moment, self._clock.now())
        self._dispatcher.wake()
        return count

    async def test(self, principal: Principal, endpoint: str) -> Attempt:
        """Send a message of the type ``test`` now, once, and tell what became of it."""
        receiver, now = self._find(principal, endpoint), self._clock.now()
        return await self._dispatcher.attempt(receiver, new_delivery(receiver, TEST, TEST, test_body(now), now))

    # -- inside --------------------------------------------------------------------------------------------------------

    async def _send(self, delivery: Delivery) -> None:
        async with self._store.transaction() as transaction:
            await self._deliveries.insert(transaction, [delivery])
        self._dispatcher.wake()

    def _find(self, principal: Principal, endpoint: str) -> Receiver:
        self._access.require(principal, Scope.ADMIN)
        return self._book.find(principal.team_id, Kind.ENDPOINT, endpoint)

    def _enabled(self, receiver: Receiver) -> Receiver:
        if not receiver.enabled:
            raise InvalidState("This endpoint is disabled", hint="Enable it first.", state="disabled")
        return receiver

    def _opened(self, receiver: Receiver) -> Opened:
        return Opened(receiver, self._book.open(receiver)[URL])

    def _checked(self, events: tuple[str, ...]) -> tuple[str, ...]:
        for event in events:
            if event not in self._kinds:
                hint = f"There are {', '.join(sorted(self._kinds))}."
                raise InvalidInput(f"events: no such event: {event[:50]!r}", field="events", hint=hint)
        return tuple(dict.fromkeys(events))


def described(text: str) -> str:
    if len(text) > MAX_DESCRIPTION or not storable(text):
        raise InvalidInput(f"description: at most {MAX_DESCRIPTION} characters", field="description")
    return text
