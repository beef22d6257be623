"""From what a create asks for to the row that it makes."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from moonpool.access.limits import LimitBook
from moonpool.access.model import Principal
from moonpool.archives.model import NO_BACKUP
from moonpool.clock import Clock
from moonpool.engine.images.oci import ImageConfig
from moonpool.errors import InvalidInput, SnapshotNotFound
from moonpool.guest.model import TELEMETRY_PORT
from moonpool.hosts.model import MachineSpec, Mount, Resources
from moonpool.ids import new_instance_id, new_sandbox_id, random_word
from moonpool.sandboxes.model import DesiredState, Fork, NewSandbox, Sandbox, SandboxState, Timers
from moonpool.sandboxes.records import Records
from moonpool.sandboxes.validation import (
    check_env,
    check_id,
    check_labels,
    check_name,
    check_network,
    check_priority,
    check_resources,
    check_timers,
    check_user,
)
from moonpool.secrets.catalogue import SecretCatalogue, check_variables
from moonpool.snapshots.catalogue import SnapshotCatalogue
from moonpool.snapshots.model import Snapshot
from moonpool.store.database import Transaction
from moonpool.volumes.catalogue import VolumeCatalogue

PREVIEW_TOKEN_LENGTH = 32  # characters
MAX_FORKS = 100
# Where programs find the agent's OTLP endpoint, unless their image or their user says otherwise.
TELEMETRY = {
    "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{TELEMETRY_PORT}",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
}


@dataclass(frozen=True)
class Admission:
    """Who may have what: every rule that a create must pass before anything is written."""

    records: Records
    snapshots: SnapshotCatalogue
    limits: LimitBook
    default_snapshot: str
    clock: Clock
    volumes: VolumeCatalogue
    secrets: SecretCatalogue

    def spec(self, sandbox: Sandbox) -> MachineSpec:
        """What a host is told of a sandbox that comes up, with its secrets in the clear."""
        spec = spec_of(sandbox)
        if not sandbox.secrets:
            return spec
        return replace(spec, env={**spec.env, **self.secrets.values(sandbox.team_id, sandbox.secrets)})

    def informed(self, sandbox: Sandbox, new: NewSandbox) -> Sandbox:
        """The row, now that its snapshot is built. SnapshotNotFound."""
        snapshot = self.snapshots.resolve(sandbox.team_id, new.snapshot or self.default_snapshot)
        user = user_of(snapshot, new.usual_user) if new.user is None else new.user
        return replace(sandbox, config=snapshot.config, user=check_user(user))

    def admit(self, principal: Principal, new: NewSandbox, *, unbuilt: bool = False) -> Sandbox:
        """The row of a new sandbox, with ``unbuilt`` of a snapshot that may still be on its way. InvalidInput,
        LimitExceeded, SnapshotNotFound, VolumeNotFound, InvalidState."""
        look_up = self.snapshots.find if unbuilt else self.snapshots.resolve
        snapshot = look_up(principal.team_id, new.snapshot or self.default_snapshot)
        resources = merged(snapshot.resources, cpu=new.cpu, memory_mib=new.memory_mib, disk_mib=new.disk_mib)
        least = 0 if snapshot.general else snapshot.resources.disk_mib
        if resources.disk_mib < least:
            raise InvalidInput(f"Snapshot {snapshot.name} needs {least} MiB of disk", field="disk")
        if new.recreatable and new.mounts:
            raise InvalidInput("What has volumes cannot be made anew", field="recreatable")
        sandbox_id = new_sandbox_id() if new.id is None else check_id(new.id)
        timers = check_timers(new.timers)
        now = self.clock.now()
        return Sandbox(
            id=sandbox_id,
            team_id=principal.team_id,
            name=sandbox_id if new.name is None else check_name(new.name),
            state=SandboxState.STARTING,
            desired=DesiredState.RUNNING,
            reason=None,
            recoverable=False,
            snapshot=snapshot.name,
            image=snapshot.image,
            user=check_user(user_of(snapshot, new.usual_user) if new.user is None else new.user),
            config=snapshot.config,
            env=check_env(new.env),
            labels=check_labels(new.labels),
            public=new.public,
            resources=check_resources(resources, self.limits.of(principal.team_id)),
            network=check_network(new.network),
            timers=timers,
            created_at=now,
            updated_at=now,
            started_at=None,
            stopped_at=None,
            last_activity_at=now,
            expires_at=expiry(timers, now),
            preview_token=new_preview_token(),
            dialect_data=dict(new.dialect_data),
            version=1,
            instance_id=new_instance_id(),
            eviction_priority=check_priority(new.eviction_priority),
            recreatable=new.recreatable,
            secrets=self.secrets.resolve(principal.team_id, check_variables(new.secrets)) if new.secrets else {},
            mounts=self.volumes.mounts(principal.team_id, new.mounts, self._kept_mounts(principal, snapshot, new)),
        )

    def admit_again(self, destroyed: Sandbox) -> None:
        """What a sandbox that is to be made anew must pass. LimitExceeded, SnapshotNotFound."""
        snapshot = self.snapshots.resolve(destroyed.team_id, destroyed.snapshot)
        if snapshot.image != destroyed.image:
            raise SnapshotNotFound(f"Snapshot {destroyed.snapshot} is another one now")
        check_resources(destroyed.resources, self.limits.of(destroyed.team_id))

    def fresh(self, destroyed: Sandbox, timers: Timers) -> dict[str, Any]:
        """The fields that are new in one that is made anew; its name is its id where others have its name by now."""
        taken = self.records.name_is_taken(destroyed.team_id, destroyed.name)
        return {
            "name": destroyed.id if taken else destroyed.name,
            "desired": DesiredState.RUNNING,
            "reason": None,
            "recoverable": False,
            "started_at": None,
            "stopped_at": None,
            "forked_from": None,
            "timers": check_timers(timers),
            "expires_at": expiry(timers, self.clock.now()),
            "preview_token": new_preview_token(),
            "instance_id": new_instance_id(),
        }

    def note_use(self, sandbox: Sandbox) -> None:
        """It is made of its snapshot now."""
        with contextlib.suppress(SnapshotNotFound):
            self.snapshots.note_use(self.snapshots.find(sandbox.team_id, sandbox.snapshot).id)

    async def reserve(self, transaction: Transaction, sandbox: Sandbox) -> None:
        """Part of writing its row: from here on its volumes cannot be deleted. VolumeNotFound, InvalidState."""
        await self.volumes.use(transaction, sandbox.team_id, sandbox.mounts, self.clock.now())

    def lacking(self, principal: Principal, new: NewSandbox) -> str | None:
        """Why the memory of what it starts from cannot be used, in a sentence."""
        snapshot = self.snapshots.resolve(principal.team_id, new.snapshot or self.default_snapshot)
        if snapshot.mounts and self.volumes.missing(principal.team_id, snapshot.mounts):
            return "Started from its disk, without its memory: a volume that it had mounted is gone"
        return None

    def _kept_mounts(self, principal: Principal, snapshot: Snapshot, new: NewSandbox) -> tuple[Mount, ...]:
        """Programs in memory that is brought back may have them open."""
        wanted = new.memory and not self.volumes.missing(principal.team_id, snapshot.mounts)
        return snapshot.mounts if wanted else ()

    def admit_forks(self, source: Sandbox, forks: Sequence[Fork]) -> tuple[Sandbox, ...]:
        """The rows of copies of ``source``. InvalidInput."""
        if not 1 <= len(forks) <= MAX_FORKS:
            raise InvalidInput(f"1 to {MAX_FORKS} forks can be asked for at once", field="count")
        copies = tuple(self._copy(source, fork) for fork in forks)
        if len({copy.id for copy in copies}) < len(copies) or len({copy.name for copy in copies}) < len(copies):
            raise InvalidInput("Two forks cannot have the same id or name", field="forks")
        return copies

    def _copy(self, source: Sandbox, fork: Fork) -> Sandbox:
        sandbox_id = new_sandbox_id() if fork.id is None else check_id(fork.id)
        timers = source.timers if fork.timers is None else check_timers(fork.timers)
        now = self.clock.now()
        return replace(
            source,
            id=sandbox_id,
            name=sandbox_id if fork.name is None else check_name(fork.name),
            state=SandboxState.STARTING,
            desired=DesiredState.RUNNING,
            reason=None,
            recoverable=False,
            env=source.env if fork.env is None else check_env(fork.env),
            labels=source.labels if fork.labels is None else check_labels(fork.labels),
            timers=timers,
            created_at=now,
            updated_at=now,
            started_at=None,
            stopped_at=None,
            last_activity_at=now,
            expires_at=expiry(timers, now),
            preview_token=new_preview_token(),
            dialect_data=source.dialect_data if fork.dialect_data is None else dict(fork.dialect_data),
            version=1,
            instance_id=new_instance_id(),
            forked_from=source.id,
            backup=NO_BACKUP,
            recreatable=False,
        )


def merged(
    base: Resources, *, cpu: float | None = None, memory_mib: int | None = None, disk_mib: int | None = None
) -> Resources:
    """``base`` with whatever else was asked for in its place."""
    return replace(
        base,
        cpu=base.cpu if cpu is None else cpu,
        memory_mib=base.memory_mib if memory_mib is None else memory_mib,
        disk_mib=base.disk_mib if disk_mib is None else disk_mib,
    )


def user_of(snapshot: Snapshot, usual: str) -> str:
    """Images name a user with a group after it, or by number, or none, which is root."""
    if snapshot.config is None:
        return usual
    return user_in(snapshot.config)[0]


def user_in(config: ImageConfig) -> tuple[str, str]:
    """The user, and the group where one is named."""
    user, _, group = config.user.partition(":")
    return user or "root", group


def expiry(timers: Timers, now: datetime) -> datetime | None:
    return None if timers.ttl is None else now + timedelta(seconds=timers.ttl)


def new_preview_token() -> str:
    return random_word(PREVIEW_TOKEN_LENGTH)


def spec_of(sandbox: Sandbox) -> MachineSpec:
    """What a host is told of a sandbox; its secrets are left out."""
    config = sandbox.config or ImageConfig()
    user, group = user_in(config)
    return MachineSpec(
        id=sandbox.id,
        image=sandbox.image,
        resources=sandbox.resources,
        hostname=sandbox.id,
        user=sandbox.user,
        group=group if user == sandbox.user else "",
        env={**TELEMETRY, **config.env, **sandbox.env},
        workdir=config.workdir,
        entrypoint=config.command,
        network=sandbox.network,
        mounts=sandbox.mounts,
    )
