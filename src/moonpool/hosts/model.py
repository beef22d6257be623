"""What a host is asked for and what it tells: frozen data only, so that a host may one day be another machine."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from moonpool.engine import network
from moonpool.engine.gvisor.spec import SHARES

MEBIBYTE = 1024 * 1024
DEFAULT_PIDS = 1024  # processes and threads of one user inside; far more starve the agent itself


@dataclass(frozen=True)
class Resources:
    """Limits of a sandbox: ``cpu`` in cores (fractions allowed), memory and disk in MiB, ``pids`` processes inside."""

    cpu: float
    memory_mib: int
    disk_mib: int
    pids: int = DEFAULT_PIDS


@dataclass(frozen=True)
class NetworkPolicy:
    """``block_all`` closes everything; ``allow`` limits egress to these CIDRs (None: the open internet), ``domains`` to
    what these names lead to (``*.`` in front: every name below), and names to these alone. With both, both are open."""

    block_all: bool = False
    allow: tuple[str, ...] | None = None
    domains: tuple[str, ...] = ()

    def to_engine(self) -> network.NetworkPolicy:
        return network.NetworkPolicy(block_all=self.block_all, allow=self.allow, domains=self.domains)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "NetworkPolicy":
        """What ``dataclasses.asdict`` made, also before there were domains."""
        allow = document["allow"]
        domains = document.get("domains", ())
        return cls(document["block_all"], None if allow is None else tuple(allow), tuple(domains))


MAX_MOUNTS = SHARES  # volumes of one sandbox


@dataclass(frozen=True)
class Mount:
    """A volume, or the folder ``subpath`` of it, seen at ``path`` inside. ``slot`` (0 to ``MAX_MOUNTS`` - 1) is its own
    for as long as it is mounted: memory that is kept names it."""

    volume: str
    path: str
    subpath: str | None = None
    read_only: bool = False
    slot: int = 0


@dataclass(frozen=True)
class MachineSpec:
    """Everything a host needs to bring a sandbox up from its disk; the same for create, start and resume.

    ``group`` is the one that the user has ("": those that the image's files give it). ``workdir`` is where programs
    start that name no folder ("": the user's home). ``entrypoint`` is run in the
    background at each start from the disk.
    """

    id: str
    image: str
    resources: Resources
    hostname: str
    user: str = "root"
    group: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    network: NetworkPolicy = NetworkPolicy()
    mounts: tuple[Mount, ...] = ()
    workdir: str = ""
    entrypoint: tuple[str, ...] = ()


SNAPSHOT_IMAGE = "snapshots/"


def snapshot_image(snapshot_id: str) -> str:
    """The image of sandboxes that are made from a snapshot of a sandbox."""
    return f"{SNAPSHOT_IMAGE}{snapshot_id}"


def snapshot_of(image: str) -> str | None:
    """The inverse of ``snapshot_image``; None for an image that was built."""
    return image.removeprefix(SNAPSHOT_IMAGE) if image.startswith(SNAPSHOT_IMAGE) else None


LAYER_IMAGE = "layers/"


def layer_image(layer_id: str) -> str:
    """The image of machines that a build's step runs in."""
    return f"{LAYER_IMAGE}{layer_id}"


def layer_of(image: str) -> str | None:
    """The inverse of ``layer_image``; None for any other image."""
    return image.removeprefix(LAYER_IMAGE) if image.startswith(LAYER_IMAGE) else None


@dataclass(frozen=True)
class Captured:
    """What a new snapshot holds; ``size_bytes`` counts what its sandbox wrote, and its memory."""

    has_memory: bool
    size_bytes: int


@dataclass(frozen=True)
class Base:
    """What a stream of differences is relative to: its ``name`` in the pool, and ``uuid``, the very state of it."""

    name: str
    uuid: str


class MachineState(StrEnum):
    """What a host finds of a sandbox: processes (running), memory on disk (paused), or its disk alone (stopped)."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


class ExitReason(StrEnum):
    OUT_OF_MEMORY = "out of memory"
    CRASHED = "crashed"


@dataclass(frozen=True)
class MachineExit:
    """A sandbox's processes ended although nobody asked for it; its disk is kept."""

    id: str
    reason: ExitReason


@dataclass(frozen=True)
class MachineUsage:
    """Figures seen from outside: CPU time in microseconds since the processes started, the rest in bytes."""

    cpu_microseconds: int
    memory_bytes: int
    disk_bytes: int


@dataclass(frozen=True)
class MachineSample:
    """CPU time in microseconds since the processes started; memory without the file cache that is free for the taking,
    and that cache, in bytes. ``asleep``: nothing of it changes until it wakes."""

    cpu_microseconds: int
    memory_bytes: int
    cache_bytes: int
    asleep: bool


@dataclass(frozen=True)
class Room:
    """Bytes of the machine and of its disk pool."""

    disk_total: int
    disk_free: int
    memory_total: int
    memory_available: int


@dataclass(frozen=True)
class Readiness:
    """``ready`` when the warm pool is filled and a create needs not wait."""

    ready: bool
    warm: int
    target: int
    running: int
    asleep: int
