"""Domain events."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class EventType(StrEnum):
    SANDBOX_CREATED = "sandbox.created"
    SANDBOX_STATE_UPDATED = "sandbox.state.updated"
    SANDBOX_UPDATED = "sandbox.updated"
    SNAPSHOT_CREATED = "snapshot.created"
    SNAPSHOT_STATE_UPDATED = "snapshot.state.updated"
    SNAPSHOT_UPDATED = "snapshot.updated"
    SNAPSHOT_REMOVED = "snapshot.removed"
    VOLUME_CREATED = "volume.created"
    VOLUME_STATE_UPDATED = "volume.state.updated"


@dataclass(frozen=True)
class NewEvent:
    """An event to be written in the transaction of the change that it tells of."""

    team_id: str
    type: EventType
    subject_id: str
    data: Mapping[str, Any]
    created_at: datetime


@dataclass(frozen=True)
class Event:
    """``id`` grows with every commit, so "everything since id" has no gaps. ``data`` holds no secrets:
    for sandboxes ``name``, ``state``, ``old_state``, ``new_state``, ``reason``, ``recoverable``, ``cpu``,
    ``memory_mib``, ``disk_mib``; for snapshots ``name``, ``state``, ``old_state``, ``new_state``, ``has_memory``; for
    volumes the first four of these."""

    id: int
    team_id: str
    type: EventType
    subject_id: str
    data: Mapping[str, Any]
    created_at: datetime
