"""Volumes: what outlives sandboxes, and what several of them write to at once."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class VolumeState(StrEnum):
    CREATING = "creating"
    READY = "ready"
    DELETING = "deleting"
    DELETED = "deleted"
    ERROR = "error"


@dataclass(frozen=True)
class Volume:
    """``reason`` tells of the last failure; ``last_used_at`` when it was last mounted."""

    id: str
    team_id: str
    name: str
    state: VolumeState
    size_mib: int
    created_at: datetime
    updated_at: datetime
    last_used_at: datetime | None = None
    reason: str | None = None


@dataclass(frozen=True)
class WantedMount:
    """``volume`` is a name or an id; ``path`` an absolute one inside; ``subpath`` a folder of the volume (None: all of
    it), which is made where it is missing."""

    volume: str
    path: str
    subpath: str | None = None
    read_only: bool = False
