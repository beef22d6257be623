"""Whose turn it is with a VM: who makes one has it until the VM is set up, or gone again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from moonpool.dialects.freestyle.requests import Call
from moonpool.errors import TransitionInProgress
from moonpool.hosts.keyed_locks import KeyedLocks


@asynccontextmanager
async def turn(call: Call, vm_id: str, *, limit: float | None = None) -> AsyncIterator[None]:
    """Exclusive among those who make or wait for this VM. TransitionInProgress after ``limit`` seconds."""
    locks: KeyedLocks = call.request.app.state.locks
    async with AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(limit):
                await stack.enter_async_context(locks.hold(f"turn/{call.principal.team_id}/{vm_id}"))
        except TimeoutError:
            raise TransitionInProgress(f"VM {vm_id} is being set up") from None
        yield
