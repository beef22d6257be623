"""The core's words and Wrenn's, both ways, as tables."""

import re
from collections.abc import Mapping
from datetime import datetime

from moonpool import errors
from moonpool.dialects.wrenn.extensions import Capsule, CreateCapsuleRequest, Template
from moonpool.dialects.wrenn.schemas import Status, Type
from moonpool.errors import MoonpoolError, SandboxNotFound
from moonpool.hosts.model import MEBIBYTE
from moonpool.sandboxes.model import NewSandbox, Sandbox, SandboxState, Timers
from moonpool.snapshots.model import Snapshot

CAPSULE_PREFIX = "cl-"
CAPSULE_ID = re.compile(r"(?:cl-)?([0-9a-z]{1,63})")

DEFAULT_TEMPLATE = "minimal"
USER = "wrenn-user"
MIN_TIMEOUT = 60  # seconds; shorter ones are raised to it
MAX_INTEGER = 2**31 - 1
LEAST: Mapping[str, int] = {"vcpus": 1, "memory_mb": 1, "disk_size_mb": 1, "timeout_sec": 0}
RESERVED_METADATA = frozenset({"kernel_version", "vmm_version", "agent_version", "envd_version"})

S = SandboxState

# Wrenn knows no capsule that has a disk and no memory: "paused" is what its clients can resume, and that is what a
# stopped sandbox is to them. Its "stopped" is for good.
STATUSES: Mapping[SandboxState, Status] = {
    S.STARTING: Status.starting,
    S.RUNNING: Status.running,
    S.PAUSING: Status.pausing,
    S.PAUSED: Status.paused,
    S.RESUMING: Status.resuming,
    S.STOPPING: Status.pausing,
    S.STOPPED: Status.paused,
    S.ARCHIVING: Status.pausing,
    S.ARCHIVED: Status.paused,
    S.RESTORING: Status.resuming,
    S.DESTROYING: Status.stopping,
    S.DESTROYED: Status.stopped,
    S.ERROR: Status.error,
}

# The nearest class of an error counts. The SDK chooses its exception by the code alone.
ERRORS: Mapping[type[MoonpoolError], tuple[int, str]] = {
    MoonpoolError: (500, "internal_error"),
    errors.Unauthorized: (401, "unauthorized"),
    errors.Forbidden: (403, "forbidden"),
    errors.InvalidInput: (400, "invalid_request"),
    errors.NotFound: (404, "not_found"),
    errors.Conflict: (409, "conflict"),
    errors.InvalidState: (409, "invalid_state"),
    errors.AlreadyMember: (400, "invalid_request"),
    errors.LastAdministrator: (400, "invalid_request"),
    errors.MailFailed: (503, "mail_failed"),
    errors.ProviderFailed: (502, "provider_failed"),
    errors.LimitExceeded: (400, "invalid_request"),
    errors.RateLimited: (429, "rate_limited"),
    errors.TooLarge: (413, "too_large"),
    errors.NotSupported: (501, "not_implemented"),
    errors.NoCapacity: (503, "host_unavailable"),
    errors.EngineError: (502, "agent_error"),
    errors.CheckpointRefused: (409, "conflict"),
    errors.AgentTimeout: (504, "agent_error"),
    errors.GuestError: (502, "agent_error"),
    errors.InvalidPath: (400, "invalid_request"),
    errors.FileNotFound: (404, "not_found"),
    errors.FileExists: (409, "already_exists"),
    errors.NotADirectory: (400, "invalid_request"),
    errors.IsADirectory: (400, "invalid_request"),
    errors.DirectoryNotEmpty: (409, "conflict"),
    errors.AccessDenied: (403, "forbidden"),
    errors.DiskFull: (507, "disk_full"),
    errors.ProcessNotFound: (404, "not_found"),
    errors.ProcessEnded: (404, "not_found"),
    errors.CommandNotFound: (400, "invalid_request"),
    errors.WorkingDirectoryNotFound: (400, "invalid_request"),
    errors.UserNotFound: (400, "invalid_request"),
    errors.ProcessLimitReached: (409, "conflict"),
}


