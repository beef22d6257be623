"""Layers becoming snapshots, and the record that is kept of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from moonpool.builds.model import Build as DockerfileBuild
from moonpool.clock import Clock
from moonpool.dialects.freestyle.catalogue import all_snapshots, capture, data_of_snapshot, wire_id
from moonpool.dialects.freestyle.extensions import Layer
from moonpool.dialects.freestyle.layers import needs_setting_up, template_hash
from moonpool.dialects.freestyle.mapping import DATA, DEFAULT_FOLDER, USER, FreestyleError, derived_id, new_id
from moonpool.dialects.freestyle.persistence import eviction_priority
from moonpool.dialects.freestyle.requests import Call
from moonpool.dialects.freestyle.setup import Setup, SetupFailed
from moonpool.dialects.freestyle.sizes import check_size
from moonpool.dialects.freestyle.vms import moment
from moonpool.errors import InvalidInput, MoonpoolError, NameTaken, SandboxNotFound
from moonpool.hosts.keyed_locks import KeyedLocks
from moonpool.sandboxes.model import NewSandbox, Sandbox, Timers
from moonpool.sandboxes.service import unheard_of
from moonpool.snapshots.model import Snapshot, SnapshotState

SETUP_LIFETIME = 7200.0  # seconds after which a VM that was never set up is removed


@dataclass
class Build:
    """What is told of a build: phases are only ever added."""

    clock: Clock
    planned: list[str]
    id: str = field(default_factory=lambda: new_id("bld-"))
    request_id: str = field(default_factory=lambda: new_id("ri-"))
    phases: list[dict[str, Any]] = field(default_factory=list)
    template_hash: str | None = None
    failure: str | None = None
    finished_at: str | None = None
    made: list[Snapshot] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.started_at = moment(self.clock.now())

    def phase(self, name: str, snapshot_id: str | None = None) -> None:
        self.phases.append(
            {
                "phaseId": new_id("bph-"),
                "buildId": self.id,
                "name": name,
                "snapshotId": snapshot_id,
                "startedAt": moment(self.clock.now()),
            }
        )

    def steps(self, done: DockerfileBuild) -> None:
        """The phases that a Dockerfile's build has had until now, in the place of those told of it before."""
        self.phases = [phase for phase in self.phases if phase.get("of") != done.id]
        for number, step in enumerate(done.phases):
            self.phases.append(
                {
                    "phaseId": derived_id("bph-", f"{done.id}/{number}"),
                    "buildId": self.id,
                    "name": f"{step.name} (cached)" if step.cached else step.name,
                    "snapshotId": done.snapshot_id,
                    "startedAt": moment(step.started_at),
                    "of": done.id,
                }
            )

    def finish(self, failure: str | None = None) -> None:
        self.failure, self.finished_at = failure, moment(self.clock.now())

    def document(self) -> dict[str, Any]:
        """As it is kept beside what was built."""
        state = "running" if self.finished_at is None else "failed" if self.failure else "succeeded"
        return {
            "buildId": self.id,
            "requestId": self.request_id,
            "state": state,
            "templateHash": self.template_hash,
            "failureReason": self.failure,
            "plannedPhases": self.planned,
            "phases": self.phases,
            "startedAt": self.started_at,
            "finishedAt": self.finished_at,
            "updatedAt": self.finished_at or self.started_at,
        }


async def materialize(
    call: Call, layers: tuple[Layer, ...], base: Snapshot, build: Build, code: str, kept: Mapping[str, Any]
) -> Snapshot:
    """The snapshot of the outermost layer, built or out of the cache. ``code``: of a failure; ``kept``: what the
    snapshots' data say beside their layer's own (name, persistence)."""
    locks: KeyedLocks = call.request.app.state.locks
    for number, layer in enumerate(layers, 1):
        key = template_hash(layer, base.id)
        build.template_hash = key
        data = {**settings(layer, base), **kept, "template_hash": key}
        async with locks.hold(f"{call.principal.team_id}/{key}"):
            cached = None if layer.skipCache else await from_cache(call, key)
            if cached is not None:
                build.phase(f"layer {number} (cached)", cached.id)
                base = cached
                continue
            base = await build_layer(call, layer, base, build, number, code, data)
            build.made.append(base)
    build.finish()
    await note(call, build)
    return base


async def note(call: Call, build: Build) -> None:
    """How it ended, beside all that it made."""
    for snapshot in build.made:
        data = {**data_of_snapshot(snapshot), "build": build.document()}
        await call.services.snapshots.update(call.principal, snapshot.id, dialect_data={DATA: data})


