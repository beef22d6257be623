"""Use cases of metrics: figures of sandboxes and teams over time, and what teams used."""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any, TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError

from moonpool.access.model import Principal, Scope
from moonpool.access.service import AccessService
from moonpool.clock import Clock
from moonpool.errors import EngineError, InvalidInput, NoCapacity
from moonpool.metrics.metering import NO_USAGE, TeamMeter, reserved_by
from moonpool.metrics.model import (
    SANDBOX_TIERS,
    TEAM_TIERS,
    DayUsage,
    Gauges,
    Record,
    SandboxPoint,
    TeamPoint,
    Tier,
    Usage,
)
from moonpool.metrics.replay import held_between
from moonpool.metrics.repository import Accrued, UsageRepository
from moonpool.metrics.rings import Rings, filled
from moonpool.metrics.sampling import STEP, WIDTH, Course
from moonpool.sandboxes.model import Sandbox, SandboxState
from moonpool.sandboxes.records import Records
from moonpool.sandboxes.service import SandboxService
from moonpool.store.database import Store

FIRST_WINDOW = 0.2  # seconds
FLUSH_EVERY = 30.0  # seconds: what a killed server may lose of figures that are measured
SEEN = frozenset({SandboxState.RUNNING, SandboxState.PAUSING})
CATCH_UP = timedelta(days=31)  # of disk, for a server that was off for longer
LATE = 5.0  # seconds
MAX_DAYS = 366  # of one question
BOOT = Path("/proc/sys/kernel/random/boot_id")

log = structlog.get_logger(__name__)
Pending = Mapping[int, Sequence[Record]]
"""Records by the index of their tier."""
Job = tuple[str, bool, Pending]
"""A sandbox's records to be written, and whether what was written before does not hold any longer."""
Result = TypeVar("Result")


