"""What is kept of sandboxes and teams over time."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple, Protocol

from moonpool.hosts.model import MachineSample, Room


@dataclass(frozen=True)
class Tier:
    """``slots`` points, one for each ``step`` seconds."""

    step: float
    slots: int

    @property
    def span(self) -> float:
        """Seconds that it reaches back."""
        return self.step * self.slots


SANDBOX_TIERS = (Tier(0.5, 1200), Tier(30, 240), Tier(300, 288))
"""10 minutes, 2 hours, a day; the first as sampled, the others means."""
TEAM_TIERS = (Tier(10, 360), Tier(300, 288), Tier(3600, 720))
"""An hour, a day, 30 days; each point is the most that there was at one time in its step."""


class Record(NamedTuple):
    """``values`` as of ``at`` (seconds since 1970); ``held``: nothing changed from then on until the next record."""

    at: float
    values: tuple[float, ...]
    held: bool


@dataclass(frozen=True)
class SandboxPoint:
    """``at`` in seconds since 1970, ``cpu`` in cores, the rest in bytes; ``cache_bytes`` is file cache that is free for
    the taking, and not part of ``memory_bytes``. Disk is as of the file system's last commit, up to a minute ago."""

    at: float
    cpu: float
    memory_bytes: int
    cache_bytes: int
    disk_bytes: int


@dataclass(frozen=True)
class TeamPoint:
    """Running sandboxes with their cores and memory, at one moment or the most of a step; ``at`` as above."""

    at: float
    running: int
    cpu: float
    memory_mib: int


@dataclass(frozen=True)
class Usage:
    """Sums over time: ``cpu_seconds`` (core seconds) and ``memory_mib_seconds`` as reserved while running,
    ``disk_mib_seconds`` as reserved while there, ``cpu_used_seconds`` what programs really used."""

    running_seconds: float = 0.0
    cpu_seconds: float = 0.0
    memory_mib_seconds: float = 0.0
    disk_mib_seconds: float = 0.0
    cpu_used_seconds: float = 0.0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))

    def __sub__(self, other: "Usage") -> "Usage":
        return Usage(*(max(0.0, a - b) for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))


@dataclass(frozen=True)
class DayUsage:
    day: date
    usage: Usage


class Gauges(Protocol):
    """What a host tells of its sandboxes from outside, without waking any."""

    async def sample(self) -> Mapping[str, MachineSample]:
        """Of each that has run since it was sampled last; one that sleeps is sampled once more, and then left out."""
        ...

    async def disk_use(self, machine_ids: Collection[str]) -> Mapping[str, int]:
        """Bytes that each has written; those that cannot be told are left out."""
        ...

    async def room(self) -> Room:
        """What the machine has, and what of it is free."""
        ...
