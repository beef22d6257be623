"""The dispatcher over a real database, and receivers on loopback."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from moonpool.access.model import Principal
from moonpool.access.service import AccessService
from moonpool.deliveries.book import ReceiverBook
from moonpool.deliveries.channels import ChannelService
from moonpool.deliveries.dispatcher import Dispatcher
from moonpool.deliveries.model import Kind, Message
from moonpool.deliveries.webhooks import WebhookService
from moonpool.events.model import Event, EventType, NewEvent
from moonpool.events.service import EventService
from moonpool.outbound import Outbound
from moonpool.store.database import Store
from moonpool.vault import Vault
from tests.conftest import ManualClock
from tests.receivers import LOOPBACK_NETWORK, HttpReceiver, http_receiver

KINDS = tuple(kind.value for kind in EventType)
VAULT = Vault([b"a key of these tests"])


def render(event: Event) -> list[Message]:
    return [Message(event.type.value, {"event": event.type.value, "id": event.subject_id, **event.data})]


@dataclass
class Sending:
    """One run of a server."""

    store: Store
    clock: ManualClock
    events: EventService
    book: ReceiverBook
    dispatcher: Dispatcher
    webhooks: WebhookService
    channels: ChannelService
    admin: Principal
    telegram: str

    async def tell(self, *subjects: str, team: str | None = None, **data: object) -> None:
        """Each in a transaction of its own."""
        for subject in subjects:
            async with self.store.transaction() as transaction:
                team_id = team or self.admin.team_id
                new = NewEvent(team_id, EventType.SANDBOX_CREATED, subject, data, self.clock.now())
                await self.events.append(transaction, new)

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.dispatcher.wake()


async def started(
    stack: AsyncExitStack,
    store: Store,
    clock: ManualClock,
    telegram: str = "http://x",
    render: Callable[[Event], list[Message]] = render,
) -> Sending:
    """To be closed by the stack."""
    access = AccessService(store, clock)
    await access.start(None)
    events, outbound = EventService(store, clock), Outbound([LOOPBACK_NETWORK])
    stack.push_async_callback(outbound.close)
    book = ReceiverBook(store, VAULT.box("receivers"))
    renderers = dict.fromkeys(Kind, render)
    dispatcher = Dispatcher(store, book, events.consumer("deliveries"), renderers, outbound, telegram, clock)
    events.listen(dispatcher.heard)
    await book.load()
    await events.start()
    stack.push_async_callback(events.close)
    await dispatcher.start()
    stack.push_async_callback(dispatcher.close)
    webhooks = WebhookService(store, access, book, dispatcher, outbound, KINDS, clock)
    channels = ChannelService(access, book, outbound, KINDS, telegram, clock)
    admin = await access.local_principal()
    return Sending(store, clock, events, book, dispatcher, webhooks, channels, admin, telegram)


@pytest.fixture
async def receiver() -> AsyncIterator[HttpReceiver]:
    async with http_receiver() as receiver:
        yield receiver


@pytest.fixture
def rendered() -> asyncio.Event:
    """Set once the deliveries of an event were made."""
    return asyncio.Event()


@pytest.fixture
async def sending(store: Store, clock: ManualClock, rendered: asyncio.Event) -> AsyncIterator[Sending]:
    def render_and_tell(event: Event) -> list[Message]:
        rendered.set()
        return render(event)

    async with AsyncExitStack() as stack:
        yield await started(stack, store, clock, render=render_and_tell)


def bodies(receiver: HttpReceiver) -> list[dict[str, object]]:
    return [json.loads(got.body) for got in receiver.got]