class MetricsService:
    """Samples what is awake every half second, from outside, and sums up what teams reserve at each change of state.

    Samples and the teams' courses go to rings in files, usage to the database, both every ``FLUSH_EVERY`` seconds and
    at the end. A sandbox that sleeps, and a server at rest, cost nothing but the look whether anything is awake.
    """

    def __init__(
        self,
        store: Store,
        access: AccessService,
        sandboxes: SandboxService,
        records: Records,
        gauges: Gauges,
        folder: Path,
        clock: Clock,
        *,
        boot: Callable[[], str] = BOOT.read_text,
    ) -> None:
        self._store = store
        self._access = access
        self._sandboxes = sandboxes
        self._records = records
        self._gauges = gauges
        self._clock = clock
        self._boot = boot
        self._repository = UsageRepository()
        self._rings = Rings(folder / "sandboxes", SANDBOX_TIERS, WIDTH)
        self._team_rings = Rings(folder / "teams", TEAM_TIERS, 3)
        self._courses: dict[str, Course] = {}
        self._meters: dict[str, TeamMeter] = {}
        self._gone: set[str] = set()
        self.cpu_used_seconds = 0.0
        """By all sandboxes since this start."""
        self._writing = asyncio.Lock()
        self._ticker: asyncio.Task[None] | None = None

    async def look_back(self) -> None:
        """Count what the last server had not written when it was killed. Before recovery, whose changes are no end of
        what they find: nobody knows when that ended."""
        async with self._store.reading() as connection:
            accrued = await self._repository.accrued(connection)
            if accrued is None:
                return
            changes = await self._repository.changes(connection, accrued.until)
        for held in held_between(changes, accrued.until, self._unseen(accrued)):
            self._meter(held.team_id).catch_up(held.reserved, held.end, held.seconds)

    async def start(self) -> None:
        """Count what went on while no server looked, and follow the sandboxes from now on, until ``close``.
        After recovery."""
        async with self._store.reading() as connection:
            accrued = await self._repository.accrued(connection)
        known = {sandbox.id for sandbox in self._records.all()}
        await asyncio.to_thread(self._prepare, known)
        for sandbox in self._records.all():
            self._take_over(sandbox, accrued)
        await self.flush()
        self._records.listen(self._changed)
        self._ticker = asyncio.get_running_loop().create_task(self._tick(), name="metrics")

    async def close(self) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticker
        await self.flush()

    # -- reading -------------------------------------------------------------------------------------------------------

    async def sandbox(
        self, principal: Principal, sandbox: str, since: float, until: float | None = None
    ) -> list[SandboxPoint]:
        """Points between two moments (seconds since 1970; until now), as fine as they are kept for as long as ``since``
        lies back, none for times at which it did not run. SandboxNotFound. Wakes nothing and counts as no use."""
        found = await self._sandboxes.get(principal, sandbox)
        course = self._courses.get(found.id)
        if course is not None and not course.seen:
            await self._look_twice()
        now = self._clock.now().timestamp()
        index = tier_for(SANDBOX_TIERS, now - since)
        async with self._writing:
            jobs = [] if course is None else jobs_of({found.id: course})
            records = await self._in_thread(self._exchange, found.id, jobs, index) or []
        if course is not None:
            records = [*records, *course.unfinished(index, now)]
        until = now if until is None else min(until, now)
        points = filled(
            records,
            SANDBOX_TIERS[index],
            since,
            until,
            goes_on=course is not None and course.asleep,
            at_rest=lambda record: record._replace(values=(0.0, *record.values[1:])),
        )
        return [sandbox_point(record) for record in points]

    def latest(self, sandbox_id: str) -> SandboxPoint | None:
        """For the server itself, from memory: the figures of the half minute that has begun, where it runs."""
        course, wall = self._courses.get(sandbox_id), self._clock.now().timestamp()
        record = None if course is None else course.latest(wall)
        return None if record is None else sandbox_point(record._replace(at=wall))

    def now(self, principal: Principal) -> TeamPoint:
        """What the team runs at this moment."""
        self._access.require(principal, Scope.SANDBOXES_READ)
        meter = self._meters.get(principal.team_id)
        at = self._clock.now().timestamp()
        return TeamPoint(at, 0, 0, 0) if meter is None else TeamPoint(at, *list(vars(meter.now).values())[:3])

    async def team(self, principal: Principal, seconds: float) -> list[TeamPoint]:
        """The team's course over the last ``seconds``, at most 30 days."""
        self._access.require(principal, Scope.SANDBOXES_READ)
        now = self._clock.now().timestamp()
        index, team_id = tier_for(TEAM_TIERS, seconds), principal.team_id
        meter = self._meter(team_id)
        meter.advance(self._clock.now(), self._clock.monotonic())
        async with self._writing:
            records = await self._in_thread(self._exchange_team, team_id, meter.take(), index) or []
        records = [*records, *meter.unfinished(index)]
        tier = TEAM_TIERS[index]
        points = filled(records, tier, now - seconds - tier.step, now, goes_on=False)
        return [team_point(record) for record in points]

    async def peak(self, principal: Principal) -> TeamPoint:
        """The most of each that there was at one time within 30 days."""
        points = await self.team(principal, TEAM_TIERS[-1].span)
        return TeamPoint(
            at=points[0].at if points else 0.0,
            running=max((point.running for point in points), default=0),
            cpu=max((point.cpu for point in points), default=0.0),
            memory_mib=max((point.memory_mib for point in points), default=0),
        )

    async def usage(self, principal: Principal, first: date, last: date) -> list[DayUsage]:
        """What the team used on each of these days (UTC), both included, up to this moment. InvalidInput."""
        self._access.require(principal, Scope.SANDBOXES_READ)
        if last < first:
            raise InvalidInput("The last day comes before the first", field="to")
        if (last - first).days >= MAX_DAYS:
            raise InvalidInput(f"At most {MAX_DAYS} days at once", field="from")
        meter = self._meter(principal.team_id)
        async with self._writing:  # Nothing is counted twice while it goes from here to there.
            async with self._store.reading() as connection:
                written = await self._repository.days(connection, principal.team_id, first, last)
            meter.advance(self._clock.now(), self._clock.monotonic())
            found = {one.day: one.usage for one in written}
            for day, usage in meter.unwritten.items():
                found[day] = found.get(day, NO_USAGE) + usage
        days = (first + timedelta(days=number) for number in range((last - first).days + 1))
        return [DayUsage(day, found.get(day, NO_USAGE)) for day in days]

    # -- the clock -----------------------------------------------------------------------------------------------------

    async def sample(self) -> None:
        """One look at what is awake."""
        samples = await self._gauges.sample()
        wall, steady = self._clock.now(), self._clock.monotonic()
        unknown: list[str] = []
        for sandbox_id, sample in samples.items():
            course, sandbox = self._courses.get(sandbox_id), self._records.cached(sandbox_id)
            if course is None or sandbox is None:
                continue
            used = course.see(sample, wall.timestamp(), steady)
            self.cpu_used_seconds += used
            self._meter(sandbox.team_id).add(wall.date(), Usage(cpu_used_seconds=used))
            if course.disk_bytes is None:
                unknown.append(sandbox_id)
        if unknown:
            await self._measure_disks(unknown)

    async def _look_twice(self) -> None:
        """For what has only just begun to run: figures at once, of a moment instead of half a second."""
        await self.sample()
        await asyncio.sleep(FIRST_WINDOW)
        await self.sample()

    async def flush(self) -> None:
        """Write what is only in memory. What cannot be written is tried again, or, of samples, dropped."""
        async with self._writing:
            wall, steady = self._clock.now(), self._clock.monotonic()
            awake = [sandbox_id for sandbox_id, course in self._courses.items() if course.pending]
            await self._measure_disks(awake)
            for course in self._courses.values():
                course.close_steps(wall.timestamp())
            for meter in self._meters.values():
                meter.advance(wall, steady)
            # Taken now: what is counted while files are written comes after the moment that this one is for.
            usages = {team_id: dict(meter.unwritten) for team_id, meter in self._meters.items() if meter.unwritten}
            teams = {team_id: pending for team_id, meter in self._meters.items() if (pending := meter.take())}
            gone, self._gone = self._gone, set()
            await self._in_thread(self._write_all, jobs_of(self._courses), teams, gone)
            self._courses = {name: course for name, course in self._courses.items() if not course.written}
            await self._write_usage(usages, Accrued(wall, steady, self._boot().strip()))

    async def _tick(self) -> None:
        next_flush = self._clock.monotonic() + FLUSH_EVERY
        while True:
            try:
                await self.sample()
                if self._clock.monotonic() >= next_flush:
                    await self.flush()
                    next_flush = self._clock.monotonic() + FLUSH_EVERY
            except (EngineError, OSError) as error:
                log.warning("metrics_not_sampled", error=str(error))
            await asyncio.sleep(STEP)

    # -- following the sandboxes ---------------------------------------------------------------------------------------

    def _changed(self, sandbox: Sandbox) -> None:
        wall, steady = self._clock.now(), self._clock.monotonic()
        gone = sandbox.state is SandboxState.DESTROYED
        self._meter(sandbox.team_id).hold(sandbox.id, None if gone else reserved_by(sandbox), wall, steady)
        course = self._courses.get(sandbox.id)
        self._gone.discard(sandbox.id)  # It may be one that is made anew.
        if gone:
            self._courses.pop(sandbox.id, None)
            self._gone.add(sandbox.id)
        elif sandbox.state is SandboxState.RUNNING and course is None:
            self._courses[sandbox.id] = Course(wall.timestamp(), resumed=True)
        elif sandbox.state is SandboxState.RUNNING and course is not None and course.ended:
            self._courses[sandbox.id] = course.again(wall.timestamp())
        elif course is not None and not course.ended and sandbox.state not in SEEN:
            course.end(wall.timestamp())

    def _take_over(self, sandbox: Sandbox, accrued: Accrued | None) -> None:
        """What is there at the start: it has held what it holds since its last change, or since it was last counted."""
        wall, steady = self._clock.now(), self._clock.monotonic()
        meter, reserved = self._meter(sandbox.team_id), reserved_by(sandbox)
        meter.hold(sandbox.id, reserved, wall, steady)
        changed = accrued is None or sandbox.updated_at > accrued.until
        if sandbox.state is SandboxState.RUNNING:
            self._courses[sandbox.id] = Course(wall.timestamp(), resumed=changed)
        if accrued is None:
            return
        unseen = self._unseen(accrued)
        since_change = (wall - sandbox.updated_at).total_seconds() if changed else unseen
        meter.catch_up(reserved, wall, max(0.0, min(unseen, since_change)))

    def _unseen(self, accrued: Accrued) -> float:
        """Seconds since the last count."""
        same_boot = accrued.boot == self._boot().strip()
        seconds = self._clock.monotonic() - accrued.monotonic
        if not same_boot:
            seconds = (self._clock.now() - accrued.until).total_seconds()
        return min(max(0.0, seconds), CATCH_UP.total_seconds())

    def _meter(self, team_id: str) -> TeamMeter:
        meter = self._meters.get(team_id)
        if meter is None:
            meter = self._meters[team_id] = TeamMeter(self._clock.monotonic())
            meter.advance(self._clock.now(), self._clock.monotonic())
        return meter

    # -- writing -------------------------------------------------------------------------------------------------------

    def _prepare(self, known: set[str]) -> None:
        """Blocking. What is no sandbox's any more goes; what was held over a time that nobody saw does not hold."""
        self._rings.open()
        self._team_rings.open()
        for name in set(self._rings.names()) - known:
            self._rings.remove(name)
        for name in self._team_rings.names():
            self._team_rings.release(name)

    def _exchange(self, sandbox_id: str, jobs: Sequence[Job], index: int) -> list[Record]:
        """Blocking. Everything of one tier, after what was still to be written."""
        self._write_courses(jobs)
        return self._rings.read(sandbox_id, index)

    def _exchange_team(self, team_id: str, pending: Pending, index: int) -> list[Record]:
        if pending:
            self._team_rings.write(team_id, pending)
        return self._team_rings.read(team_id, index)

    def _write_all(self, jobs: Sequence[Job], teams: Mapping[str, Pending], gone: Collection[str]) -> None:
        self._write_courses(jobs)
        for team_id, pending in teams.items():
            self._team_rings.write(team_id, pending)
        for sandbox_id in gone:
            self._rings.remove(sandbox_id)

    def _write_courses(self, jobs: Sequence[Job]) -> None:
        for sandbox_id, resumed, pending in jobs:
            if resumed:
                self._rings.release(sandbox_id)
            if pending:
                self._rings.write(sandbox_id, pending)

    async def _in_thread(self, work: Callable[..., Result], *args: Any) -> Result | None:
        """None where the files cannot be used: figures are missing then, and nothing else is."""
        try:
            return await asyncio.to_thread(work, *args)
        except OSError as error:
            log.warning("metrics_not_written", error=str(error))
            return None

    async def _measure_disks(self, sandbox_ids: Sequence[str]) -> None:
        if not sandbox_ids:
            return
        for sandbox_id, used in (await self._gauges.disk_use(sandbox_ids)).items():
            if course := self._courses.get(sandbox_id):
                course.disk_bytes = used

    async def _write_usage(self, usages: Mapping[str, dict[date, Usage]], accrued: Accrued) -> None:
        def written() -> None:
            for team_id, usage in usages.items():
                self._meters[team_id].written(usage)

        try:
            async with self._store.transaction() as transaction:
                transaction.after_commit(written)
                for team_id, usage in usages.items():
                    await self._repository.add(transaction, team_id, usage)
                await self._repository.set_accrued(transaction, accrued)
        except (SQLAlchemyError, NoCapacity) as error:
            log.warning("usage_not_written", error=type(error).__name__)


def jobs_of(courses: Mapping[str, Course]) -> list[Job]:
    """Taken in the event loop, since it is there that records are added."""
    jobs = [(sandbox_id, course.take_resumed(), course.take()) for sandbox_id, course in courses.items()]
    return [job for job in jobs if job[1] or job[2]]


def tier_for(tiers: Sequence[Tier], seconds: float) -> int:
    """The index of the finest that reaches back so far; the moment at which somebody asks is a little later than the
    one they reckoned with."""
    enough = (index for index, tier in enumerate(tiers) if seconds <= tier.span + LATE)
    return next(enough, len(tiers) - 1)


def team_point(record: Record) -> TeamPoint:
    running, cpu, memory = record.values
    return TeamPoint(record.at, int(running), cpu, int(memory))


def sandbox_point(record: Record) -> SandboxPoint:
    cpu, memory, cache, disk = record.values
    return SandboxPoint(record.at, cpu, int(memory), int(cache), int(disk))
