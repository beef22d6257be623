"""From a create request to what the core is asked for."""

from starlette.exceptions import HTTPException

from moonpool.access.model import Principal
from moonpool.dialects.daytona import mapping
from moonpool.dialects.daytona.extensions import CreateSandbox
from moonpool.dialects.daytona.network import OPEN, policy
from moonpool.errors import InvalidInput
from moonpool.ids import new_sandbox_id
from moonpool.sandboxes.model import NewSandbox, Timers
from moonpool.snapshots.model import DEFAULT_SNAPSHOT
from moonpool.volumes.model import WantedMount

UNPROCESSABLE = 422

# Fields that this server knows and cannot honour: asking for one is refused, and not silently passed over.
UNSUPPORTED = {
    "gpu": "There are no GPUs here",
    "spot": "There are no spot sandboxes here",
    "kvm": "KVM is not exposed in sandboxes",
    "linkedSandbox": "Linked sandboxes are not supported",
    "outboundProxyUrl": "An outbound proxy is not supported; set HTTP_PROXY in env",
    "otelEndpointOverride": "Sending telemetry elsewhere is not supported",
}


def new_sandbox(principal: Principal, body: CreateSandbox, region: str, queue_timeout: int | None = None) -> NewSandbox:
    """``queue_timeout``: the organization's, in minutes, where the request names none. Raises InvalidInput for what
    contradicts itself and HTTPException 422 for what is not supported."""
    check(body)
    sandbox_id = new_sandbox_id()
    user = body.user or mapping.DEFAULT_USER
    snapshot = body.snapshot or DEFAULT_SNAPSHOT
    identity = identity_environment(sandbox_id, snapshot, user, principal.team_id, region)
    timeout = body.queueTimeout or queue_timeout
    own = {"queueTimeout": timeout} if timeout else {}
    return NewSandbox(
        id=sandbox_id,
        snapshot=snapshot,
        name=body.name,
        user=body.user,
        usual_user=user,
        env={**(body.env or {}), **identity},
        labels=body.labels or {},
        public=bool(body.public),
        cpu=body.cpu,
        memory_mib=mebibytes(body.memory),
        disk_mib=mebibytes(body.disk),
        network=policy(OPEN, body.networkBlockAll, body.networkAllowList, body.domainAllowList),
        timers=timers(body),
        dialect_data={mapping.DIALECT: own} if own else {},
        secrets=by_variable(body.secrets or []),
        mounts=tuple(WantedMount(one.volumeId, one.mountPath, one.subpath) for one in body.volumes or ()),
    )


def checked(body: CreateSandbox) -> CreateSandbox:
    """The same; raises as ``new_sandbox``."""
    check(body)
    return body


def check(body: CreateSandbox) -> None:
    if body.snapshot and body.buildInfo:
        raise InvalidInput("Cannot specify a snapshot when using a build info entry", field="snapshot")
    for field, message in UNSUPPORTED.items():
        if getattr(body, field):
            raise HTTPException(UNPROCESSABLE, f"{field}: {message}")
    if body.snapshot and (body.cpu or body.memory or body.disk):
        message = "Cannot specify Sandbox resources when using a snapshot"
        raise InvalidInput(message, field="snapshot", hint="They are the snapshot's own; leave one of both away.")
    if body.autoStopInterval and body.autoPauseInterval:
        message = "autoStopInterval and autoPauseInterval are mutually exclusive"
        raise InvalidInput(message, field="autoPauseInterval", hint="Set at most one of them to a non-zero value.")
    if body.autoDeleteInterval == 0 and body.autoPauseInterval:
        raise InvalidInput("Ephemeral sandboxes cannot have auto-pause enabled", field="autoPauseInterval")


def timers(body: CreateSandbox) -> Timers:
    auto_pause = body.autoPauseInterval or 0
    default_stop = 0 if auto_pause else mapping.DEFAULT_AUTO_STOP
    auto_stop = default_stop if body.autoStopInterval is None else body.autoStopInterval
    auto_archive = mapping.DEFAULT_AUTO_ARCHIVE if body.autoArchiveInterval is None else body.autoArchiveInterval
    auto_delete = mapping.NEVER_DELETE if body.autoDeleteInterval is None else body.autoDeleteInterval
    return Timers(
        auto_stop=mapping.seconds_or_never(auto_stop),
        auto_pause=mapping.seconds_or_never(auto_pause),
        auto_archive=mapping.archive_seconds(auto_archive),
        auto_delete=mapping.delete_seconds(auto_delete),
        ttl=mapping.seconds_or_never(body.ttlMinutes or 0),
    )


def identity_environment(sandbox_id: str, snapshot: str, user: str, team_id: str, region: str) -> dict[str, str]:
    """What programs inside find of their own sandbox, under the vendor's names."""
    return {
        "DAYTONA_SANDBOX_ID": sandbox_id,
        "DAYTONA_SANDBOX_SNAPSHOT": snapshot,
        "DAYTONA_SANDBOX_USER": user,
        "DAYTONA_ORGANIZATION_ID": team_id,
        "DAYTONA_REGION_ID": region,
    }


def by_variable(wanted: list[dict[str, str]]) -> dict[str, str]:
    """One mapping of the list of mappings; InvalidInput for a variable that is there twice."""
    found: dict[str, str] = {}
    for entry in wanted:
        for variable, name in entry.items():
            if variable in found:
                raise InvalidInput(f"secrets: {variable[:50]} is there twice", field="secrets")
            found[variable] = name
    return found


def mebibytes(gibibytes: int | None) -> int | None:
    return None if gibibytes is None else gibibytes * mapping.MEBIBYTES_PER_GIBIBYTE
