"""Who asks: teams, users, keys, and what a key may do."""

from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum


class Scope(StrEnum):
    """What a key may do; ``ADMIN`` contains every other."""

    SANDBOXES_READ = "sandboxes:read"
    SANDBOXES_WRITE = "sandboxes:write"
    SANDBOXES_DELETE = "sandboxes:delete"
    SNAPSHOTS_READ = "snapshots:read"
    SNAPSHOTS_WRITE = "snapshots:write"
    SNAPSHOTS_DELETE = "snapshots:delete"
    VOLUMES_READ = "volumes:read"
    VOLUMES_WRITE = "volumes:write"
    VOLUMES_DELETE = "volumes:delete"
    KEYS_READ = "keys:read"
    KEYS_WRITE = "keys:write"
    REGISTRIES_WRITE = "registries:write"
    REGISTRIES_DELETE = "registries:delete"
    REGIONS_WRITE = "regions:write"
    REGIONS_DELETE = "regions:delete"
    HOSTS_READ = "hosts:read"
    HOSTS_WRITE = "hosts:write"
    HOSTS_DELETE = "hosts:delete"
    AUDIT_READ = "audit:read"
    ADMIN = "admin"


ALL_SCOPES = frozenset({Scope.ADMIN})


class TeamRole(StrEnum):
    """What a member is in a team. Owners and admins may do everything in it; owners alone delete it and make owners;
    a plain member may do what the roles assigned to it allow."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"


MANAGERS = frozenset({TeamRole.OWNER, TeamRole.ADMIN})


@dataclass(frozen=True)
class Principal:
    """Who makes a request: every read and write is limited to ``team_id``, and to these ``sandboxes`` where they are
    named: then nothing else of the team's is there, and nothing new is made.

    ``role`` is the user's in that team; None where a token of another kind stands for a part of what somebody may do,
    and then nothing of the team itself can be changed. ``platform_admin``: of the whole server, beyond teams.
    """

    team_id: str
    user_id: str
    key_id: str | None
    scopes: frozenset[Scope]
    sandboxes: frozenset[str] | None = None
    role: TeamRole | None = None
    session_id: str | None = None
    platform_admin: bool = False

    def allows(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def sees(self, sandbox_id: str) -> bool:
        return self.sandboxes is None or sandbox_id in self.sandboxes


def bounded(scopes: frozenset[Scope], by: frozenset[Scope]) -> frozenset[Scope]:
    """What both allow."""
    if Scope.ADMIN in by:
        return scopes
    return by if Scope.ADMIN in scopes else scopes & by


class KeyOrigin(StrEnum):
    """``BOOTSTRAP`` keys come from MOONPOOL_API_KEY and change with it; ``CREATED`` ones were asked for."""

    BOOTSTRAP = "bootstrap"
    CREATED = "created"


@dataclass(frozen=True)
class ApiKey:
    """A key as it is stored: its secret is gone, ``prefix`` and ``suffix`` let a human recognise it."""

    id: str
    team_id: str
    user_id: str
    name: str
    prefix: str
    suffix: str
    scopes: frozenset[Scope]
    origin: KeyOrigin
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None

    @property
    def masked(self) -> str:
        return f"{self.prefix}{'*' * 16}{self.suffix}"


@dataclass(frozen=True)
class Grant:
    """What a key gives at the moment: no more than its maker may do in the team, which may change without the key."""

    key: ApiKey
    role: TeamRole
    scopes: frozenset[Scope]
    platform_admin: bool

    @property
    def principal(self) -> Principal:
        return Principal(
            self.key.team_id,
            self.key.user_id,
            self.key.id,
            self.scopes,
            role=self.role,
            platform_admin=self.platform_admin,
        )


@dataclass(frozen=True)
class NewApiKey:
    """A key just made: ``secret`` is shown once and cannot be had again."""

    key: ApiKey
    secret: str


@dataclass(frozen=True)
class KeyChange:
    """What an update changes of a key; None leaves a field as it is. ``expires_at`` counts with ``set_expiry`` alone,
    since there None means never."""

    name: str | None = None
    scopes: frozenset[Scope] | None = None
    expires_at: datetime | None = None
    set_expiry: bool = False


LimitFigure = float | int | None


@dataclass(frozen=True)
class TeamLimits:
    """None: no limit.

    ``cpu`` (cores), ``memory_mib`` and ``disk_mib`` bound one sandbox; the ``total_`` ones bound all of a team's
    together: cores and memory of those that run, disk of all that are not archived. ``sandboxes``, ``running``,
    ``snapshots`` and ``volumes`` count what there is at one time, ``registry_mib`` bounds the images that the team has
    pushed, ``warm`` the machines kept ready for it. The last ones are requests in an hour: of a team, of each of its
    keys, and those that create sandboxes or change their state.
    """

    cpu: float | None = None
    memory_mib: int | None = None
    disk_mib: int | None = None
    total_cpu: float | None = None
    total_memory_mib: int | None = None
    total_disk_mib: int | None = None
    sandboxes: int | None = None
    running: int | None = None
    snapshots: int | None = None
    volumes: int | None = None
    registry_mib: int | None = None
    warm: int | None = None
    requests_hourly: int | None = None
    key_requests_hourly: int | None = None
    creates_hourly: int | None = None
    changes_hourly: int | None = None

    @classmethod
    def of(cls, settings: object) -> "TeamLimits":
        """Of a team for which nothing else was set: each limit is a setting, ``max_`` and its name."""
        return cls(**{field.name: getattr(settings, f"max_{field.name}") for field in fields(cls)})


LIMIT_NAMES = tuple(field.name for field in fields(TeamLimits))
FRACTIONAL_LIMITS = frozenset({"cpu", "total_cpu"})
