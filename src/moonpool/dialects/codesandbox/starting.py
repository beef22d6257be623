"""Starting a sandbox: its size and timers, its processes, and the way in for its client."""

from dataclasses import replace
from typing import Any

from moonpool.access.model import Scope
from moonpool.dialects.codesandbox.addresses import pitcher_url
from moonpool.dialects.codesandbox.call import Call
from moonpool.dialects.codesandbox.details import Details, details_of
from moonpool.dialects.codesandbox.mapping import AGENT_VERSION, DIALECT, HOME, SIZES, USER, WORKSPACE, Bootup
from moonpool.dialects.codesandbox.pitcher.tokens import Grant, Permission
from moonpool.dialects.codesandbox.schemas import AutomaticWakeupConfig, StartOptions, Tier, VMStartRequest
from moonpool.dialects.codesandbox.steps import bring_up, insist
from moonpool.errors import SnapshotNotFound
from moonpool.sandboxes.model import Sandbox, SandboxChange, SandboxState, Timers

BOOTUPS = {SandboxState.RUNNING: Bootup.RUNNING, SandboxState.PAUSED: Bootup.RESUME}

Options = StartOptions | VMStartRequest


async def start(call: Call, sandbox_id: str, options: Options) -> dict[str, Any]:
    """The answer of a start; of a running sandbox as well, which is only changed as ``options`` say: there a key that
    may only read is let in to read.

    A size that cannot be had refuses the start before anything is changed. ``ipcountry`` chooses a cluster, and there
    is one.
    """
    sandbox = await insist(call, sandbox_id, lambda found: configure(call, found, at_rest(found, options)))
    await insist(call, sandbox.id, lambda found: onto_image(call, found))
    sandbox, was = await bring_up(call, sandbox.id)
    sandbox = await configure(call, sandbox, options)
    writes = call.principal.allows(Scope.SANDBOXES_WRITE)
    if writes and DIALECT not in sandbox.dialect_data:
        await make_workspace(call, sandbox)
    first = call.shared.unstarted.take(sandbox.id)
    bootup = Bootup.FORK if first and was is SandboxState.RUNNING else BOOTUPS.get(was, Bootup.CLEAN)
    return start_json(call, sandbox, bootup, writes=writes)


async def onto_image(call: Call, sandbox: Sandbox) -> None:
    """One that starts from its disk gets the root that its workspace's Dockerfile has become; the workspace stays."""
    image = details_of(sandbox).image
    if sandbox.state is not SandboxState.STOPPED or image is None or image["snapshot"] == sandbox.snapshot:
        return
    try:
        await call.services.sandboxes.rebase(call.principal, sandbox.id, image["snapshot"], WORKSPACE)
    except SnapshotNotFound:  # Deleted since: it is built again when a client connects.
        change = SandboxChange(dialect_data=replace(details_of(sandbox), image=None).stored)
        await call.services.sandboxes.update(call.principal, sandbox.id, change)


def at_rest(sandbox: Sandbox, options: Options) -> Options:
    """What of the options comes before a start. The memory that a hibernated one has kept must fit when it comes back:
    whether it fits into less can only be told then."""
    if options.tier is not None and may_not_fit(sandbox, options.tier):
        return options.model_copy(update={"tier": None})
    return options


def may_not_fit(sandbox: Sandbox, tier: Tier) -> bool:
    return sandbox.state is SandboxState.PAUSED and SIZES[tier].memory_mib < sandbox.resources.memory_mib


async def configure(call: Call, sandbox: Sandbox, options: Options) -> Sandbox:
    """Nothing is written where all is as the options have it."""
    change = change_of(sandbox, options)
    if change == SandboxChange():
        return sandbox
    return await call.services.sandboxes.update(call.principal, sandbox.id, change)


def change_of(sandbox: Sandbox, options: Options) -> SandboxChange:
    change = SandboxChange()
    if options.tier is not None:
        change = resized(sandbox, options.tier)
    if options.hibernation_timeout_seconds is not None:
        timers = hibernating(sandbox.timers, options.hibernation_timeout_seconds)
        change = replace(change, timers=None if timers == sandbox.timers else timers)
    if options.automatic_wakeup_config is not None:
        stored = waking(details_of(sandbox), options.automatic_wakeup_config).stored
        change = replace(change, dialect_data=None if stored.items() <= sandbox.dialect_data.items() else stored)
    return change


def resized(sandbox: Sandbox, tier: Tier) -> SandboxChange:
    """A disk never shrinks: what is on it may need the room."""
    size, now = SIZES[tier], sandbox.resources
    wanted = replace(now, cpu=size.cpu, memory_mib=size.memory_mib, disk_mib=max(size.disk_mib, now.disk_mib))
    if wanted == now:
        return SandboxChange()
    return SandboxChange(cpu=wanted.cpu, memory_mib=wanted.memory_mib, disk_mib=wanted.disk_mib)


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
    grant = Grant(sandbox.id, sandbox.team_id, USER, HOME, WORKSPACE, permission, key_id=call.principal.key_id)
    token = call.shared.tokens.mint(grant)
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