def status_and_code(error: MoonpoolError) -> tuple[int, str]:
    return next(ERRORS[kind] for kind in type(error).__mro__ if kind in ERRORS)


def sentence(error: MoonpoolError) -> str:
    """Message and hint in one, since the SDK shows users nothing else."""
    return f"{error.message.rstrip('.')}. {error.hint}" if error.hint else error.message


def capsule_id(sandbox_id: str) -> str:
    """``cl-`` and our id: what Wrenn's proxies expect in host names."""
    return CAPSULE_PREFIX + sandbox_id


def sandbox_id(capsule: str) -> str:
    """Our id of a capsule's id, with or without its prefix; SandboxNotFound for what can be neither."""
    found = CAPSULE_ID.fullmatch(capsule)
    if found is None:
        raise SandboxNotFound("Capsule not found")
    return found[1]


def new_sandbox(request: CreateCapsuleRequest) -> NewSandbox:
    """InvalidInput for numbers out of range and reserved metadata; what the server allows is the core's to say."""
    for field, least in LEAST.items():
        value = getattr(request, field)
        if value is not None and not least <= value <= MAX_INTEGER:
            raise errors.InvalidInput(f"{field}: must be {least} to {MAX_INTEGER}", field=field)
    metadata = request.metadata or {}
    if reserved := RESERVED_METADATA & metadata.keys():
        raise errors.InvalidInput(f"metadata: {', '.join(sorted(reserved))} is set by the server", field="metadata")
    given = request.model_fields_set
    return NewSandbox(
        snapshot=request.template or DEFAULT_TEMPLATE,
        usual_user=USER,
        labels=metadata,
        cpu=request.vcpus if "vcpus" in given else None,
        memory_mib=request.memory_mb if "memory_mb" in given else None,
        disk_mib=request.disk_size_mb if "disk_size_mb" in given else None,
        timers=Timers(auto_pause=auto_pause(request.timeout_sec)),
    )


def auto_pause(timeout: int | None) -> float | None:
    """Seconds of inactivity until a pause; 0 is never, the rest at least a minute."""
    return float(max(timeout, MIN_TIMEOUT)) if timeout else None


def timeout_seconds(timers: Timers) -> int:
    """When inactivity ends in anything but running, by whichever dialect set it; 0: never."""
    idle = [timer for timer in (timers.auto_pause, timers.idle_timeout, timers.auto_stop) if timer]
    return int(min(idle, default=0))


def capsule(sandbox: Sandbox, disk_used_bytes: int | None = None) -> Capsule:
    return Capsule(
        id=capsule_id(sandbox.id),
        status=STATUSES[sandbox.state],
        template=sandbox.snapshot,
        vcpus=vcpus(sandbox.resources.cpu),
        memory_mb=sandbox.resources.memory_mib,
        disk_size_mb=sandbox.resources.disk_mib,
        disk_used_mb=None if disk_used_bytes is None else disk_used_bytes // MEBIBYTE,
        timeout_sec=timeout_seconds(sandbox.timers),
        created_at=second(sandbox.created_at),
        started_at=second(sandbox.started_at) if sandbox.started_at else None,
        last_active_at=second(sandbox.last_activity_at),
        last_updated=second(sandbox.updated_at),
        metadata=dict(sandbox.labels) or None,
    )


def template(snapshot: Snapshot) -> Template:
    return Template(
        name=snapshot.name,
        type=Type.base if snapshot.general else Type.snapshot,
        vcpus=vcpus(snapshot.resources.cpu),
        memory_mb=snapshot.resources.memory_mib,
        size_bytes=snapshot.size_bytes,
        created_at=second(snapshot.created_at),
        platform=snapshot.general,
        protected=snapshot.general,
    )


def vcpus(cores: float) -> int:
    """Whole processors, rounded up: Wrenn knows no fractions."""
    return max(1, -int(-cores // 1))


def second(moment: datetime) -> datetime:
    """Wrenn's times have no fractions."""
    return moment.replace(microsecond=0)
