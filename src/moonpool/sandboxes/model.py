"""The sandbox as the core knows it, its states, and the one table of legal transitions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from moonpool.archives.model import NO_BACKUP, Backup, BackupState
from moonpool.engine.images.oci import ImageConfig
from moonpool.guest.client import AgentClient
from moonpool.hosts.model import Mount, NetworkPolicy, Resources
from moonpool.volumes.model import WantedMount


class SandboxState(StrEnum):
    STARTING = "starting"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    RESUMING = "resuming"
    STOPPING = "stopping"
    STOPPED = "stopped"
    ARCHIVING = "archiving"
    ARCHIVED = "archived"
    RESTORING = "restoring"
    DESTROYING = "destroying"
    DESTROYED = "destroyed"
    ERROR = "error"


class DesiredState(StrEnum):
    """Where the last request wants the sandbox to be."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    ARCHIVED = "archived"
    DESTROYED = "destroyed"


OPEN_NETWORK = NetworkPolicy()

S = SandboxState

TRANSITIONS: Mapping[SandboxState, frozenset[SandboxState]] = {
    S.STARTING: frozenset({S.RUNNING, S.STOPPED, S.DESTROYING, S.ERROR}),
    S.RUNNING: frozenset({S.PAUSING, S.PAUSED, S.STOPPING, S.STOPPED, S.DESTROYING, S.ERROR}),
    S.PAUSING: frozenset({S.PAUSED, S.RUNNING, S.STOPPED, S.DESTROYING, S.ERROR}),
    S.PAUSED: frozenset({S.RESUMING, S.STOPPING, S.STOPPED, S.DESTROYING, S.ERROR}),
    S.RESUMING: frozenset({S.RUNNING, S.PAUSED, S.STOPPED, S.DESTROYING, S.ERROR}),
    S.STOPPING: frozenset({S.STOPPED, S.RUNNING, S.PAUSED, S.DESTROYING, S.ERROR}),
    S.STOPPED: frozenset({S.STARTING, S.ARCHIVING, S.DESTROYING, S.ERROR}),
    S.ARCHIVING: frozenset({S.ARCHIVED, S.STOPPED, S.DESTROYING, S.ERROR}),
    S.ARCHIVED: frozenset({S.RESTORING, S.DESTROYING, S.ERROR}),
    S.RESTORING: frozenset({S.STOPPED, S.RUNNING, S.ARCHIVED, S.DESTROYING, S.ERROR}),
    S.DESTROYING: frozenset({S.DESTROYED, S.ERROR}),
    S.DESTROYED: frozenset({S.STARTING}),
    S.ERROR: frozenset({S.STARTING, S.STOPPING, S.STOPPED, S.RESTORING, S.DESTROYING}),
}
"""Only what is ``recreatable`` comes back from ``destroyed``.

``running`` to ``paused`` or ``stopped`` without a step between is what recovery finds: nobody asked for it."""

AT_REST = frozenset({S.PAUSED, S.STOPPED, S.ARCHIVED, S.DESTROYED, S.ERROR})
"""No processes, and none to come unless somebody asks."""

TRANSITIONAL = frozenset(
    {S.STARTING, S.PAUSING, S.RESUMING, S.STOPPING, S.ARCHIVING, S.RESTORING, S.DESTROYING},
)


def is_legal(old: SandboxState, new: SandboxState) -> bool:
    return new in TRANSITIONS[old]


@dataclass(frozen=True)
class Timers:
    """All in seconds, None = never. The idle ones count from the last activity, the others from the last stop.

    ``idle_timeout`` and ``auto_pause`` keep the memory where it can be kept, ``auto_stop`` drops it. ``auto_delete`` 0
    deletes at the stop itself. ``ttl`` counts from the moment it is set, whatever the state. ``activity_bytes``: so
    many bytes over its network between two looks (``traffic.LOOK_EVERY``) are activity; None: traffic is none.
    """

    auto_stop: float | None = None
    auto_pause: float | None = None
    auto_archive: float | None = None
    auto_delete: float | None = None
    idle_timeout: float | None = None
    ttl: float | None = None
    activity_bytes: int | None = None


