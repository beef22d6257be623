"""What a team uses, summed up from one change to the next on the clock that never jumps."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from moonpool.hosts.model import Resources
from moonpool.metrics.model import TEAM_TIERS, Record, Usage
from moonpool.metrics.rings import slot_of
from moonpool.sandboxes.holdings import HAS_NO_DISK
from moonpool.sandboxes.model import Sandbox, SandboxState

RUNS = frozenset({SandboxState.RUNNING, SandboxState.PAUSING, SandboxState.STOPPING})
"""From when it can be used until its processes have ended."""
NO_USAGE = Usage()
DAY = 24 * 3600.0  # seconds


@dataclass(frozen=True)
class Reserved:
    """What a team holds at one moment; ``running`` counts sandboxes."""

    running: int = 0
    cpu: float = 0.0
    memory_mib: int = 0
    disk_mib: int = 0

    def __add__(self, other: "Reserved") -> "Reserved":
        return Reserved(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))

    def over(self, seconds: float) -> Usage:
        return Usage(
            running_seconds=self.running * seconds,
            cpu_seconds=self.cpu * seconds,
            memory_mib_seconds=self.memory_mib * seconds,
            disk_mib_seconds=self.disk_mib * seconds,
        )


def reserved_by(sandbox: Sandbox) -> Reserved:
    return reserved_in(sandbox.state, sandbox.resources)


def reserved_in(state: SandboxState | None, resources: Resources) -> Reserved:
    """What a sandbox of this size holds in a state; None: it is not there yet."""
    if state is None:
        return Reserved()
    disk = 0 if state in HAS_NO_DISK else resources.disk_mib
    if state not in RUNS:
        return Reserved(disk_mib=disk)
    return Reserved(1, resources.cpu, resources.memory_mib, disk)


def days_before(end: datetime, seconds: float) -> Iterator[tuple[date, float]]:
    """The last ``seconds`` before ``end``, cut at midnights (UTC)."""
    end = end.astimezone(UTC)
    day, room = end.date(), (end - end.replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds()
    while seconds > 0:
        if part := min(seconds, room):
            yield day, part
        seconds -= part
        day, room = day - timedelta(days=1), DAY


@dataclass
class Peak:
    """The most that there was in one step of a tier."""

    slot: int
    running: int
    cpu: float
    memory_mib: int

    def record(self, step: float) -> Record:
        return Record(self.slot * step, (self.running, self.cpu, self.memory_mib), held=False)


@dataclass
class TeamMeter:
    """``holdings`` by sandbox; what was used and is not written yet by day; the records of the team's course."""

    steady: float
    holdings: dict[str, Reserved] = field(default_factory=dict)
    unwritten: dict[date, Usage] = field(default_factory=dict)
    pending: dict[int, list[Record]] = field(default_factory=dict)
    now: Reserved = Reserved()
    _peaks: dict[int, Peak] = field(default_factory=dict)

    def hold(self, sandbox_id: str, reserved: Reserved | None, wall: datetime, steady: float) -> None:
        """From now on the sandbox holds this; None: it is gone."""
        if self.holdings.get(sandbox_id) == reserved:
            return
        self.advance(wall, steady)
        if reserved is None:
            self.holdings.pop(sandbox_id, None)
        else:
            self.holdings[sandbox_id] = reserved
        # Summed anew, so that fractions of cores do not add up to errors.
        self.now = sum(self.holdings.values(), Reserved())
        for peak in self._peaks.values():
            peak.running = max(peak.running, self.now.running)
            peak.cpu = max(peak.cpu, self.now.cpu)
            peak.memory_mib = max(peak.memory_mib, self.now.memory_mib)

    def advance(self, wall: datetime, steady: float) -> None:
        """Count what was held until now."""
        seconds, self.steady = max(0.0, steady - self.steady), max(self.steady, steady)
        for day, part in days_before(wall, seconds):
            self.add(day, self.now.over(part))
        for index, tier in enumerate(TEAM_TIERS):
            slot = slot_of(tier, wall.timestamp())
            peak = self._peaks.get(index)
            if peak is not None and peak.slot == slot:
                continue
            records = self.pending.setdefault(index, [])
            if peak is not None:
                records.append(peak.record(tier.step))
                if slot > peak.slot + 1:  # Nothing has changed in between.
                    at = (peak.slot + 1) * tier.step
                    records.append(Record(at, (self.now.running, self.now.cpu, self.now.memory_mib), held=True))
            self._peaks[index] = Peak(slot, self.now.running, self.now.cpu, self.now.memory_mib)

    def catch_up(self, reserved: Reserved, wall: datetime, seconds: float) -> None:
        """This was held for so long before, and nobody counted it."""
        for day, part in days_before(wall, seconds):
            self.add(day, reserved.over(part))

    def add(self, day: date, usage: Usage) -> None:
        if usage != NO_USAGE:
            self.unwritten[day] = self.unwritten.get(day, NO_USAGE) + usage

    def written(self, usages: dict[date, Usage]) -> None:
        """These are in the database now, and not to be written again."""
        for day, usage in usages.items():
            left = self.unwritten[day] - usage
            self.unwritten.pop(day)
            self.add(day, left)

    def unfinished(self, index: int) -> list[Record]:
        """The step of a tier that has not passed yet."""
        peak = self._peaks.get(index)
        return [] if peak is None else [peak.record(TEAM_TIERS[index].step)]

    def take(self) -> dict[int, list[Record]]:
        pending, self.pending = self.pending, {}
        return {index: records for index, records in pending.items() if records}
