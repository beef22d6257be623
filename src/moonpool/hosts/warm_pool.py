"""Agents restored ahead of need, so that a create pays only for a snapshot and an attach."""

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, Generic, Protocol, TypeVar

import structlog

from moonpool.errors import EngineError, NoCapacity

CLAIM_TIMEOUT = 60.0  # seconds a create waits for a member before it is told that there is no room
FIRST_RETRY, LAST_RETRY = 0.5, 30.0  # seconds between attempts while members cannot be made
FAILURES_BEFORE_REFUSAL = 3  # attempts in a row that fail before waiting creates are told so
REST = 0.1  # seconds after a create in which its first command, or the next step of a fork, has the processor

log = structlog.get_logger(__name__)


class Claimable(Protocol):
    @property
    def alive(self) -> bool: ...


M = TypeVar("M", bound=Claimable)


class WarmPool(Generic[M]):
    """Keeps ``target`` members and the ``extra`` ones ready; refills in the background, but not while creates need the
    processor. It counts as filled with ``target``."""

    def __init__(
        self, make: Callable[[], Awaitable[M]], retire: Callable[[M], Coroutine[Any, Any, None]], target: int
    ) -> None:
        self._make, self._retire, self.target = make, retire, target
        self._ready: deque[M] = deque()
        self._waiting: deque[asyncio.Future[M]] = deque()
        self._making: set[asyncio.Task[None]] = set()
        self._extra = 0
        self._busy = 0
        self._failures = 0
        self._closed = False
        self._retry: asyncio.TimerHandle | None = None
        self._rest: asyncio.TimerHandle | None = None
        self._overdue = False
        self.filled = asyncio.Event()
        self._parallel = os.cpu_count() or 1

    @property
    def size(self) -> int:
        return len(self._ready)

    def keep(self, extra: int) -> None:
        """``extra`` members beyond ``target`` from now on; surplus ones are retired."""
        self._extra = extra
        while len(self._ready) > self.target + extra:
            self._spawn(self._retire(self._ready.pop()))
        self.fill()

    async def claim(self) -> M:
        """A live member, at once where one is ready; raises NoCapacity when none can be had in time."""
        while self._ready:
            member = self._ready.popleft()
            self.fill()
            if member.alive:
                return member
            await self._retire(member)
        future: asyncio.Future[M] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self.fill()
        try:
            async with asyncio.timeout(CLAIM_TIMEOUT):
                return await future
        except TimeoutError:
            raise NoCapacity("No warm member became free in time") from None
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._ready.append(future.result())  # It came in the moment the caller left.
            raise
        finally:
            with contextlib.suppress(ValueError):
                self._waiting.remove(future)

    def take(self) -> M | None:
        """A live member where one is ready."""
        while self._ready:
            member = self._ready.popleft()
            self.fill()
            if member.alive:
                return member
            self._spawn(self._retire(member))
        return None

    def lost(self, member: M) -> None:
        """``member`` has died: where it still waited to be claimed, another one takes its place."""
        if member in self._ready:
            self._ready.remove(member)
            self._spawn(self._retire_lost(member))
            self._note_level()

    async def _retire_lost(self, member: M) -> None:
        log.warning("warm_member_lost")
        await self._retire(member)

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """While any create is inside this block, the pool does not refill for its own sake."""
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1
            if not self._busy:
                self._settle()

    def fill(self) -> None:
        """Starts as many makers as are needed now; called whenever something changes."""
        self._note_level()
        if self._closed or self._retry is not None:
            return
        level = self.target + self._extra
        wanted = len(self._waiting) if self._busy else len(self._waiting) + level - len(self._ready)
        for _ in range(min(wanted, self._parallel) - len(self._making)):
            self._spawn(self._make_one())

    async def close(self) -> None:
        """Stops refilling and retires every member that nobody claimed."""
        self._closed = True
        for timer in (self._retry, self._rest):
            if timer is not None:
                timer.cancel()
        while self._making:
            await asyncio.wait(self._making)
        for future in self._waiting:
            if not future.done():
                future.set_exception(NoCapacity("The server is shutting down"))
        await asyncio.gather(*(self._retire(member) for member in self._ready))
        self._ready.clear()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._making.add(task := asyncio.create_task(work))
        task.add_done_callback(self._made)

    async def _make_one(self) -> None:
        member = await self._make()
        self._failures = 0
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(member)
                return
        self._ready.append(member)

    def _made(self, task: asyncio.Task[None]) -> None:
        self._making.discard(task)
        error = task.exception()
        if error is not None:
            self._failed(error)
        self.fill()

    def _failed(self, error: BaseException) -> None:
        self._failures += 1
        log.error("warm_member_failed", error=str(error), failures=self._failures, exc_info=error)
        if self._failures >= FAILURES_BEFORE_REFUSAL:
            while self._waiting:
                future = self._waiting.popleft()
                if not future.done():
                    future.set_exception(error if isinstance(error, EngineError) else EngineError(str(error)))
        if not self._closed and self._retry is None:
            delay = min(FIRST_RETRY * 2 ** (self._failures - 1), LAST_RETRY)
            self._retry = asyncio.get_running_loop().call_later(delay, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        self.fill()

    def _settle(self) -> None:
        """Refill a moment later; at once where the moment before ended within the next create, as in a row of them."""
        if self._overdue:
            self._overdue = False
            self.fill()
        elif self._rest is None and not self._closed:
            self._rest = asyncio.get_running_loop().call_later(REST, self._rested)

    def _rested(self) -> None:
        self._rest = None
        if self._busy:
            self._overdue = True
        else:
            self.fill()

    def _note_level(self) -> None:
        if len(self._ready) >= self.target:
            self.filled.set()
        else:
            self.filled.clear()
