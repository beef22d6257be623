"""The host, what is kept ready on it, and what it is at."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from moonpool.sandboxes.placing import Placing
from moonpool.snapshots.model import Snapshot


class HostState(StrEnum):
    """``ready`` once its warm pool has been filled for the first time."""

    INITIALIZING = "initializing"
    READY = "ready"


@dataclass(frozen=True)
class HostLoad:
    """What all teams together have here: percentages of the machine, and what sandboxes that run have reserved (disk:
    all that are not archived). ``snapshots`` count general ones too."""

    cpu_percent: float
    memory_percent: float
    disk_percent: float
    allocated_cpu: float
    allocated_memory_mib: int
    allocated_disk_mib: int
    snapshots: int
    running: int

    @property
    def free_percent(self) -> float:
        """Of whatever is scarcest."""
        return max(0.0, 100 - max(self.cpu_percent, self.memory_percent, self.disk_percent))


@dataclass(frozen=True)
class HostRecord:
    """What is kept of a host: its switches and its tags."""

    placing: Placing
    tags: tuple[str, ...]
    updated_at: datetime


@dataclass(frozen=True)
class HostView:
    """``memory_bytes`` and ``disk_bytes`` are the machine's and the disk pool's. ``load`` is for operators alone."""

    id: str
    name: str
    architecture: str
    version: str
    state: HostState
    cpu: int
    memory_bytes: int
    disk_bytes: int
    placing: Placing
    tags: tuple[str, ...]
    since: datetime
    updated_at: datetime
    checked_at: datetime
    load: HostLoad | None


@dataclass(frozen=True)
class PoolRecord:
    """``size`` members are kept ready because of it."""

    id: str
    team_id: str
    snapshot_id: str
    snapshot_name: str
    size: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class Pool:
    """A pool with what it is for (None: that snapshot is gone) and how many of its members are ready."""

    record: PoolRecord
    snapshot: Snapshot | None
    ready: int


class JobKind(StrEnum):
    CREATE = "create"
    START = "start"
    RESUME = "resume"
    PAUSE = "pause"
    STOP = "stop"
    ARCHIVE = "archive"
    RESTORE = "restore"
    DESTROY = "destroy"
    BACK_UP = "back_up"
    BUILD = "build"


class JobState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True)
class Job:
    """``subject`` is the sandbox's id, of a build the snapshot's."""

    id: str
    kind: JobKind
    state: JobState
    subject: str
    created_at: datetime
    updated_at: datetime
    reason: str | None = None
