"""What becomes of running sandboxes when the server ends."""

import asyncio
from enum import StrEnum

import structlog

from moonpool.errors import CheckpointRefused, MoonpoolError
from moonpool.sandboxes.lifecycle import Lifecycle
from moonpool.sandboxes.model import Sandbox, SandboxState
from moonpool.sandboxes.records import Records

AT_ONCE = 4  # checkpoints written at the same time

log = structlog.get_logger(__name__)


class OnExit(StrEnum):
    """``KEEP`` leaves them running for the next start to adopt."""

    PAUSE = "pause"
    STOP = "stop"
    KEEP = "keep"


async def put_to_rest(records: Records, lifecycle: Lifecycle, on_exit: OnExit) -> None:
    """Pause or stop every running sandbox; one whose memory cannot be saved is stopped. One that fails does not keep
    the others from it."""
    if on_exit is OnExit.KEEP:
        return
    turn = asyncio.Semaphore(AT_ONCE)

    async def rest(sandbox: Sandbox) -> None:
        async with turn:
            try:
                if on_exit is OnExit.PAUSE:
                    await pause_or_stop(lifecycle, sandbox)
                else:
                    await lifecycle.stop(sandbox)
            except MoonpoolError as error:
                log.error("not_put_to_rest", sandbox=sandbox.id, reason=error.message)

    running = [sandbox for sandbox in records.all() if sandbox.state is SandboxState.RUNNING]
    await asyncio.gather(*(rest(sandbox) for sandbox in running))


async def pause_or_stop(lifecycle: Lifecycle, sandbox: Sandbox) -> None:
    try:
        await lifecycle.pause(sandbox)
    except CheckpointRefused as error:
        log.warning("memory_dropped", sandbox=sandbox.id, reason=error.message)
        await lifecycle.stop(sandbox)
