"""Snapshots: immutable, what sandboxes start from."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from moonpool.hosts.model import Resources

BASE_IMAGE = "base"
DEFAULT_SNAPSHOT = "daytona-small"


class SnapshotState(StrEnum):
    ACTIVE = "active"


@dataclass(frozen=True)
class Snapshot:
    """``team_id`` None: there for every team. ``resources`` are what a sandbox gets when it asks for nothing else."""

    id: str
    team_id: str | None
    name: str
    state: SnapshotState
    image: str
    resources: Resources
    size_bytes: int | None
    created_at: datetime
    updated_at: datetime
    last_used_at: datetime | None

    @property
    def general(self) -> bool:
        return self.team_id is None


class SnapshotSort(StrEnum):
    NAME = "name"
    STATE = "state"
    CREATED_AT = "created_at"
    LAST_USED_AT = "last_used_at"


@dataclass(frozen=True)
class SnapshotQuery:
    """``page`` counts from 1; ``name`` matches anywhere in the name, whatever its case."""

    name: str | None = None
    sort: SnapshotSort = SnapshotSort.LAST_USED_AT
    descending: bool = True
    page: int = 1
    limit: int = 100
