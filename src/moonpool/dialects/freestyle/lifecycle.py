"""What changes a VM's state or size: start, stop, suspend, kill, await, resize, optimize, fork."""

from collections.abc import Mapping
from dataclasses import replace

from starlette.responses import Response

from moonpool.dialects.freestyle.lookup import find, not_running, settled
from moonpool.dialects.freestyle.mapping import DATA, FreestyleError, data_of, derived_id
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
from moonpool.errors import CheckpointRefused, InvalidInput
from moonpool.sandboxes.model import Fork, Sandbox, SandboxChange, SandboxState

MAX_FORKS = 100  # of one request
LAYER_LENGTH = 16  # characters of a snapshot layer's id


async def start_vm(call: Call) -> Response:
    """Resumes a suspended VM, boots a stopped one; a running one is left alone."""
    wanted = await call.parse(StartVmRequest)
    sandbox = await settled(call)
    if "idleTimeoutSeconds" in wanted.model_fields_set:
        sandbox = await change_idle_timeout(call, sandbox, wanted.idleTimeoutSeconds)
    started = await call.services.sandboxes.start(call.principal, sandbox.id)
    return answer(StartedVmResponse(id=started.id, domains=[]))


async def stop_vm(call: Call) -> Response:
    """The disk is kept, the memory is not."""
    sandbox = await settled(call)
    if sandbox.state not in (SandboxState.RUNNING, SandboxState.PAUSED):
        raise not_running(sandbox)
    await call.services.sandboxes.stop(call.principal, sandbox.id)
    return answer(StopVmResponse(vmId=sandbox.id, vmInstanceId=sandbox.instance_id))


async def suspend_vm(call: Call) -> Response:
    sandbox = await settled(call)
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
    sandbox = await settled(call)
    if sandbox.state is SandboxState.RUNNING:
        await suspend(call, sandbox)
    return answer(OptimizeVmResponse(id=sandbox.id, message="VM suspended; its storage is shared with its forks"))


async def fork_vm(call: Call) -> Response:
    """Copies of memory and disk; the VM itself goes on."""
    wanted = await call.parse(ForkVmRequest)
    count = 1 if wanted.count is None else wanted.count
    if not 1 <= count <= MAX_FORKS:
        raise InvalidInput(f"count: must be 1 to {MAX_FORKS}", field="count")
    sandbox = await settled(call)
    # A name is the VM's own, not its copies'.
    data = {**sandbox.dialect_data, DATA: {**data_of(sandbox), "name": None}}
    forks = await call.services.sandboxes.fork(call.principal, sandbox.id, [Fork(dialect_data=data)] * count)
    return answer(ForkVmResponse(vmId=sandbox.id, forks=[ForkedVmResponse(id=fork.id, domains=[]) for fork in forks]))


async def change_idle_timeout(call: Call, sandbox: Sandbox, seconds: int | None) -> Sandbox:
    if seconds is not None and seconds < 0:
        raise InvalidInput("idleTimeoutSeconds: must not be negative", field="idleTimeoutSeconds")
    timers = replace(sandbox.timers, auto_pause=None, auto_stop=None, idle_timeout=None)
    timers = idle_timers(timers, seconds, data_of(sandbox).get("persistence"))
    return await call.services.sandboxes.update(call.principal, sandbox.id, SandboxChange(timers=timers))


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
