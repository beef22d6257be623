"""One listener's view of the events: first what it missed, then what happens."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from moonpool.events.model import Event

QUEUE_SIZE = 1000  # events a subscriber may be behind

ReadAfter = Callable[[int], Awaitable[list[Event]]]


class Subscription:
    """An endless asynchronous iterator of events, in the order of their ids.

    It ends when the service closes, or when the subscriber fell more than ``QUEUE_SIZE`` events behind: then
    ``dropped`` is true, and ``last_id`` is where to resume with ``since``.
    """

    def __init__(self, team_id: str | None, since: int, live_from: int, read_after: ReadAfter) -> None:
        self.last_id = since
        self.dropped = False
        self._team_id = team_id
        self._live_from = live_from
        self._read_after = read_after
        self._missed: deque[Event] = deque()
        self._queue: deque[Event] = deque()
        self._closed = False
        self._wake = asyncio.Event()

    @property
    def behind(self) -> int:
        """Events that it has not taken yet, of those that were read for it or handed to it."""
        return len(self._queue) + len(self._missed)

    def push(self, event: Event) -> None:
        """Hand over a new event; called in the order of their ids, never waits."""
        if self._closed or self.dropped or self._team_id not in (None, event.team_id):
            return
        if len(self._queue) >= QUEUE_SIZE:
            self.dropped = True
        else:
            self._queue.append(event)
        self._wake.set()

    def close(self) -> None:
        self._closed = True
        self._wake.set()

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> Event:
        if not self._missed and self.last_id < self._live_from:
            self._missed.extend(event for event in await self._read_after(self.last_id) if event.id <= self._live_from)
            if not self._missed:
                self.last_id = self._live_from
        event = self._missed.popleft() if self._missed else await self._next_live()
        self.last_id = event.id
        return event

    async def _next_live(self) -> Event:
        while not self._queue:
            if self.dropped or self._closed:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        return self._queue.popleft()
