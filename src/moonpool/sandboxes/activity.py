"""When sandboxes were last used: noted in memory, written every few seconds, never on a command's path."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

import structlog
from sqlalchemy.exc import SQLAlchemyError

from moonpool.clock import Clock
from moonpool.sandboxes.background import Background
from moonpool.sandboxes.model import Sandbox, SandboxState
from moonpool.sandboxes.records import Records

FLUSH_AFTER = 5.0  # seconds between a use and its writing

log = structlog.get_logger(__name__)


class Activity:
    """Idle time is counted on the monotonic clock, so a jump of the wall clock stops no sandbox."""

    def __init__(self, records: Records, background: Background, clock: Clock) -> None:
        self._records = records
        self._background = background
        self._clock = clock
        self._last: dict[str, float] = {}
        self._moments: dict[str, datetime] = {}
        self._unwritten: dict[str, datetime] = {}
        self._open: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None
        records.listen(self._changed)

    def touch(self, sandbox: Sandbox) -> None:
        """It is in use now."""
        now = self._clock.now()
        self._last[sandbox.id] = self._clock.monotonic()
        self._moments[sandbox.id] = self._unwritten[sandbox.id] = now
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_AFTER, self._begin)

    @contextmanager
    def using(self, sandbox: Sandbox) -> Iterator[None]:
        """It is in use for the length of the block."""
        self._open[sandbox.id] += 1
        self.touch(sandbox)
        try:
            yield
        finally:
            self._open[sandbox.id] -= 1
            if not self._open[sandbox.id]:
                del self._open[sandbox.id]
            current = self._records.cached(sandbox.id)
            if current is not None and current.state is not SandboxState.DESTROYED:
                self.touch(sandbox)

    def idle_since(self, sandbox: Sandbox) -> float:
        """Moment of the last use on the monotonic clock; now, while it is in use."""
        now = self._clock.monotonic()
        if self._open[sandbox.id]:
            return now
        return self._last.get(sandbox.id, now)

    def fresh(self, sandbox: Sandbox) -> Sandbox:
        """The sandbox with its true last activity."""
        moment = self._moments.get(sandbox.id)
        if moment is None or moment <= sandbox.last_activity_at:
            return sandbox
        return replace(sandbox, last_activity_at=moment)

    async def flush(self) -> None:
        """Write what was noted; it is tried again later when the database refuses."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        moments, self._unwritten = self._unwritten, {}
        if not moments:
            return
        try:
            await self._records.note_activity(moments)
        except SQLAlchemyError as error:
            self._unwritten = moments | self._unwritten
            log.warning("activity_not_written", error=type(error).__name__)

    def _begin(self) -> None:
        self._timer = None
        self._background.spawn(self.flush(), "flush activity")

    def _changed(self, sandbox: Sandbox) -> None:
        if sandbox.state is SandboxState.DESTROYED:
            for memory in (self._last, self._moments, self._unwritten):
                memory.pop(sandbox.id, None)
            return
        behind = max(0.0, (self._clock.now() - sandbox.last_activity_at).total_seconds())
        known = self._last.get(sandbox.id)
        last = self._clock.monotonic() - behind
        self._last[sandbox.id] = last if known is None else max(known, last)
