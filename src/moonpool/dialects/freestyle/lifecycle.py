"""What changes a VM's state or size: start, stop, suspend, kill, await, resize, optimize, fork."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace

from starlette.responses import Response

from moonpool.access.model import Scope
from moonpool.dialects.freestyle.creation import recreated
from moonpool.dialects.freestyle.domains import domains_of, lead_here
from moonpool.dialects.freestyle.lookup import find, half_made, not_running, settled, whole
from moonpool.dialects.freestyle.mapping import DATA, READY_TIMEOUT, FreestyleError, data_of, derived_id
from moonpool.dialects.freestyle.persistence import idle_timers, removes_at_suspend
from moonpool.dialects.freestyle.requests import Call, Handler, answer
from moonpool.dialects.freestyle.schemas import (
    ForkedVmResponse,
    ForkVmRequest,
    ForkVmResponse,
    KillVmResponse,
    OptimizeVmResponse,
    ResizeVmRequest,
    ResizeVmResponse,
    StartedVmResponse,
    StartVmRequest,
    StopVmResponse,
    SuspendVmResponse,
    WaitVmResponse,
)
from moonpool.dialects.freestyle.sizes import check_size
from moonpool.dialects.freestyle.turns import turn
from moonpool.errors import CheckpointRefused, InvalidInput, SandboxNotFound
from moonpool.processes.units.service import UnitService
from moonpool.sandboxes.model import Fork, Sandbox, SandboxChange, SandboxState

READY_MOMENT = 5  # seconds
MAX_FORKS = 100  # of one request
LAYER_LENGTH = 16  # characters of a snapshot layer's id


async def start_vm(call: Call) -> Response:
    """Resumes a suspended VM, boots a stopped one, makes a deleted one anew where that was agreed; a running one is
    left alone. A VM that boots is ready when its services are."""
    wanted = await call.parse(StartVmRequest)
    sandbox = await started(call, wanted)
    if wanted.model_fields_set & {"idleTimeoutSeconds", "activityThresholdBytes"}:
        await change_idle_rule(call, sandbox, wanted)
    return answer(StartedVmResponse(id=sandbox.id, domains=await domains_of(call, sandbox)))


async def started(call: Call, wanted: StartVmRequest) -> Sandbox:
    check_times(wanted)
    vm_id = await id_of(call)
    async with AsyncExitStack() as stack:
        # However long another request sets it up, which has its own limits; but nothing is made for who has left.
        await call.while_connected(stack.enter_async_context(turn(call, vm_id)))
        deleted = await recreatable(call, vm_id)
        if deleted is not None:
            return await recreated(call, deleted)
    sandbox = await settled(call, vm_id)
    boots = sandbox.state not in (SandboxState.RUNNING, SandboxState.PAUSED)
    sandbox = await call.services.sandboxes.start(call.principal, sandbox.id)
    if boots and wanted.waitForReadySignal is not False:
        asked = wanted.waitForReadySignal is True or wanted.readySignalTimeoutSeconds is not None
        await until_ready(call, sandbox, wanted.readySignalTimeoutSeconds, asked=asked)
    return sandbox


async def id_of(call: Call) -> str:
    """Also of a VM that is asked for by its name, which is no way to one that was deleted."""
    try:
        return (await call.services.sandboxes.get(call.principal, call.vm_id)).id
    except SandboxNotFound:
        return call.vm_id


async def recreatable(call: Call, vm_id: str) -> Sandbox | None:
    """The VM, if it was deleted and is to come back when it is started; for who has its turn."""
    try:
        sandbox = await call.services.sandboxes.get(call.principal, vm_id, include_destroyed=True)
    except SandboxNotFound:
        return None
    unfinished = half_made(sandbox) or (sandbox.state is SandboxState.ERROR and sandbox.never_ran)
    if sandbox.recreatable and unfinished and not sandbox.doomed:
        # It failed, or the server was ended, in the middle of making it; nobody has used it yet.
        await call.services.sandboxes.destroy(call.principal, sandbox.id)
    if sandbox.recreatable:
        sandbox = await call.services.sandboxes.settled(call.principal, sandbox.id)
    return sandbox if sandbox.state is SandboxState.DESTROYED and sandbox.recreatable else None


async def until_ready(call: Call, sandbox: Sandbox, seconds: int | None, *, asked: bool) -> None:
    """Until no service is on its way any more; only for a moment where nobody asked for that. VM_START_TIMEOUT: it runs
    all the same."""
    limit = (READY_TIMEOUT if seconds is None else seconds) if asked else READY_MOMENT
    result = await UnitService(call.services.sandboxes).settle(call.principal, sandbox.id, limit)
    if asked and not result.settled:
        waiting = ", ".join(unit.name for unit in result.units if unit.active_state == "activating")
        message = f"VM {sandbox.id} runs, but is not ready after {limit}s: {waiting}"
        raise FreestyleError(504, "VM_START_TIMEOUT", message, vm_id=sandbox.id)


def check_times(wanted: StartVmRequest) -> None:
    for name in ("idleTimeoutSeconds", "readySignalTimeoutSeconds", "activityThresholdBytes"):
        value = getattr(wanted, name)
        if value is not None and value < 0:
            raise InvalidInput(f"{name}: must not be negative", field=name)


async def stop_vm(call: Call) -> Response:
    """The disk is kept, the memory is not."""
    sandbox = await settled(call)
    if sandbox.state not in (SandboxState.RUNNING, SandboxState.PAUSED):
        raise not_running(sandbox)
    await call.services.sandboxes.stop(call.principal, sandbox.id)
    return answer(StopVmResponse(vmId=sandbox.id, vmInstanceId=sandbox.instance_id))


async def suspend_vm(call: Call) -> Response:
    sandbox = await whole(call)
    if sandbox.state is not SandboxState.PAUSED:
        await suspend(call, sandbox)
    return answer(
        SuspendVmResponse.model_validate(
            {
                "id": sandbox.id,
                "vmInstanceId": sandbox.instance_id,
                "snapshotLayerId": derived_id("sl-", sandbox.instance_id, LAYER_LENGTH),
            }
        )
    )


async def suspend(call: Call, sandbox: Sandbox) -> None:
    if sandbox.state is not SandboxState.RUNNING:
        raise not_running(sandbox)
    if removes_at_suspend(sandbox):
        await call.services.sandboxes.destroy(call.principal, sandbox.id)
        return
    try:
        await call.services.sandboxes.pause(call.principal, sandbox.id)
    except CheckpointRefused as error:
        raise FreestyleError(500, "SUSPEND_FAILED_VM_RESUMED", error.message) from error


async def kill_vm(call: Call) -> Response:
    call.services.access.require(call.principal, Scope.SANDBOXES_WRITE)  # also where nothing is left to do
    sandbox = await settled(call)
    if sandbox.state in (SandboxState.RUNNING, SandboxState.PAUSED):
        await call.services.sandboxes.kill(call.principal, sandbox.id)
    return answer(KillVmResponse(id=sandbox.id))


async def wait_vm(call: Call) -> Response:
    """Answers once the VM no longer runs, however long that takes."""
    sandbox = await find(call)
    ended = await call.while_connected(call.services.sandboxes.ended(call.principal, sandbox.id))
    status = ended.reason or ("suspended" if ended.state is SandboxState.PAUSED else ended.state.value)
    return answer(WaitVmResponse(id=sandbox.id, exitStatus=status))


async def resize_vm(call: Call) -> Response:
    """Live, where Freestyle's own server stops the VM and starts it again. The disk only grows."""
    wanted = await call.parse(ResizeVmRequest)
    if not (wanted.vcpuCount is not None or wanted.memSizeGb is not None or wanted.rootfsSizeGb is not None):
        raise FreestyleError(
            400, "RESIZE_VM_EMPTY_REQUEST", "A resize needs one of vcpuCount, memSizeGb and rootfsSizeGb"
        )
    size = check_size("RESIZE_VM", wanted.vcpuCount, wanted.memSizeGb, wanted.rootfsSizeGb)
    sandbox = await settled(call)
    current = sandbox.resources.disk_mib
    if size.disk_mib is not None and size.disk_mib < current:
        raise FreestyleError(
            400,
            "RESIZE_VM_ROOTFS_SHRINK_NOT_SUPPORTED",
            f"The disk cannot shrink from {current} MiB to {size.disk_mib} MiB",
            current_mb=current,
            requested_mb=size.disk_mib,
        )
    change = SandboxChange(cpu=size.cpu, memory_mib=size.memory_mib, disk_mib=size.disk_mib)
    await call.services.sandboxes.update(call.principal, sandbox.id, change)
    return answer(ResizeVmResponse())


