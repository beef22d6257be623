"""Changes of state that may be asked for many times at once, and are then done once.

The SDK repeats start, hibernate and shutdown after any failure, and expects that to do no harm.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from moonpool.access.model import Scope
from moonpool.dialects.codesandbox.call import Call
from moonpool.errors import InvalidState, SandboxNotFound, TransitionInProgress
from moonpool.sandboxes.model import Sandbox, SandboxState

PATIENCE = 120.0  # seconds for others' changes to come to their end
GONE = frozenset({SandboxState.DESTROYING, SandboxState.DESTROYED})

Result = TypeVar("Result")


async def insist(call: Call, sandbox: str, step: Callable[[Sandbox], Awaitable[Result]]) -> Result:
    """What ``step`` gives, on the sandbox with no change under way; again where another change came between.

    SandboxNotFound also for one that is on its way out.
    """
    services = call.services
    until = services.clock.monotonic() + PATIENCE
    while True:
        found = await services.sandboxes.settled(call.principal, sandbox)
        if found.state in GONE or found.doomed:
            raise SandboxNotFound
        try:
            return await step(found)
        except InvalidState as error:
            changed = isinstance(error, TransitionInProgress) or error.state not in ("", found.state)
            if not changed or services.clock.monotonic() >= until:
                raise


async def bring_up(call: Call, sandbox: str) -> tuple[Sandbox, SandboxState]:
    """Run it, however it rests; also the state that it was found in. A running one is left alone."""

    async def start(found: Sandbox) -> tuple[Sandbox, SandboxState]:
        if found.state is SandboxState.RUNNING:
            return found, found.state
        return await call.services.sandboxes.start(call.principal, found.id), found.state

    return await insist(call, sandbox, start)


async def hibernate(call: Call, sandbox: str) -> None:
    """Keep its memory and end it. SandboxNotFound for one that does not run, as the vendor has it; one that hibernates
    is left alone."""

    async def pause(found: Sandbox) -> None:
        if found.state is SandboxState.RUNNING:
            await call.services.sandboxes.pause(call.principal, found.id)
        elif found.state is not SandboxState.PAUSED:
            raise SandboxNotFound(f"The VM is not running, it is {found.state}")

    call.services.access.require(call.principal, Scope.SANDBOXES_WRITE)
    await insist(call, sandbox, pause)


async def shut_down(call: Call, sandbox: str) -> None:
    """Drop its memory, kept or not; its disk stays. One that is down is left alone."""

    async def stop(found: Sandbox) -> None:
        if found.state is not SandboxState.STOPPED:
            await call.services.sandboxes.stop(call.principal, found.id)

    call.services.access.require(call.principal, Scope.SANDBOXES_WRITE)
    await insist(call, sandbox, stop)
