"""Snapshots: immutable, what sandboxes start from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from moonpool.engine.images.oci import ImageConfig
from moonpool.hosts.model import Mount, Resources

BASE_IMAGE = "base"
CODE_RUNNER_IMAGE = "code-runner"
DESKTOP_IMAGE = "desktop"
WORKSPACE_IMAGE = "workspace"
DEFAULT_SNAPSHOT = "daytona-small"


class SnapshotState(StrEnum):
    """``inactive``: kept, and nothing starts from it; ``error``: it could not be made, and its ``reason`` says why;
    ``removed``: a record alone, whose name is free."""

    BUILDING = "building"
    ACTIVE = "active"
    INACTIVE = "inactive"
    ERROR = "error"
    REMOVING = "removing"
    REMOVED = "removed"


UNREADY: Mapping[SnapshotState, str] = {
    SnapshotState.BUILDING: "Wait until it is made.",
    SnapshotState.INACTIVE: "Activate it first.",
    SnapshotState.ERROR: "It could not be made: delete it and make it anew.",
}
"""What to do before something can start from a snapshot in that state."""


@dataclass(frozen=True)
class Snapshot:
    """``team_id`` None: there for every team. ``resources`` are what a sandbox gets when it asks for nothing else.

    One that was taken of a sandbox names it in ``source_sandbox_id`` and its user in ``user``. With ``has_memory``
    the sandboxes made from it go on where that one was, with the volumes of ``mounts``. ``config`` is that of the
    image it was made from, where there was one: sandboxes have its environment, folder and user, and run its command.
    ``dialect_data`` holds each dialect's own fields under its name. ``reason`` says why it could not be made, or was
    removed by itself. ``eviction_priority`` 0 to 10: the server may remove it when space runs out, the lowest first;
    None: never. A removed one was removed at ``updated_at``.
    """

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
    has_memory: bool = False
    source_sandbox_id: str | None = None
    user: str | None = None
    reason: str | None = None
    config: ImageConfig | None = None
    dialect_data: Mapping[str, Any] = field(default_factory=dict)
    eviction_priority: int | None = None
    mounts: tuple[Mount, ...] = ()

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
    """``page`` counts from 1; ``name`` matches anywhere in the name, whatever its case. Records of removed ones are
    shown only with ``include_removed``."""

    name: str | None = None
    sort: SnapshotSort = SnapshotSort.LAST_USED_AT
    descending: bool = True
    page: int = 1
    limit: int = 100
    include_removed: bool = False
