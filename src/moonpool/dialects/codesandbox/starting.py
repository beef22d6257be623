"""Starting a sandbox: its size and timers, its processes, and the way in for its client."""

from dataclasses import replace
from typing import Any

from moonpool.access.model import Scope
from moonpool.dialects.codesandbox.addresses import pitcher_url
from moonpool.dialects.codesandbox.call import Call
from moonpool.dialects.codesandbox.details import Details, details_of
from moonpool.dialects.codesandbox.mapping import AGENT_VERSION, DIALECT, HOME, SIZES, USER, WORKSPACE, Bootup
from moonpool.dialects.codesandbox.pitcher.tokens import Permission
from moonpool.dialects.codesandbox.schemas import AutomaticWakeupConfig, StartOptions, Tier, VMStartRequest
from moonpool.dialects.codesandbox.steps import bring_up, insist
from moonpool.sandboxes.model import Sandbox, SandboxChange, SandboxState, Timers

BOOTUPS = {SandboxState.RUNNING: Bootup.RUNNING, SandboxState.PAUSED: Bootup.RESUME}

Options = StartOptions | VMStartRequest


async def start(call: Call, sandbox_id: str, options: Options) -> dict[str, Any]:
    """The answer of a start; of a running sandbox as well, which is only changed as ``options`` say: there a key that
    may only read is let in to read.

    A size that cannot be had refuses the start before anything is changed. ``ipcountry`` chooses a cluster, and there
    is one.
    """
    sandbox = await insist(call, sandbox_id, lambda found: configure(call, found, options))
    sandbox, was = await bring_up(call, sandbox.id)
    writes = call.principal.allows(Scope.SANDBOXES_WRITE)
    if writes and DIALECT not in sandbox.dialect_data:
        await make_workspace(call, sandbox)
    first = call.shared.unstarted.take(sandbox.id)
    bootup = Bootup.FORK if first and was is SandboxState.RUNNING else BOOTUPS.get(was, Bootup.CLEAN)
    return start_json(call, sandbox, bootup, writes=writes)


async def configure(call: Call, sandbox: Sandbox, options: Options) -> Sandbox:
    change = SandboxChange()
    if options.tier is not None:
        change = resized(sandbox, options.tier)
    if options.hibernation_timeout_seconds is not None:
        change = replace(change, timers=hibernating(sandbox.timers, options.hibernation_timeout_seconds))
    if options.automatic_wakeup_config is not None:
        change = replace(change, dialect_data=waking(details_of(sandbox), options.automatic_wakeup_config).stored)
    if change == SandboxChange():
        return sandbox
    return await call.services.sandboxes.update(call.principal, sandbox.id, change)


def resized(sandbox: Sandbox, tier: Tier) -> SandboxChange:
    """A disk never shrinks: what is on it may need the room."""
    size = SIZES[tier]
    disk = max(size.disk_mib, sandbox.resources.disk_mib)
    return SandboxChange(cpu=float(size.cpu), memory_mib=size.memory_mib, disk_mib=disk)


def hibernating(timers: Timers, seconds: int) -> Timers:
    """Also in place of what other APIs would do to an idle sandbox."""
    return replace(timers, idle_timeout=float(seconds), auto_pause=None, auto_stop=None)


def waking(details: Details, config: AutomaticWakeupConfig) -> Details:
    return replace(details, wake_on_http=config.http is not False, wake_on_websocket=bool(config.websocket))


async def make_workspace(call: Call, sandbox: Sandbox) -> None:
    """In an image of another make the folder that this API's clients work in may be missing."""
    async with call.services.sandboxes.session(call.principal, sandbox.id) as session:
        await session.agent.mkdir(WORKSPACE, user=USER)


def start_json(call: Call, sandbox: Sandbox, bootup: Bootup, *, writes: bool) -> dict[str, Any]:
    permission: Permission = "write" if writes and not details_of(sandbox).is_frozen else "read"
    token = call.shared.tokens.mint(sandbox.id, sandbox.team_id, USER, HOME, WORKSPACE, permission)
    return {
        "id": sandbox.id,
        "cluster": call.cluster,
        "bootup_type": bootup.value,
        "pitcher_url": pitcher_url(call.origin, sandbox.id),
        "pitcher_token": token,
        "pitcher_version": AGENT_VERSION,
        "pitcher_manager_version": AGENT_VERSION,
        "latest_pitcher_version": AGENT_VERSION,
        "reconnect_token": token,
        "workspace_path": WORKSPACE,
        "user_workspace_path": WORKSPACE,
        "use_pint": False,
    }
