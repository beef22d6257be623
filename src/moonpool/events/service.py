"""Events from the outbox to whoever listens: ordered, resumable, never waiting for a slow listener."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta

from moonpool.clock import Clock
from moonpool.errors import RateLimited
from moonpool.events.consumer import Consumer
from moonpool.events.model import Event, NewEvent
from moonpool.events.repository import EventRepository
from moonpool.events.subscription import Subscription
from moonpool.store.database import Store, Transaction

RETENTION = timedelta(days=7)
REPLAY_PAGE = 500  # events read at once
MAX_STREAMS = 5000  # of one team at a time


class EventService:
    """``append`` belongs to the transaction of the change; listeners hear of it once that is committed.

    A server that dies between the commit and the listeners loses nothing: what was not yet handed out is handed out at
    the next start. So a listener may hear an event twice over a crash, and never misses one.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._repository = EventRepository()
        self._subscriptions: set[Subscription] = set()
        self._listeners: list[Callable[[Event], None]] = []
        self._streams: Counter[str] = Counter()
        self._dispatched = 0
        self._saved = 0

    async def start(self) -> None:
        """Hand out what an earlier run committed and did not hand out; listeners must be there before."""
        async with self._store.reading() as connection:
            self._dispatched = self._saved = await self._repository.cursor(connection)
        while events := await self._after(self._dispatched, None):
            for event in events:
                self._publish(event)
        await self.save()

    async def close(self) -> None:
        """End every subscription and note what was handed out."""
        for subscription in list(self._subscriptions):
            subscription.close()
        await self.save()

    @property
    def listeners(self) -> int:
        """How many subscriptions are open."""
        return len(self._subscriptions)

    @property
    def behind(self) -> int:
        """Events that the slowest of them has not taken yet."""
        return max((subscription.behind for subscription in self._subscriptions), default=0)

    async def append(self, transaction: Transaction, new: NewEvent) -> None:
        """Write an event beside the change it tells of; it goes out after the commit."""
        event = await self._repository.insert(transaction, new)
        transaction.after_commit(lambda: self._publish(event))

    def consumer(self, name: str) -> Consumer:
        """A durable reader of every team's events; to be started after this service."""
        return Consumer(name, self._store, lambda: self._dispatched)

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Call ``listener`` for every event of every team, in order; it may neither wait nor raise."""
        self._listeners.append(listener)

    @asynccontextmanager
    async def subscribe(self, team_id: str | None, *, since: int | None = None) -> AsyncIterator[Subscription]:
        """A team's events (None: all teams') from now on, or from after the event ``since``, as far back as kept."""
        subscription = Subscription(
            team_id,
            since=self._dispatched if since is None else since,
            live_from=self._dispatched,
            read_after=lambda last_id: self._after(last_id, team_id),
        )
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
            subscription.close()

    @contextmanager
    def listening(self, team_id: str) -> Iterator[None]:
        """Around a stream that a client of this team has open; RateLimited where the team has too many."""
        if self._streams[team_id] >= MAX_STREAMS:
            hint = "Close some of them."
            raise RateLimited(f"This team has {MAX_STREAMS} streams of events open", hint=hint, retry_after=60)
        self._streams[team_id] += 1
        try:
            yield
        finally:
            self._streams[team_id] -= 1
            if not self._streams[team_id]:
                del self._streams[team_id]

    async def history(self, team_id: str, *, since: int = 0, limit: int = 100) -> list[Event]:
        """The team's kept events after ``since``, the oldest first."""
        async with self._store.reading() as connection:
            return await self._repository.after(connection, since, team_id, limit)

    async def prune(self) -> None:
        """Delete what is older than ``RETENTION`` and was handed out."""
        await self.save()
        async with self._store.transaction() as transaction:
            await self._repository.prune(transaction, self._clock.now() - RETENTION, self._dispatched)

    async def save(self) -> None:
        """Note how far events were handed out, so that the next start does not repeat them."""
        if self._saved == self._dispatched:
            return
        async with self._store.transaction() as transaction:
            await self._repository.save_cursor(transaction, self._dispatched)
        self._saved = self._dispatched

    def _publish(self, event: Event) -> None:
        self._dispatched = event.id
        for listener in self._listeners:
            listener(event)
        for subscription in self._subscriptions:
            subscription.push(event)

    async def _after(self, since: int, team_id: str | None) -> list[Event]:
        async with self._store.reading() as connection:
            return await self._repository.after(connection, since, team_id, REPLAY_PAGE)
