"""Where a failure leaves a sandbox: tables of what it was doing and what is really there."""

from collections.abc import Mapping
from dataclasses import dataclass

from moonpool.errors import CheckpointCorrupt, EngineError, InvalidInput, MoonpoolError, NoCapacity
from moonpool.hosts.model import MachineState
from moonpool.sandboxes.model import Sandbox, SandboxState

INTERNAL_ERROR = EngineError("Internal error")
DISK_GONE = "its disk is gone"

Found = MachineState | None


@dataclass(frozen=True)
class Outcome:
    state: SandboxState
    reason: str | None
    recoverable: bool


AS_FOUND: Mapping[Found, SandboxState] = {
    MachineState.RUNNING: SandboxState.RUNNING,
    MachineState.PAUSED: SandboxState.PAUSED,
    MachineState.STOPPED: SandboxState.STOPPED,
    None: SandboxState.ERROR,
}


def after_failure(sandbox: Sandbox, found: Found, error: MoonpoolError) -> Outcome:
    """The state to write when what ``sandbox`` was in the middle of has failed with ``error``.

    Nothing says ``running`` that is not, and from every state but a failed destruction ``start`` leads on, as long as
    there is a disk, or there never was one and what was asked for can be had.
    """
    state = state_after(sandbox, found, error)
    if state is SandboxState.RUNNING:
        return Outcome(state, None, recoverable=False)
    has_source = found is not None or (sandbox.never_ran and not isinstance(error, InvalidInput))
    startable = sandbox.state is not SandboxState.DESTROYING and has_source
    return Outcome(state, error.message, recoverable=startable)


def state_after(sandbox: Sandbox, found: Found, error: MoonpoolError) -> SandboxState:
    match sandbox.state:
        case SandboxState.PAUSING:
            return AS_FOUND[found]
        case SandboxState.RESUMING if not isinstance(error, CheckpointCorrupt):
            return AS_FOUND[found]
        case SandboxState.ARCHIVING if found is None and sandbox.backup.archive is not None:
            return SandboxState.ARCHIVED
        case SandboxState.ARCHIVING:
            return AS_FOUND[found]
        case SandboxState.RESTORING:
            return SandboxState.ARCHIVED if found is None else AS_FOUND[found]
        case SandboxState.STARTING if isinstance(error, NoCapacity) and found is MachineState.STOPPED:
            return SandboxState.STOPPED
        case _:
            return SandboxState.ERROR
