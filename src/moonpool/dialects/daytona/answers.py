"""From the core's sandboxes and snapshots to what goes over the wire."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from moonpool.dialects.daytona import mapping, schemas
from moonpool.dialects.daytona.creation import identity_environment
from moonpool.dialects.daytona.extensions import LEFT_OUT_OF_LISTS, SandboxVolume, SnapshotDto
from moonpool.dialects.daytona.extensions import Sandbox as SandboxDto
from moonpool.dialects.daytona.network import allow_list
from moonpool.dialects.daytona.timestamps import timestamp
from moonpool.hosts.model import Mount, Resources
from moonpool.sandboxes.model import Sandbox
from moonpool.snapshots.model import Snapshot

SANDBOX_CLASS: Final = "container"
DAEMON_VERSION = "0.190.0"  # the release whose toolbox is spoken here
IDENTITY_VARIABLES = frozenset(identity_environment("", "", "", "", ""))


def nothing(_sandbox: Sandbox) -> None:
    """For who does not look at transfers."""


@dataclass(frozen=True)
class View:
    """How one asker sees the server: ``origin`` is "http://host:port" as they wrote it. ``moved`` tells how many bytes
    of a sandbox's disk are in the archive store, or back from it, while they move."""

    origin: str
    region: str
    moved: Callable[[Sandbox], int | None] = nothing

    @property
    def toolbox_url(self) -> str:
        """Where the SDK finds the toolbox of every sandbox: it appends ``/{sandboxId}/...`` itself."""
        return f"{self.origin}/toolbox"


def sandbox_json(sandbox: Sandbox, view: View) -> dict[str, Any]:
    """All of a sandbox; fields without a value are left away, which every generation of clients takes."""
    answer = sandbox_dto(sandbox, view).model_dump(mode="json", by_alias=True, exclude_none=True)
    moved = view.moved(sandbox)
    return answer if moved is None else {**answer, "transferredBytes": moved}


def listed_json(sandbox: Sandbox, view: View) -> dict[str, Any]:
    dto = sandbox_dto(sandbox, view)
    return dto.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=LEFT_OUT_OF_LISTS)


def sandbox_dto(sandbox: Sandbox, view: View) -> SandboxDto:
    timers, resources = sandbox.timers, sandbox.resources
    return SandboxDto(
        id=sandbox.id,
        organizationId=sandbox.team_id,
        name=sandbox.name,
        target=view.region,
        sandboxClass=SANDBOX_CLASS,
        class_=size_class(resources),
        state=mapping.wire_state(sandbox),
        desiredState=mapping.DESIRED_STATES[sandbox.desired],
        snapshot=sandbox.snapshot,
        user=sandbox.user,
        env={name: value for name, value in sandbox.env.items() if name not in IDENTITY_VARIABLES},
        labels=dict(sandbox.labels),
        public=sandbox.public,
        networkBlockAll=sandbox.network.block_all,
        networkAllowList=allow_list(sandbox.network),
        domainAllowList=",".join(sandbox.network.domains) or None,
        kvm=False,
        spot=False,
        cpu=math.ceil(resources.cpu),
        gpu=0,
        memory=mapping.gibibytes(resources.memory_mib),
        disk=mapping.gibibytes(resources.disk_mib),
        errorReason=sandbox.reason,
        recoverable=sandbox.recoverable,
        backupState=mapping.BACKUP_STATES[sandbox.backup.state],
        backupCreatedAt=timestamp(sandbox.backup.archive.created_at) if sandbox.backup.archive else None,
        autoStopInterval=mapping.minutes(timers.auto_stop),
        autoPauseInterval=mapping.minutes(timers.auto_pause or timers.idle_timeout),
        autoArchiveInterval=mapping.minutes(timers.auto_archive),
        autoDeleteInterval=mapping.delete_minutes(timers.auto_delete),
        autoDestroyAt=timestamp(sandbox.expires_at),
        queueTimeout=sandbox.dialect_data.get(mapping.DIALECT, {}).get("queueTimeout"),
        volumes=[volume_dto(mount) for mount in sandbox.mounts],
        createdAt=timestamp(sandbox.created_at),
        updatedAt=timestamp(sandbox.updated_at),
        lastActivityAt=timestamp(sandbox.last_activity_at),
        daemonVersion=DAEMON_VERSION,
        toolboxProxyUrl=view.toolbox_url,
    )


def volume_dto(mount: Mount) -> SandboxVolume:
    return SandboxVolume(volumeId=mount.volume, mountPath=mount.path, subpath=mount.subpath)


def size_class(resources: Resources) -> schemas.Class:
    """The word that old clients want; it has no other meaning any more."""
    if resources.cpu > 2:
        return schemas.Class.large
    return schemas.Class.medium if resources.cpu > 1 else schemas.Class.small


def snapshot_json(snapshot: Snapshot, view: View) -> dict[str, Any]:
    own = snapshot.dialect_data.get(mapping.DIALECT, {})
    state = mapping.snapshot_state(snapshot)
    dto = SnapshotDto(
        id=snapshot.id,
        general=snapshot.general,
        name=snapshot.name,
        imageName=own.get("imageName") or snapshot.image,
        state=state,
        enabled=state is not schemas.SnapshotState.inactive,
        size=gigabytes(snapshot.size_bytes),
        entrypoint=own.get("entrypoint"),
        cpu=math.ceil(snapshot.resources.cpu),
        gpu=0,
        mem=snapshot.resources.memory_mib / mapping.MEBIBYTES_PER_GIBIBYTE,
        disk=snapshot.resources.disk_mib / mapping.MEBIBYTES_PER_GIBIBYTE,
        errorReason=snapshot.reason,
        createdAt=timestamp(snapshot.created_at),
        updatedAt=timestamp(snapshot.updated_at),
        lastUsedAt=timestamp(snapshot.last_used_at),
        regionIds=[view.region],
        sourceSandboxId=snapshot.source_sandbox_id,
        sandboxClass=SANDBOX_CLASS,
    )
    answer = dto.model_dump(mode="json")
    if own.get("buildInfo"):
        moments = {"createdAt": answer["createdAt"], "updatedAt": answer["updatedAt"]}
        answer["buildInfo"] = {**own["buildInfo"], **moments, "snapshotRef": snapshot.id}
    return answer if snapshot.general else {**answer, "organizationId": snapshot.team_id}


def gigabytes(size_bytes: int | None) -> float | None:
    """Rounded up to about a kilobyte, so that nothing that takes space is said to take none."""
    return None if size_bytes is None else math.ceil(size_bytes / 1024**3 * 1e6) / 1e6