async def build_layer(
    call: Call, layer: Layer, base: Snapshot, build: Build, number: int, code: str, data: Mapping[str, Any]
) -> Snapshot:
    """In a VM of its own, which is gone afterwards."""
    snapshot_id = new_id("sc-")
    build.phase(f"layer {number}", snapshot_id)
    sandbox = await boot(call, layer, base, Timers(ttl=SETUP_LIFETIME), {"building": True, **data})
    try:
        await set_up(call, sandbox, layer, base, build, code)
        build.phase(f"capture {number}", snapshot_id)
        return await capture(call, sandbox, {**data, "build": build.document()}, snapshot_id=snapshot_id)
    finally:
        await call.services.sandboxes.destroy(call.principal, sandbox.id)


async def from_cache(call: Call, key: str) -> Snapshot | None:
    """The newest of this layer that is whole."""
    for snapshot in await all_snapshots(call):
        data = data_of_snapshot(snapshot)
        whole = snapshot.state is SnapshotState.ACTIVE and data.get("state", "ready") == "ready"
        if whole and data.get("template_hash") == key:
            return snapshot
    return None


async def boot(
    call: Call, layer: Layer, base: Snapshot, timers: Timers, data: Mapping[str, Any], vm_id: str | None = None
) -> Sandbox:
    """A VM on ``base``, of the layer's size; with the base's memory where it has any. It goes by itself when the server
    is ended before it is set up."""
    size = check_size("CREATE_VM", layer.vcpuCount, layer.memSizeGb, layer.rootfsSizeGb)
    new = NewSandbox(
        id=vm_id,
        snapshot=base.id,
        name=None if data.get("building") else data.get("name"),
        user=base.user,
        usual_user=USER,
        cpu=size.cpu,
        memory_mib=size.memory_mib,
        disk_mib=size.disk_mib,
        timers=timers,
        dialect_data={DATA: {**data, "snapshot_id": wire_id(base)}},
        eviction_priority=eviction_priority(data.get("persistence")),
        recreatable=bool(data.get("recreate")),
    )
    return await labelled(call, new)


async def labelled(call: Call, new: NewSandbox) -> Sandbox:
    """Freestyle's names need not be unique nor follow our rules: such a one is kept in the VM's data alone."""
    try:
        return await call.services.sandboxes.create(call.principal, new, known=unheard_of)
    except NameTaken:
        pass
    except InvalidInput as error:
        if error.field != "name":
            raise
    return await call.services.sandboxes.create(call.principal, replace(new, name=None), known=unheard_of)


async def set_up(call: Call, sandbox: Sandbox, layer: Layer, base: Snapshot, build: Build | None, code: str) -> None:
    """Do inside what the layer says. When that fails the VM is captured as it is then, for its owner to look into, and
    the error names that snapshot."""
    if not needs_setting_up(layer):
        return
    folder = settings(layer, base).get("workdir") or DEFAULT_FOLDER
    try:
        await Setup(call, sandbox, layer, folder, call.request.app.state.background).run()
    except SetupFailed as failure:
        raise await failed(call, sandbox, failure, build, code) from failure
    except SandboxNotFound:
        raise FreestyleError(500, "VM_EXIT_DURING_START", "The VM was deleted while it was set up") from None


async def failed(call: Call, sandbox: Sandbox, failure: SetupFailed, build: Build | None, code: str) -> FreestyleError:
    if build is not None:
        build.finish(failure.message)
        await note(call, build)
    snapshot_id: str | None = new_id("sc-")
    data = {
        "state": "failed",
        "failure": failure.message,
        "build": build.document() if build else None,
        "persistence": {"type": "sticky", "priority": 0},
    }
    try:
        await capture(call, sandbox, data, snapshot_id=snapshot_id)
    except MoonpoolError:
        snapshot_id = None  # The failure itself is what its owner must hear of.
    status, named = (504, "VM_START_TIMEOUT") if failure.late else (500, code)
    return FreestyleError(
        status,
        named,
        f"VM setup failed: {failure.message}",
        snapshotId=snapshot_id,
        failedReason=failure.message,
        diagnostics=failure.diagnostics,
    )


def settings(layer: Layer, base: Snapshot) -> dict[str, Any]:
    """What VMs of this layer have unless they say otherwise: the layer's own, else that of what it stands on."""
    below = data_of_snapshot(base)
    data = {name: below[name] for name in ("workdir", "idle", "ports") if name in below}
    if layer.workdir is not None:
        data["workdir"] = layer.workdir if layer.workdir.startswith("/") else f"/{layer.workdir}"
    if "idleTimeoutSeconds" in layer.model_fields_set:
        data["idle"] = layer.idleTimeoutSeconds
    if layer.ports is not None:
        data["ports"] = [{"port": mapping.port, "targetPort": mapping.targetPort} for mapping in layer.ports]
    return data