async def optimize_vm(call: Call) -> Response:
    """A suspended VM costs no memory and its forks share its storage; there is nothing more to compact."""
    call.services.access.require(call.principal, Scope.SANDBOXES_WRITE)  # also where nothing is left to do
    sandbox = await whole(call)
    if sandbox.state is SandboxState.RUNNING:
        await suspend(call, sandbox)
    rests = "suspended" if sandbox.state in (SandboxState.RUNNING, SandboxState.PAUSED) else "stopped"
    return answer(OptimizeVmResponse(id=sandbox.id, message=f"VM {rests}; its storage is shared with its forks"))


async def fork_vm(call: Call) -> Response:
    """Copies of memory and disk; the VM itself goes on."""
    wanted = await call.parse(ForkVmRequest)
    count = 1 if wanted.count is None else wanted.count
    if not 1 <= count <= MAX_FORKS:
        raise InvalidInput(f"count: must be 1 to {MAX_FORKS}", field="count")
    sandbox = await whole(call)
    # A name is the VM's own, not its copies'.
    data = {**sandbox.dialect_data, DATA: {**data_of(sandbox), "name": None, "recreate": False, "recipe": None}}
    forks = await call.services.sandboxes.fork(call.principal, sandbox.id, [Fork(dialect_data=data)] * count)
    made = [ForkedVmResponse(id=fork.id, domains=await lead_here(call, fork)) for fork in forks]
    return answer(ForkVmResponse(vmId=sandbox.id, forks=made))


async def change_idle_rule(call: Call, sandbox: Sandbox, wanted: StartVmRequest) -> None:
    timers = sandbox.timers
    seconds: float | None = timers.auto_pause or timers.auto_stop or timers.idle_timeout
    if "idleTimeoutSeconds" in wanted.model_fields_set:
        seconds = wanted.idleTimeoutSeconds
    threshold = timers.activity_bytes
    if "activityThresholdBytes" in wanted.model_fields_set:
        threshold = wanted.activityThresholdBytes
    bare = replace(timers, auto_pause=None, auto_stop=None, idle_timeout=None)
    changed = idle_timers(bare, seconds, data_of(sandbox).get("persistence"), threshold)
    await call.services.sandboxes.update(call.principal, sandbox.id, SandboxChange(timers=changed))


HANDLERS: Mapping[str, Handler] = {
    "start_vm": start_vm,
    "stop_vm": stop_vm,
    "suspend_vm": suspend_vm,
    "kill_vm": kill_vm,
    "wait_vm": wait_vm,
    "resize_vm": resize_vm,
    "optimize_vm": optimize_vm,
    "fork_vm": fork_vm,
}