@dataclass(frozen=True)
class Sandbox:
    """One row. ``version`` grows with every write; ``expires_at`` is when ``timers.ttl`` ends it.

    ``dialect_data`` holds fields that only one dialect knows, under that dialect's name. ``preview_token`` is new at
    every start and kept over a pause; ``instance_id`` (20 characters ``[a-z0-9]``) is new at every start, resume and
    fork. ``config`` is that of the image it was made from, where there was one. ``forked_from`` is the id of the
    sandbox that it is a copy of, which may be gone by now.

    ``secrets``: by variable the ids of the team's secrets that programs get there; they come before ``env``.

    ``eviction_priority`` 0 to 10: when space runs out the server may destroy it while it is at rest, the lowest first;
    None: never. One that is ``recreatable`` can be made anew under its id after it was destroyed.
    """

    id: str
    team_id: str
    name: str
    state: SandboxState
    desired: DesiredState
    reason: str | None
    recoverable: bool
    snapshot: str
    image: str
    user: str
    env: Mapping[str, str]
    labels: Mapping[str, str]
    public: bool
    resources: Resources
    network: NetworkPolicy
    timers: Timers
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    stopped_at: datetime | None
    last_activity_at: datetime
    expires_at: datetime | None
    preview_token: str
    dialect_data: Mapping[str, Any]
    version: int
    instance_id: str
    forked_from: str | None = None
    backup: Backup = NO_BACKUP
    eviction_priority: int | None = None
    recreatable: bool = False
    mounts: tuple[Mount, ...] = ()
    config: ImageConfig | None = None
    secrets: Mapping[str, str] = field(default_factory=dict)

    @property
    def never_ran(self) -> bool:
        """Its disk, if there is one, may be half made."""
        return self.started_at is None

    @property
    def remade(self) -> bool:
        """A start makes its disk anew from its snapshot: nobody has ever written to it."""
        return self.never_ran and self.forked_from is None

    @property
    def doomed(self) -> bool:
        """Its destruction was asked for: its name is free, and only an id still leads to it."""
        return self.desired is DesiredState.DESTROYED

    @property
    def interrupted(self) -> bool:
        """A transfer of its disk was under way when its server ended."""
        return self.backup.state is BackupState.IN_PROGRESS

    @property
    def ephemeral(self) -> bool:
        return self.timers.auto_delete == 0


@dataclass(frozen=True)
class NewSandbox:
    """What a create asks for. None: the snapshot's, the dialect's or the server's default.

    ``name`` None becomes the id. ``snapshot`` is a name or an id; what memory it holds is resumed, with the volumes
    that were mounted then, unless ``memory`` is False. ``user`` None: the one of the snapshot's image, and
    ``usual_user`` where it was made from none. Resources are given each on its own; ``cpu`` in cores, the others in
    MiB. ``secrets`` are names, by variable. ``id`` is for dialects that must know it beforehand (see
    ``ids.new_sandbox_id``).
    """

    snapshot: str | None = None
    name: str | None = None
    user: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    public: bool = False
    cpu: float | None = None
    memory_mib: int | None = None
    disk_mib: int | None = None
    network: NetworkPolicy = OPEN_NETWORK
    timers: Timers = field(default_factory=Timers)
    dialect_data: Mapping[str, Any] = field(default_factory=dict)
    id: str | None = None
    memory: bool = True
    eviction_priority: int | None = None
    recreatable: bool = False
    mounts: tuple[WantedMount, ...] = ()
    usual_user: str = "root"
    secrets: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Fork:
    """One copy of a sandbox. None: as the source has it, but for ``id`` (a new one) and ``name`` (the id).

    Resources, network, user, volumes and snapshot are the source's.
    """

    id: str | None = None
    name: str | None = None
    timers: Timers | None = None
    labels: Mapping[str, str] | None = None
    env: Mapping[str, str] | None = None
    dialect_data: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class SandboxChange:
    """What an update changes; None leaves a field as it is. ``labels`` and ``env`` replace the whole mapping,
    ``dialect_data`` is merged key by key. Resources and network change live, the environment with the next start.
    ``renew_ttl`` counts ``timers.ttl`` from now even when it is the same as before.
    """

    name: str | None = None
    labels: Mapping[str, str] | None = None
    env: Mapping[str, str] | None = None
    public: bool | None = None
    timers: Timers | None = None
    renew_ttl: bool = False
    network: NetworkPolicy | None = None
    cpu: float | None = None
    memory_mib: int | None = None
    disk_mib: int | None = None
    dialect_data: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class AgentSession:
    """An open way into a running sandbox, for the length of one request or stream."""

    sandbox: Sandbox
    agent: AgentClient
