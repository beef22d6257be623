"""From the outbox to rows, and from rows to receivers: until each has arrived, or has been tried for more than a day.

An event becomes its deliveries in the transaction that marks it as taken, so a server that is killed loses none and
makes none twice. One that is killed between a receiver's answer and its noting sends again, under the same message id.
Of one receiver and one sandbox the next delivery waits for the one before; a receiver that hangs or fails holds up no
other.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy.exc import SQLAlchemyError

from moonpool.clock import Clock
from moonpool.deliveries.book import ReceiverBook
from moonpool.deliveries.model import Attempt, Delivery, DeliveryState, Kind, Receiver, Render
from moonpool.deliveries.providers import Letter, Post, letter_of, put
from moonpool.deliveries.repository import DeliveryRepository, as_text
from moonpool.deliveries.webhook_config import posted
from moonpool.errors import MoonpoolError
from moonpool.events.consumer import Consumer
from moonpool.events.model import Event
from moonpool.ids import new_uuid
from moonpool.outbound import Outbound, Unreachable
from moonpool.store.database import Store, Transaction

# Seconds after each attempt that failed; after the last one nothing is tried by itself any more.
RETRIES = (5, 300, 1800, 7200, 18_000, 36_000, 36_000)
DISABLED_AFTER = timedelta(days=5)  # in which nothing arrived
KEEP = timedelta(days=30)  # what has ended
AT_ONCE = 4  # requests to one receiver
AT_ONCE_IN_ALL = 64
BATCH = 200  # rows looked at; more than are sent at once
PAUSE_AFTER_FAILURE = 5.0  # seconds until the database is asked again
GONE = 410

log = structlog.get_logger(__name__)


class Dispatcher:
    def __init__(
        self,
        store: Store,
        book: ReceiverBook,
        consumer: Consumer,
        renderers: Mapping[Kind, Render],
        outbound: Outbound,
        telegram: str,
        clock: Clock,
    ) -> None:
        self._store = store
        self._book = book
        self._consumer = consumer
        self._renderers = renderers
        self._outbound = outbound
        self._telegram = telegram
        self._clock = clock
        self._repository = DeliveryRepository()
        self._wake = asyncio.Event()
        self._rows_changed = True
        self._sending: dict[int, asyncio.Task[None]] = {}
        self._over: set[int] = set()  # those that ended since the rows were last looked at
        self._busy: Counter[str] = Counter()
        self._loop: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self._consumer.start()
        self._loop = asyncio.get_running_loop().create_task(self._run(), name="deliveries")

    async def close(self) -> None:
        """What is being sent is broken off, and sent again by the next run."""
        tasks = [*self._sending.values(), *([self._loop] if self._loop else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._consumer.save()

    def heard(self, _event: Event) -> None:
        """There is something in the outbox. That alone makes nothing due: mostly nobody wants to hear of it."""
        self._wake.set()

    def wake(self) -> None:
        """Look again: rows have changed, or time has passed."""
        self._rows_changed = True
        self._wake.set()

    async def save(self) -> None:
        await self._consumer.save()

    async def prune(self) -> None:
        async with self._store.transaction() as transaction:
            await self._repository.prune(transaction, self._clock.now() - KEEP)

    # -- the loop ------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        until: float | None = None
        while True:
            self._wake.clear()
            try:
                await self._take_events()
                if self._rows_changed:
                    self._rows_changed = False
                    until = moment_after(await self._begin_due())
            except (SQLAlchemyError, MoonpoolError) as error:
                log.warning("deliveries_wait", error=type(error).__name__)
                self._rows_changed = True
                until = moment_after(PAUSE_AFTER_FAILURE)
            try:
                async with asyncio.timeout_at(until):
                    await self._wake.wait()
            except TimeoutError:
                self._rows_changed = True

    async def _take_events(self) -> None:
        while self._consumer.is_behind:
            if not any(receiver.enabled for receiver in self._book.all()):
                self._consumer.skip()
                return
            events = await self._consumer.next()
            if not events:
                return
            rows = [row for event in events for row in self._rows(event)]
            async with self._store.transaction() as transaction:
                known = [row for row in rows if self._book.get(row.receiver_id)]  # Some were removed meanwhile.
                await self._repository.insert(transaction, known)
                await self._consumer.take(transaction, events[-1].id)
            self._rows_changed = self._rows_changed or bool(known)

    def _rows(self, event: Event) -> list[Delivery]:
        now = self._clock.now()
        receivers = [receiver for receiver in self._book.all() if receiver.team_id == event.team_id]
        rendered = {kind: self._renderers[kind](event) for kind in {receiver.kind for receiver in receivers}}
        return [
            new_delivery(receiver, event.subject_id, message.type, as_text(message.body), now)
            for receiver in receivers
            for message in rendered[receiver.kind]
            if receiver.wants(event, message.type)
        ]

    async def _begin_due(self) -> float | None:
        """Seconds until something is due that is not now; None: nothing is known of that."""
        now, more = self._clock.now(), True
        while more and len(self._sending) < AT_ONCE_IN_ALL:
            full = [receiver for receiver, count in self._busy.items() if count >= AT_ONCE]
            self._over.clear()
            async with self._store.reading() as connection:
                due = await self._repository.due(connection, now, full, BATCH)
            begun = [self._may_begin(delivery) for delivery in due]
            # Those of one receiver may have filled the batch: others are behind them.
            more = len(due) == BATCH and not all(begun)
        async with self._store.reading() as connection:
            later = await self._repository.next_due(connection, now)
        return None if later is None else max(0.0, (later - now).total_seconds())

    def _may_begin(self, delivery: Delivery) -> bool:
        receiver = self._book.get(delivery.receiver_id)
        if delivery.id in self._sending or delivery.id in self._over:  # The row was read before its end was noted.
            return True
        if receiver is None or self._busy.get(receiver.id, 0) >= AT_ONCE or len(self._sending) >= AT_ONCE_IN_ALL:
            return False
        self._begin(receiver, delivery)
        return True

    def _begin(self, receiver: Receiver, delivery: Delivery) -> None:
        task = asyncio.get_running_loop().create_task(self._send(receiver, delivery), name=f"delivery {delivery.id}")
        self._sending[delivery.id] = task
        self._busy[receiver.id] += 1

        def ended(task: asyncio.Task[None]) -> None:
            del self._sending[delivery.id]
            self._over.add(delivery.id)
            self._busy[receiver.id] -= 1
            if not self._busy[receiver.id]:
                del self._busy[receiver.id]
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("delivery_failed", delivery=delivery.id, exc_info=error)
                asyncio.get_running_loop().call_later(PAUSE_AFTER_FAILURE, self.wake)
            else:
                self.wake()

        task.add_done_callback(ended)

    # -- one delivery --------------------------------------------------------------------------------------------------

    async def _send(self, receiver: Receiver, delivery: Delivery) -> None:
        attempt = await self.attempt(receiver, delivery)
        now = self._clock.now()
        arrived = attempt.status is not None and 200 <= attempt.status < 300
        async with self._store.transaction() as transaction:
            await self._repository.write(transaction, after(delivery, attempt, now, arrived=arrived))
            known = self._book.get(receiver.id)
            if known is None:
                return
            if arrived and known.failing_since is not None:
                await self._book.put(transaction, replace(known, failing_since=None))
            elif not arrived and known.enabled:
                await self._note_failure(transaction, known, attempt, now)

    async def _note_failure(
        self, transaction: Transaction, receiver: Receiver, attempt: Attempt, now: datetime
    ) -> None:
        since = receiver.failing_since or now
        if attempt.status == GONE:
            await self._book.disable(transaction, receiver, "The receiver says that it is gone (410)", now)
        elif now - since >= DISABLED_AFTER:
            days = DISABLED_AFTER.days
            await self._book.disable(transaction, receiver, f"Nothing arrived for {days} days", now)
        elif receiver.failing_since is None:
            await self._book.put(transaction, replace(receiver, failing_since=now))

    async def attempt(self, receiver: Receiver, delivery: Delivery) -> Attempt:
        """One request, whatever becomes of it."""
        now = self._clock.now()
        try:
            post = self._post(receiver, letter_of(delivery.message_id, now, delivery.type, delivery.body))
            reply = await self._outbound.send(post.method, post.url, post.headers, post.content, owner=receiver.team_id)
        except (Unreachable, MoonpoolError) as error:
            return Attempt(now, None, str(error), 0)
        return Attempt(now, reply.status, None if reply.is_success else f"Answered {reply.status}", reply.milliseconds)

    def _post(self, receiver: Receiver, letter: Letter) -> Post:
        config = self._book.open(receiver)
        if receiver.kind is Kind.ENDPOINT:
            return posted(config, letter)
        return put(receiver.provider, config, letter, self._telegram)


def moment_after(seconds: float | None) -> float | None:
    """By the loop's clock; None: never."""
    return None if seconds is None else asyncio.get_running_loop().time() + seconds


def new_delivery(receiver: Receiver, subject_id: str, message_type: str, body: str, now: datetime) -> Delivery:
    return Delivery(
        id=0,
        receiver_id=receiver.id,
        team_id=receiver.team_id,
        subject_id=subject_id,
        message_id=f"msg_{new_uuid().replace('-', '')}",
        type=message_type,
        body=body,
        state=DeliveryState.PENDING,
        attempts=(),
        next_attempt_at=now,
        created_at=now,
        finished_at=None,
    )


def after(delivery: Delivery, attempt: Attempt, now: datetime, *, arrived: bool) -> Delivery:
    """The delivery once that attempt was made."""
    attempts = (*delivery.attempts, attempt)
    if arrived:
        return replace(delivery, state=DeliveryState.DELIVERED, attempts=attempts, finished_at=now)
    if len(attempts) > len(RETRIES):
        return replace(delivery, state=DeliveryState.FAILED, attempts=attempts, finished_at=now)
    wait = timedelta(seconds=RETRIES[len(attempts) - 1])
    return replace(delivery, attempts=attempts, next_attempt_at=now + wait)
