"""One sandbox's figures between two writes: the samples as they are, and the means of longer steps."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from moonpool.hosts.model import MachineSample
from moonpool.metrics.model import SANDBOX_TIERS, Record, Tier
from moonpool.metrics.rings import slot_of

WIDTH = 4  # cores, bytes of memory, of cache, of disk
STEP = SANDBOX_TIERS[0].step


@dataclass
class Mean:
    """What was seen in one step of a tier, from ``began`` on, up to ``seen``."""

    slot: int
    began: float
    seen: float
    cpu_seconds: float = 0.0
    memory: float = 0.0
    cache: float = 0.0
    samples: int = 0


@dataclass
class Course:
    """From when it began to run until it ends. While it sleeps nobody asks, since nothing changes: the last record is
    held. Times are ``wall`` (seconds since 1970, what records carry) and ``steady`` (what elapsed is measured with)."""

    began: float
    resumed: bool = False
    """Its newest records before are of an earlier run, and hold no longer."""
    disk_bytes: int | None = None
    asleep: bool = False
    ended: bool = False
    pending: dict[int, list[Record]] = field(default_factory=dict)
    _cpu: int | None = None
    _steady: float = 0.0
    _memory: tuple[float, float] = (0.0, 0.0)
    _means: dict[int, Mean] = field(default_factory=dict)

    def see(self, sample: MachineSample, wall: float, steady: float) -> float:
        """Core seconds used since the last sample. The first one only tells from where on to count, unless the sandbox
        sleeps: then it uses nothing."""
        used, elapsed = 0.0, STEP
        if self._cpu is not None:
            used = max(0, sample.cpu_microseconds - self._cpu) / 1e6
            # What woke up has used it since, and that was at most a step ago.
            elapsed = min(steady - self._steady, STEP) if self.asleep else steady - self._steady
        self._memory = (sample.memory_bytes, sample.cache_bytes)
        if (self._cpu is not None and elapsed > 0) or sample.asleep:
            self._add(0, self._record(wall, used / max(elapsed, STEP / 10), held=sample.asleep))
            for index, tier in enumerate(SANDBOX_TIERS[1:], 1):
                self._collect(index, tier, wall, used)
        self._cpu, self._steady, self.asleep = sample.cpu_microseconds, steady, sample.asleep
        return used

    def close_steps(self, wall: float) -> None:
        """Write what lies behind: a step that has passed has its mean."""
        for index, mean in list(self._means.items()):
            if mean.slot != slot_of(SANDBOX_TIERS[index], wall):
                self._close(index, mean, wall)

    def end(self, wall: float) -> None:
        """It does not run any longer, and nothing of it holds."""
        for index, tier in enumerate(SANDBOX_TIERS):
            if mean := self._means.get(index):
                self._close(index, mean, wall, last=True)
            if self.asleep and not (mean and mean.slot == slot_of(tier, wall)):
                self._add(index, self._record(wall if index == 0 else slot_of(tier, wall) * tier.step, 0.0))
        self.asleep, self.ended = False, True

    def again(self, wall: float) -> "Course":
        """The next run; what is still to be written goes with it."""
        return Course(wall, resumed=self.resumed, disk_bytes=self.disk_bytes, pending=self.pending)

    def unfinished(self, index: int, wall: float) -> Sequence[Record]:
        """The step of a tier that has not passed yet, as far as it has been seen."""
        mean = self._means.get(index)
        return () if mean is None else (self._mean_of(index, mean, wall, held=self.asleep),)

    def latest(self, wall: float) -> Record | None:
        """Of the half minute that has begun; None where it does not run, or has not been seen yet."""
        if self.ended or self._cpu is None:
            return None
        mean = self._means.get(1)
        return self._record(wall, 0.0) if self.asleep or mean is None else self._mean_of(1, mean, wall, held=False)

    @property
    def seen(self) -> bool:
        """It has run long enough to have figures."""
        return bool(self._means) or self.ended

    @property
    def written(self) -> bool:
        """It is over, and nothing is left to be written."""
        return self.ended and not self.pending

    def take_resumed(self) -> bool:
        resumed, self.resumed = self.resumed, False
        return resumed

    def take(self) -> dict[int, list[Record]]:
        """What is to be written now."""
        pending, self.pending = self.pending, {}
        return pending

    def _collect(self, index: int, tier: Tier, wall: float, used: float) -> None:
        mean = self._means.get(index)
        if mean is None or mean.slot != slot_of(tier, wall):
            if mean is not None:
                self._close(index, mean, wall)
            slot = slot_of(tier, wall)
            mean = self._means[index] = Mean(slot, max(min(self.began, wall), slot * tier.step), wall)
        mean.cpu_seconds += used
        mean.memory += self._memory[0]
        mean.cache += self._memory[1]
        mean.samples += 1
        mean.seen = wall

    def _close(self, index: int, mean: Mean, wall: float, *, last: bool = False) -> None:
        del self._means[index]
        self._add(index, self._mean_of(index, mean, wall, held=self.asleep and not last))

    def _mean_of(self, index: int, mean: Mean, wall: float, *, held: bool) -> Record:
        start, step = mean.slot * SANDBOX_TIERS[index].step, SANDBOX_TIERS[index].step
        # The clock may have been set back since, even to before it began.
        seconds = max(min(start + step, max(wall, mean.seen)) - mean.began, STEP)
        values = (mean.cpu_seconds / seconds, mean.memory / mean.samples, mean.cache / mean.samples)
        return Record(start, (*values, float(self.disk_bytes or 0)), held)

    def _record(self, at: float, cpu: float, *, held: bool = False) -> Record:
        return Record(at, (cpu, *self._memory, float(self.disk_bytes or 0)), held)

    def _add(self, index: int, record: Record) -> None:
        self.pending.setdefault(index, []).append(record)
