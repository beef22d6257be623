"""Moonpool's words and Daytona's, both ways, as tables."""

import math
from collections.abc import Iterable, Mapping
from http import HTTPStatus

from moonpool import errors
from moonpool.access.model import Scope
from moonpool.archives.model import BackupState
from moonpool.dialects.daytona import schemas
from moonpool.dialects.daytona.extensions import SandboxDesiredState as WireDesired
from moonpool.dialects.daytona.extensions import SandboxState as WireState
from moonpool.sandboxes.model import DesiredState, Sandbox, SandboxState
from moonpool.sandboxes.query import SandboxSort
from moonpool.snapshots.model import Snapshot, SnapshotSort, SnapshotState

DIALECT = "daytona"  # the name of this dialect's own fields in a sandbox
BUILD = "build"  # the field that names the snapshot a sandbox waits for
DEFAULT_USER = "daytona"
MEBIBYTES_PER_GIBIBYTE = 1024
SECONDS_PER_MINUTE = 60

DEFAULT_AUTO_STOP = 15  # minutes
DEFAULT_AUTO_ARCHIVE = 7 * 24 * 60  # minutes
MAX_AUTO_ARCHIVE = 30 * 24 * 60  # minutes; also what 0 means
NEVER_DELETE = -1

# -- states ------------------------------------------------------------------------------------------------------------

STATES: Mapping[SandboxState, WireState] = {
    SandboxState.STARTING: WireState.STARTING,
    SandboxState.RUNNING: WireState.STARTED,
    SandboxState.PAUSING: WireState.PAUSING,
    SandboxState.PAUSED: WireState.PAUSED,
    SandboxState.RESUMING: WireState.RESUMING,
    SandboxState.STOPPING: WireState.STOPPING,
    SandboxState.STOPPED: WireState.STOPPED,
    SandboxState.ARCHIVING: WireState.ARCHIVING,
    SandboxState.ARCHIVED: WireState.ARCHIVED,
    SandboxState.RESTORING: WireState.RESTORING,
    SandboxState.DESTROYING: WireState.DESTROYING,
    SandboxState.DESTROYED: WireState.DESTROYED,
    SandboxState.ERROR: WireState.ERROR,
}
STATES_ASKED_FOR: Mapping[WireState, SandboxState] = {wire: ours for ours, wire in STATES.items()} | {
    WireState.CREATING: SandboxState.STARTING
}
DESIRED_STATES: Mapping[DesiredState, WireDesired] = {
    DesiredState.RUNNING: WireDesired.STARTED,
    DesiredState.PAUSED: WireDesired.PAUSED,
    DesiredState.STOPPED: WireDesired.STOPPED,
    DesiredState.ARCHIVED: WireDesired.ARCHIVED,
    DesiredState.DESTROYED: WireDesired.DESTROYED,
}
BACKUP_STATES: Mapping[BackupState, schemas.BackupState] = {
    BackupState.NONE: schemas.BackupState.None_,
    BackupState.IN_PROGRESS: schemas.BackupState.InProgress,
    BackupState.COMPLETED: schemas.BackupState.Completed,
    BackupState.FAILED: schemas.BackupState.Error,
}
SNAPSHOT_STATES: Mapping[SnapshotState, schemas.SnapshotState] = {
    SnapshotState.BUILDING: schemas.SnapshotState.building,
    SnapshotState.ACTIVE: schemas.SnapshotState.active,
    SnapshotState.INACTIVE: schemas.SnapshotState.inactive,
    SnapshotState.ERROR: schemas.SnapshotState.error,
    SnapshotState.REMOVING: schemas.SnapshotState.removing,
    SnapshotState.REMOVED: schemas.SnapshotState.removing,
}


def snapshot_state(snapshot: Snapshot) -> schemas.SnapshotState:
    """An image is pulled, a Dockerfile built; which of both failed has a name of its own, too."""
    own = snapshot.dialect_data.get(DIALECT, {})
    if snapshot.state is SnapshotState.BUILDING and own.get("imageName"):
        return schemas.SnapshotState.pulling
    if snapshot.state is SnapshotState.ERROR and own.get("buildInfo"):
        return schemas.SnapshotState.build_failed
    return SNAPSHOT_STATES[snapshot.state]


def wire_state(sandbox: Sandbox) -> WireState:
    """Only a first start is called creating."""
    built = sandbox.never_ran and BUILD in sandbox.dialect_data.get(DIALECT, {})
    if sandbox.state is SandboxState.STARTING and sandbox.never_ran:
        return WireState.BUILDING_SNAPSHOT if built else WireState.CREATING
    if sandbox.state is SandboxState.ERROR and built:
        return WireState.BUILD_FAILED
    return STATES[sandbox.state]


# -- orders ------------------------------------------------------------------------------------------------------------

SANDBOX_SORTS: Mapping[str, SandboxSort] = {
    "name": SandboxSort.NAME,
    "cpu": SandboxSort.CPU,
    "memoryGib": SandboxSort.MEMORY,
    "diskGib": SandboxSort.DISK,
    "lastActivityAt": SandboxSort.LAST_ACTIVITY_AT,
    "createdAt": SandboxSort.CREATED_AT,
}
SNAPSHOT_SORTS: Mapping[str, SnapshotSort] = {
    "name": SnapshotSort.NAME,
    "state": SnapshotSort.STATE,
    "lastUsedAt": SnapshotSort.LAST_USED_AT,
    "createdAt": SnapshotSort.CREATED_AT,
}

