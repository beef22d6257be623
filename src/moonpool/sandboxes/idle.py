"""What happens to sandboxes by the clock alone: idle pause and stop, archiving, deletion, end of life."""

import asyncio
import contextlib
import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import structlog

from moonpool.clock import Clock
from moonpool.errors import MoonpoolError
from moonpool.sandboxes.activity import Activity
from moonpool.sandboxes.background import Background
from moonpool.sandboxes.lifecycle import Lifecycle
from moonpool.sandboxes.model import Sandbox, SandboxState
from moonpool.sandboxes.records import Records
from moonpool.sandboxes.shutdown import pause_or_stop

RETRY_AFTER = 60.0  # seconds until a rule that failed is applied again

log = structlog.get_logger(__name__)


class Act(StrEnum):
    PAUSE = "pause"
    STOP = "stop"
    ARCHIVE = "archive"
    DESTROY = "destroy"


@dataclass(frozen=True)
class Deadline:
    """``at`` is a moment on the monotonic clock."""

    at: float
    act: Act


class IdleRules:
    """Holds the next deadline of every sandbox that has one, and sleeps until the earliest.

    Use moves no deadline: one that comes up too early is put off then, so a command costs nothing here.
    """

    def __init__(
        self, records: Records, lifecycle: Lifecycle, activity: Activity, background: Background, clock: Clock
    ) -> None:
        self._records = records
        self._lifecycle = lifecycle
        self._activity = activity
        self._background = background
        self._clock = clock
        self._heap: list[tuple[float, str]] = []
        self._due: dict[str, float] = {}
        self._not_before: dict[str, float] = {}
        self._earlier = asyncio.Event()
        self._ticker: asyncio.Task[None] | None = None
        records.listen(self._changed)

    def start(self) -> None:
        for sandbox in self._records.all():
            self._changed(sandbox)
        self._ticker = asyncio.get_running_loop().create_task(self._tick(), name="idle rules")

    async def close(self) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticker

    def deadline(self, sandbox: Sandbox) -> Deadline | None:
        """The next thing that the clock alone does to this sandbox, if nobody uses it."""
        found = min(self._deadlines(sandbox), key=lambda deadline: deadline.at, default=None)
        if found is None or (earliest := self._not_before.get(sandbox.id)) is None:
            return found
        return Deadline(max(found.at, earliest), found.act)

    def apply_due(self) -> None:
        """Begin what is due now, and put off what turns out not to be."""
        now = self._clock.monotonic()
        while self._heap and self._heap[0][0] <= now:
            at, sandbox_id = heapq.heappop(self._heap)
            if self._due.get(sandbox_id) != at:
                continue
            del self._due[sandbox_id]
            sandbox = self._records.cached(sandbox_id)
            deadline = None if sandbox is None else self.deadline(sandbox)
            if sandbox is None or deadline is None:
                continue
            if deadline.at > now:
                self._schedule(sandbox_id, deadline.at)
            else:
                self._background.spawn(self._apply(sandbox, deadline.act), f"{deadline.act} by rule {sandbox_id}")

    # -- deadlines -----------------------------------------------------------------------------------------------------

    def _deadlines(self, sandbox: Sandbox) -> Iterator[Deadline]:
        timers = sandbox.timers
        if sandbox.expires_at is not None and not sandbox.doomed:
            yield Deadline(self._monotonic(sandbox.expires_at), Act.DESTROY)
        if sandbox.state is SandboxState.RUNNING:
            idle_since = self._activity.idle_since(sandbox)
            for seconds, act in (
                (timers.auto_pause, Act.PAUSE),
                (timers.idle_timeout, Act.PAUSE),
                (timers.auto_stop, Act.STOP),
            ):
                if seconds:
                    yield Deadline(idle_since + seconds, act)
        elif sandbox.doomed and sandbox.state is SandboxState.ERROR:
            yield Deadline(self._monotonic(sandbox.updated_at) + RETRY_AFTER, Act.DESTROY)
        elif sandbox.state in (SandboxState.STOPPED, SandboxState.ARCHIVED) and sandbox.stopped_at is not None:
            stopped_at = self._monotonic(sandbox.stopped_at)
            if timers.auto_delete is not None:
                yield Deadline(stopped_at + timers.auto_delete, Act.DESTROY)
            if timers.auto_archive and sandbox.state is SandboxState.STOPPED and not sandbox.remade:
                yield Deadline(stopped_at + timers.auto_archive, Act.ARCHIVE)

    def _monotonic(self, moment: datetime) -> float:
        return self._clock.monotonic() + (moment - self._clock.now()).total_seconds()

    def _changed(self, sandbox: Sandbox) -> None:
        if sandbox.state is SandboxState.DESTROYED:
            self._due.pop(sandbox.id, None)
            self._not_before.pop(sandbox.id, None)
        elif (deadline := self.deadline(sandbox)) is not None:
            self._schedule(sandbox.id, deadline.at)
        else:
            self._due.pop(sandbox.id, None)

    def _schedule(self, sandbox_id: str, at: float) -> None:
        if self._due.get(sandbox_id) == at:
            return
        self._due[sandbox_id] = at
        heapq.heappush(self._heap, (at, sandbox_id))
        if self._heap[0][1] == sandbox_id:
            self._earlier.set()

    # -- the clock -----------------------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        while True:
            self._earlier.clear()
            self.apply_due()
            wait = self._heap[0][0] - self._clock.monotonic() if self._heap else None
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._earlier.wait(), wait)

    async def _apply(self, sandbox: Sandbox, act: Act) -> None:
        log.info("rule_applied", sandbox=sandbox.id, act=act.value)
        # Set first: the change of state that follows asks for the next deadline.
        self._not_before[sandbox.id] = self._clock.monotonic() + RETRY_AFTER
        try:
            match act:
                case Act.PAUSE:
                    await pause_or_stop(self._lifecycle, sandbox)
                case Act.STOP:
                    await self._lifecycle.stop(sandbox)
                case Act.ARCHIVE:
                    await self._lifecycle.archive(sandbox)
                case Act.DESTROY:
                    await self._lifecycle.destroy(sandbox)
        except MoonpoolError as error:
            log.warning("rule_failed", sandbox=sandbox.id, act=act.value, reason=error.message)
        else:
            self._not_before.pop(sandbox.id, None)
        finally:
            if (current := self._records.cached(sandbox.id)) is not None:
                self._changed(current)
