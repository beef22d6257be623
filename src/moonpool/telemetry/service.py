"""Use cases of telemetry: taken from sandboxes as they say that they have some, kept, told, handed on."""

import asyncio
import contextlib
import hmac
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

import structlog
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from moonpool.access.model import Principal
from moonpool.clock import Clock
from moonpool.errors import (
    AgentTimeout,
    AgentUnavailable,
    GuestError,
    InvalidInput,
    InvalidState,
    MoonpoolError,
    NotFound,
)
from moonpool.guest.client import AgentClient
from moonpool.guest.model import Telemetry
from moonpool.sandboxes.model import Sandbox, SandboxState
from moonpool.sandboxes.query import Page
from moonpool.sandboxes.records import Records
from moonpool.sandboxes.service import SandboxService
from moonpool.telemetry.figures import FigureReports, Figures
from moonpool.telemetry.files import TelemetryFiles, nanoseconds
from moonpool.telemetry.forwarding import Forwarder, Parcel
from moonpool.telemetry.model import LogRecord, Signal, Span, Target, TelemetryQuery, Trace, marks_of
from moonpool.telemetry.otlp import Export, Unreadable, attributed, logs_of, read, spans_of
from moonpool.telemetry.targets import TelemetryTargets

AT_ONCE = 2  # sandboxes whose telemetry is read at the same time: it costs this process's processor
ASKED_AT_ONCE = 16  # sandboxes that are asked for theirs at the same time
PENANCE = 60.0  # seconds until one is asked again that did not answer: others wait for their turn meanwhile
RATE = 1 << 20  # bytes a second of one sandbox; what it has beyond that waits inside it, and is refused there
MAX_PAGE = 1000
LEAST_PAUSE = 0.05  # seconds between two questions to one sandbox
PATIENCE = 2.0  # seconds that a question waits for what is on its way

log = structlog.get_logger(__name__)


class Source(Protocol):
    """A host that says which sandboxes have telemetry, and leads to their agents."""

    def session(self, machine_id: str) -> AbstractAsyncContextManager[AgentClient]: ...

    @property
    def notices(self) -> "Announcing": ...


class Announcing(Protocol):
    def listen(self, listener: Callable[[str], None]) -> None: ...


