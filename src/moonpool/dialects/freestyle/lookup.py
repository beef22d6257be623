"""From a VM's id to the sandbox, and to the agent inside."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from moonpool.dialects.freestyle.mapping import DEFAULT_FOLDER, FreestyleError, data_of
from moonpool.dialects.freestyle.requests import Call
from moonpool.dialects.freestyle.turns import turn
from moonpool.errors import SandboxNotFound, TransitionInProgress
from moonpool.sandboxes.model import TRANSITIONAL, AgentSession, Sandbox, SandboxState
from moonpool.sandboxes.service import SETTLE_TIMEOUT

VM_ID = re.compile(r"[a-z0-9]{1,20}")
MISSING: Mapping[str, str] = {"fork_vm": "FORK_VM_NOT_FOUND", "resize_vm": "INTERNAL_RESIZE_VM_NOT_FOUND"}
ATTEMPTS = 10  # at a VM whose state others change again and again


async def find(call: Call, vm_id: str | None = None) -> Sandbox:
    """VM_DELETED for one that was deleted a while ago."""
    wanted = call.vm_id if vm_id is None else vm_id
    try:
        sandbox = await call.services.sandboxes.get(call.principal, wanted, include_destroyed=True)
    except SandboxNotFound:
        raise missing(call.operation, wanted) from None
    if sandbox.state is SandboxState.DESTROYED or sandbox.doomed:
        raise FreestyleError(410, "VM_DELETED", f"VM {wanted} has been deleted", vm_id=wanted)
    return sandbox


async def settled(call: Call, vm_id: str | None = None) -> Sandbox:
    """The VM once no change of its state is under way: Freestyle's clients do not expect to be told to wait."""
    sandbox = await find(call, vm_id)
    if sandbox.state in TRANSITIONAL or call.services.sandboxes.changing(sandbox.id):
        await call.services.sandboxes.settled(call.principal, sandbox.id)
        sandbox = await find(call, sandbox.id)
    return sandbox


async def whole(call: Call) -> Sandbox:
    """The VM as ``settled``, and set up: half of one is nobody's to use. TransitionInProgress where that takes long,
    VM_NOT_RUNNING where its server was ended meanwhile and a start would make it anew."""
    sandbox = await settled(call)
    if not half_made(sandbox):
        return sandbox
    async with turn(call, sandbox.id, limit=SETTLE_TIMEOUT):
        sandbox = await settled(call)
    if half_made(sandbox) and sandbox.recreatable:
        raise not_running(sandbox)
    return sandbox


def half_made(sandbox: Sandbox) -> bool:
    return bool(data_of(sandbox).get("setting_up"))


async def awake(call: Call) -> Sandbox:
    """The VM, whole and running: a suspended one is resumed. VM_NOT_RUNNING for a stopped one."""
    for _ in range(ATTEMPTS):
        sandbox = await whole(call)
        if sandbox.state is SandboxState.RUNNING:
            return sandbox
        if sandbox.state is not SandboxState.PAUSED:
            raise not_running(sandbox)
        try:
            return await call.services.sandboxes.start(call.principal, sandbox.id)
        except TransitionInProgress:
            continue  # Somebody else was faster.
    raise not_running(sandbox)


def missing(operation: str, wanted: str) -> FreestyleError:
    """In the operation's own words."""
    if not VM_ID.fullmatch(wanted):
        details = "an id has at most 20 characters [a-z0-9]"
        message = f"Invalid VM ID: {wanted[:200]}, details: {details}"
        return FreestyleError(400, "INVALID_VM_ID", message, vm_id=wanted[:200], details=details)
    code = MISSING.get(operation, "VM_NOT_FOUND")
    fields = {"fork_vm_id" if operation == "fork_vm" else "vm_id": wanted}
    return FreestyleError(404, code, f"VM not found: {wanted}", **fields)


@asynccontextmanager
async def open_session(call: Call, *, active: bool = True) -> AsyncIterator[AgentSession]:
    """The way to the agent of a VM, which is resumed where it is suspended."""
    sandbox = await awake(call)
    async with call.services.sandboxes.session(call.principal, sandbox.id, active=active) as session:
        yield session


def not_running(sandbox: Sandbox) -> FreestyleError:
    return FreestyleError(400, "VM_NOT_RUNNING", f"VM is not running: {sandbox.id}", vm_id=sandbox.id)


def folder_of(call: Call, sandbox: Sandbox) -> str | None:
    """Where commands run: the VM's own folder where it was given one, else the home of who runs them."""
    folder: str | None = data_of(sandbox).get("workdir")
    if folder is not None:
        return folder
    return DEFAULT_FOLDER if sandbox.user == "root" and call.linux_user in (None, "root") else None
