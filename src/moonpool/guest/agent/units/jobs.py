"""What is to be started and stopped, and in which order: systemd's transactions."""

import asyncio
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from . import unit_files
from .unit import Unit

START, STOP, RESTART, RELOAD = "start", "stop", "restart", "reload"
STARTING = (START, RESTART)
STRONG = ("Requires", "BindsTo", "Requisite")
DEPENDENTS = ("Requires", "BindsTo", "PartOf", "Requisite")
numbers = itertools.count(1)


class Refused(Exception):
    """What was asked for cannot be begun; ``kind``: not-found, masked, bad-setting, cyclic, unsupported."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(eq=False)
class Job:
    """``done`` gets its result: done, failed, timeout, skipped, dependency, canceled."""

    unit: Unit
    kind: str
    essential: bool
    done: "asyncio.Future[str]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    task: "asyncio.Task[None] | None" = None
    running: bool = False
    id: int = field(default_factory=lambda: next(numbers))
    pulled: list[str] = field(default_factory=list)  # who cannot do without it

    @property
    def label(self) -> str:
        return f"{self.unit.name}/{self.kind}"


class Order:
    """Who waits for whom, by the files of all units that are known."""

    def __init__(self, units: Mapping[str, Unit]) -> None:
        self._units = units

    def after(self, unit: Unit, other: Unit) -> bool:
        """Whether ``unit`` starts only once ``other`` has started."""
        if other.name in unit.related("After") or unit.name in other.related("Before"):
            return True
        pulls = unit.name.endswith(".target") and other.name in unit.related("Wants", "Requires")
        return pulls and unit.name not in other.related("After")

    def waits(self, job: Job, other: Job) -> bool:
        """Whether the job has to wait for the other one."""
        if job.unit is other.unit:
            return other.id < job.id
        starts, others = job.kind in STARTING, other.kind in STARTING
        if job.kind == RELOAD or other.kind == RELOAD:
            return False
        if starts and others:
            return self.after(job.unit, other.unit)
        if not starts and not others:
            return self.after(other.unit, job.unit)
        ordered = self.after(job.unit, other.unit) or self.after(other.unit, job.unit)
        return ordered and starts

    def dependents(self, name: str, keys: Iterable[str]) -> Iterator[Unit]:
        for unit in list(self._units.values()):
            if name in unit.related(*keys):
                yield unit

    def cycle(self, jobs: list[Job]) -> list[Job]:
        """Jobs each of which waits for the next, and the last for the first; none where there is no such ring."""
        waiting = {job: [other for other in jobs if other is not job and self.waits(job, other)] for job in jobs}
        finished: set[Job] = set()
        for first in jobs:
            path: list[Job] = []
            stack: list[Iterator[Job]] = [iter([first])]
            while stack:
                following = next(stack[-1], None)
                if following is None:
                    stack.pop()
                    if path:
                        finished.add(path.pop())
                elif following in path:
                    return path[path.index(following) :]
                elif following not in finished:
                    path.append(following)
                    stack.append(iter(waiting[following]))
        return []


class Transaction:
    """All that one request means, before any of it is done."""

    def __init__(self, load: Callable[[str], Unit], order: Order) -> None:
        self._load, self._order = load, order
        self.jobs: dict[str, Job] = {}

    def add(self, name: str, kind: str) -> None:
        """Raises Refused."""
        self._add(self._load(name), kind, None)

    def _add(self, unit: Unit, kind: str, puller: Job | None, *, essential: bool = True) -> None:
        job = self.jobs.get(unit.name)
        if job is not None:
            job.essential = job.essential or essential
            if puller is not None and essential:
                job.pulled.append(puller.unit.name)
            return
        if kind in (*STARTING, RELOAD):
            check_loaded(unit)
        job = self.jobs[unit.name] = Job(unit, kind, essential)
        if puller is not None and essential:
            job.pulled.append(puller.unit.name)
        if kind in STARTING:
            self._add_needs(job)
        if kind in (STOP, RESTART):
            for other in self._order.dependents(unit.name, DEPENDENTS):
                if not other.at_rest:
                    self._add(other, kind, job)

    def _add_needs(self, job: Job) -> None:
        for name in job.unit.related("Requires", "BindsTo"):
            needed = self._load(name)
            if needed.load_state == "not-found" and unit_files.is_completed(name):
                continue
            check_loaded(needed)
            if not needed.is_active:
                self._add(needed, START, job, essential=job.essential)
        for name in job.unit.related("Wants"):
            wanted = self._load(name)
            if wanted.load_state == "loaded" and not wanted.is_active:
                self._try(wanted, job)
        for name in job.unit.related("Conflicts"):
            other = self._load(name)
            if not other.at_rest:
                self._add(other, STOP, job, essential=job.essential)

    def _try(self, unit: Unit, job: Job) -> None:
        """A unit that is wanted, as far as it can be had: what it cannot be had without is left out with it."""
        before = dict(self.jobs)
        try:
            self._add(unit, START, job, essential=False)
        except Refused:
            self.jobs = before

    def untangle(self, pending: list[Job], say: Callable[[str, str], None]) -> None:
        """Leave out what makes the order a ring, if nobody needs it; ``say`` tells a unit's journal. Raises Refused."""
        while True:
            ring = self._order.cycle([*pending, *self.jobs.values()])
            if not ring:
                return
            first = ring[0]
            say(first.unit.name, f"Found ordering cycle on {first.label}")
            for job in ring[1:]:
                say(first.unit.name, f"Found dependency on {job.label}")
            victim = next((job for job in ring if self.jobs.get(job.unit.name) is job and not job.essential), None)
            if victim is None:
                members = ", ".join(job.unit.name for job in ring)
                raise Refused(f"Transaction order is cyclic. See system logs for details. ({members})", "cyclic")
            say(victim.unit.name, f"Job {victim.label} deleted to break ordering cycle starting with {first.label}")
            self._leave_out(victim.unit.name)

    def _leave_out(self, name: str) -> None:
        job = self.jobs.pop(name, None)
        for other in list(self.jobs.values()) if job is not None else ():
            if name in other.unit.related(*STRONG):
                self._leave_out(other.unit.name)


def check_loaded(unit: Unit) -> None:
    """Raises Refused for a unit that cannot be started."""
    if unit.load_state == "loaded":
        return
    if unit.load_state == "masked":
        raise Refused(f"Unit {unit.name} is masked.", "masked")
    if unit.load_state == "bad-setting":
        raise Refused(f"Unit {unit.name} has a bad unit file setting. ({unit.load_error})", "bad-setting")
    if unit.load_state == "unsupported":
        raise Refused(f"Unit {unit.name} is of a kind that sandboxes do not have.", "unsupported")
    raise Refused(f"Unit {unit.name} not found.", "not-found")