# -- permissions -------------------------------------------------------------------------------------------------------

READ_SCOPES = frozenset({Scope.SANDBOXES_READ, Scope.SNAPSHOTS_READ})  # every key of the vendor's may read these
PERMISSIONS: Mapping[schemas.Permission, Scope] = {
    schemas.Permission.write_sandboxes: Scope.SANDBOXES_WRITE,
    schemas.Permission.delete_sandboxes: Scope.SANDBOXES_DELETE,
    schemas.Permission.write_snapshots: Scope.SNAPSHOTS_WRITE,
    schemas.Permission.delete_snapshots: Scope.SNAPSHOTS_DELETE,
    schemas.Permission.read_volumes: Scope.VOLUMES_READ,
    schemas.Permission.write_volumes: Scope.VOLUMES_WRITE,
    schemas.Permission.delete_volumes: Scope.VOLUMES_DELETE,
    schemas.Permission.write_registries: Scope.REGISTRIES_WRITE,
    schemas.Permission.delete_registries: Scope.REGISTRIES_DELETE,
    schemas.Permission.write_regions: Scope.REGIONS_WRITE,
    schemas.Permission.delete_regions: Scope.REGIONS_DELETE,
    schemas.Permission.read_runners: Scope.HOSTS_READ,
    schemas.Permission.write_runners: Scope.HOSTS_WRITE,
    schemas.Permission.delete_runners: Scope.HOSTS_DELETE,
    schemas.Permission.read_audit_logs: Scope.AUDIT_READ,
}


def scopes(permissions: Iterable[schemas.Permission]) -> frozenset[Scope]:
    return frozenset(PERMISSIONS[permission] for permission in permissions)


def permissions(scopes: frozenset[Scope]) -> list[schemas.Permission]:
    """The vendor's names of what these scopes allow, in the vendor's order."""
    return [
        permission
        for permission in schemas.Permission
        if Scope.ADMIN in scopes or PERMISSIONS.get(permission) in scopes
    ]


# -- errors ------------------------------------------------------------------------------------------------------------

STATUSES: Mapping[type[errors.MoonpoolError], HTTPStatus] = {
    errors.Unauthorized: HTTPStatus.UNAUTHORIZED,
    errors.Forbidden: HTTPStatus.FORBIDDEN,
    errors.InvalidInput: HTTPStatus.BAD_REQUEST,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.Conflict: HTTPStatus.CONFLICT,
    errors.InvalidState: HTTPStatus.BAD_REQUEST,
    errors.TransitionInProgress: HTTPStatus.CONFLICT,
    errors.LimitExceeded: HTTPStatus.BAD_REQUEST,
    errors.RateLimited: HTTPStatus.TOO_MANY_REQUESTS,
    errors.TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.NotSupported: HTTPStatus.NOT_IMPLEMENTED,
    errors.GuestError: HTTPStatus.BAD_REQUEST,
    errors.ImageError: HTTPStatus.BAD_REQUEST,
    errors.ImageUnavailable: HTTPStatus.BAD_GATEWAY,
    errors.BuildError: HTTPStatus.BAD_REQUEST,
    errors.CheckpointRefused: HTTPStatus.CONFLICT,
    errors.AgentUnavailable: HTTPStatus.BAD_GATEWAY,
    errors.AgentTimeout: HTTPStatus.GATEWAY_TIMEOUT,
    errors.NoCapacity: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.MoonpoolError: HTTPStatus.INTERNAL_SERVER_ERROR,
}


def status_of(error: errors.MoonpoolError) -> HTTPStatus:
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


# -- amounts -----------------------------------------------------------------------------------------------------------


def minutes(seconds: float | None) -> int:
    """Minutes of an interval, 0 for none; part of a minute counts as one, since 0 has its own meaning."""
    return 0 if seconds is None else max(1, math.ceil(seconds / SECONDS_PER_MINUTE))


def delete_minutes(seconds: float | None) -> int:
    """The auto-delete interval: here 0 means at once, and never is negative."""
    return NEVER_DELETE if seconds is None else math.ceil(seconds / SECONDS_PER_MINUTE)


def seconds_or_never(interval: int) -> float | None:
    return float(interval * SECONDS_PER_MINUTE) if interval > 0 else None


def delete_seconds(interval: int) -> float | None:
    return float(interval * SECONDS_PER_MINUTE) if interval >= 0 else None


def archive_seconds(interval: int) -> float:
    return float((min(interval, MAX_AUTO_ARCHIVE) or MAX_AUTO_ARCHIVE) * SECONDS_PER_MINUTE)


def fractional_gibibytes(mebibytes: int | None) -> float | None:
    """As limits may have them."""
    return None if mebibytes is None else mebibytes / MEBIBYTES_PER_GIBIBYTE


def gibibytes(mebibytes: int) -> int:
    """Whole GiB, rounded up: the SDK takes nothing but integers."""
    return math.ceil(mebibytes / MEBIBYTES_PER_GIBIBYTE)