class TelemetryService:
    """A sandbox's telemetry goes when it is destroyed. Taking it counts as no use of the sandbox."""

    def __init__(
        self,
        sandboxes: SandboxService,
        records: Records,
        source: Source,
        targets: TelemetryTargets,
        forwarder: Forwarder,
        folder: Path,
        figures: Figures,
        clock: Clock,
    ) -> None:
        self._sandboxes, self._records, self._source, self._clock = sandboxes, records, source, clock
        self.targets, self._forwarder = targets, forwarder
        self._files = TelemetryFiles(folder)
        self._reports = FigureReports(records, figures, self._collectors, forwarder, clock)
        self._reporting: asyncio.Task[None] | None = None
        self._turns, self._questions = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(ASKED_AT_ONCE)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()
        self._removals: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """After recovery: what sandboxes have that outlived an earlier server is taken as well."""
        live = {sandbox.id: sandbox for sandbox in self._records.all()}
        await asyncio.to_thread(self._files.prepare, frozenset(live))
        await self.targets.load()
        self._source.notices.listen(self.noticed)
        self._records.listen(self._changed)
        self._reporting = asyncio.get_running_loop().create_task(self._reports.run(), name="figures for collectors")
        for sandbox in live.values():
            if sandbox.state is SandboxState.RUNNING:
                self.noticed(sandbox.id)

    async def close(self) -> None:
        self._source.notices.listen(lambda _sandbox: None)
        tasks = [*self._tasks.values(), *([self._reporting] if self._reporting else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *self._removals, return_exceptions=True)
        await self._forwarder.close()

    # -- asking --------------------------------------------------------------------------------------------------------

    async def logs(self, principal: Principal, sandbox: str, query: TelemetryQuery) -> Page[LogRecord]:
        """SandboxNotFound, InvalidInput."""
        found = await self._asked(principal, sandbox, query)
        items, total = await asyncio.to_thread(self._files.logs, found.id, query)
        return Page(tuple(items), None, total)

    async def traces(self, principal: Principal, sandbox: str, query: TelemetryQuery) -> Page[Trace]:
        """SandboxNotFound, InvalidInput."""
        found = await self._asked(principal, sandbox, query)
        items, total = await asyncio.to_thread(self._files.traces, found.id, query)
        return Page(tuple(items), None, total)

    async def trace(self, principal: Principal, sandbox: str, trace_id: str) -> list[Span]:
        """Its spans, the first one first. SandboxNotFound; NotFound for a trace that is not known."""
        found = await self._fresh(principal, sandbox)
        spans = await asyncio.to_thread(self._files.spans, found.id, trace_id.lower())
        if not spans:
            raise NotFound(f"Trace {trace_id[:64]} not found")
        return spans

    def by_token(self, token: str) -> Sandbox | None:
        """The sandbox of this preview token, whoever's: for the operator's own collector."""
        wanted, found = token.encode("utf-8", "surrogatepass"), None
        for sandbox in self._records.all():
            if hmac.compare_digest(sandbox.preview_token.encode(), wanted) and not sandbox.doomed:
                found = sandbox
        return found

    async def _asked(self, principal: Principal, sandbox: str, query: TelemetryQuery) -> Sandbox:
        if query.until < query.since:
            raise InvalidInput("from: must not be later than to", field="from")
        if query.page < 1 or not 1 <= query.limit <= MAX_PAGE:
            raise InvalidInput(f"limit: 1 to {MAX_PAGE}, and pages from 1 on", field="limit")
        return await self._fresh(principal, sandbox)

    async def _fresh(self, principal: Principal, sandbox: str) -> Sandbox:
        """The sandbox, once what its programs have sent by now is kept, where that is soon."""
        found = await self._sandboxes.get(principal, sandbox)
        if found.state is SandboxState.RUNNING:
            self.noticed(found.id)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    while task := self._tasks.get(found.id):
                        await asyncio.wait({task})
        return found

    # -- taking --------------------------------------------------------------------------------------------------------

    def noticed(self, sandbox_id: str) -> None:
        """The sandbox has some: it is taken soon."""
        if sandbox_id in self._tasks:
            self._again.add(sandbox_id)
            return
        task = asyncio.get_running_loop().create_task(self._take(sandbox_id), name="telemetry")
        self._tasks[sandbox_id] = task
        task.add_done_callback(lambda done: self._taken(sandbox_id, done))

    def _taken(self, sandbox_id: str, task: "asyncio.Task[None]") -> None:
        del self._tasks[sandbox_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("telemetry_not_taken", sandbox=sandbox_id, error=str(error))
        again = sandbox_id in self._again
        self._again.discard(sandbox_id)
        if again and not task.cancelled():
            self.noticed(sandbox_id)

    async def _take(self, sandbox_id: str) -> None:
        kept = 0
        while True:
            try:
                async with self._questions, self._source.session(sandbox_id) as agent:
                    items = await agent.take_telemetry(kept)
            except (AgentUnavailable, InvalidState, GuestError):
                return  # It is at rest by now, or its agent is of an earlier version.
            except AgentTimeout:
                await asyncio.sleep(PENANCE)
                return
            if not items:
                return
            async with self._turns:
                await self._keep(sandbox_id, items)
            kept = items[-1].number
            await asyncio.sleep(max(LEAST_PAUSE, sum(len(item.body) for item in items) / RATE))

    async def _keep(self, sandbox_id: str, items: Sequence[Telemetry]) -> None:
        sandbox = self._records.cached(sandbox_id)
        if sandbox is None or sandbox.doomed:
            return
        now = nanoseconds(self._clock.now())
        exports = await asyncio.to_thread(self._store, sandbox_id, items, now)
        current = self._records.cached(sandbox_id)
        if current is None or current.state is SandboxState.DESTROYED:
            await asyncio.to_thread(self._files.remove, sandbox_id)
            return
        for owner, target in self._collectors(sandbox.team_id):
            for signal, export in exports:
                self._forwarder.hand_on(owner, Parcel(target, signal, attributed(export, marks_of(sandbox))))

    def _store(self, sandbox_id: str, items: Sequence[Telemetry], now: int) -> list[tuple[Signal, Export]]:
        """Blocking. What cannot be read, or has no place, is lost: the program that sent it is long gone."""
        exports: list[tuple[Signal, Export]] = []
        logs: list[LogRecord] = []
        spans: list[Span] = []
        for item in items:
            try:
                export = read(Signal(item.signal), item.media_type, item.encoding, item.body)
            except (Unreadable, ValueError):
                continue
            exports.append((Signal(item.signal), export))
            if isinstance(export, ExportLogsServiceRequest):
                logs += logs_of(export, now)
            elif isinstance(export, ExportTraceServiceRequest):
                spans += spans_of(export, now)
        try:
            if logs or spans:
                self._files.add(sandbox_id, logs, spans, now)
        except (sqlite3.Error, OSError) as error:
            log.warning("telemetry_not_kept", sandbox=sandbox_id, error=str(error))
        return exports

    def _collectors(self, team_id: str) -> Iterator[tuple[str | None, Target]]:
        for owner, target in ((team_id, self._target(team_id)), (None, self.targets.operators)):
            if target is not None:
                yield owner, target

    def _target(self, team_id: str) -> Target | None:
        try:
            return self.targets.of_team(team_id)
        except MoonpoolError as error:
            log.warning("telemetry_target_unreadable", team=team_id, error=error.message)
            return None

    def _changed(self, sandbox: Sandbox) -> None:
        if sandbox.state is SandboxState.DESTROYED:
            removal = asyncio.get_running_loop().create_task(asyncio.to_thread(self._files.remove, sandbox.id))
            self._removals.add(removal)
            removal.add_done_callback(self._removals.discard)
