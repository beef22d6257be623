"""Transfers of disks under way, which take minutes: the next request for a sandbox may end its own."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from moonpool.errors import TransferCancelled


class Transfers:
    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self.closing = False

    async def run(self, sandbox_id: str, work: Coroutine[Any, Any, object]) -> None:
        """Do ``work`` as this sandbox's transfer. TransferCancelled once it was ended by ``cancel`` or ``close``."""
        await self.cancel(sandbox_id)
        task = asyncio.ensure_future(work)
        if self.closing:
            task.cancel()
        self._tasks[sandbox_id] = task
        try:
            await task
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is None or current.cancelling():
                raise
            raise TransferCancelled from None
        finally:
            if self._tasks.get(sandbox_id) is task:
                del self._tasks[sandbox_id]

    async def cancel(self, sandbox_id: str) -> None:
        """Returns when nothing of it goes on any more; at once where there is none."""
        while (task := self._tasks.get(sandbox_id)) is not None:
            task.cancel()
            await asyncio.wait({task})
            await asyncio.sleep(0)  # Whoever waits for it hears of it first.

    async def close(self) -> None:
        """End them all, because the server ends: the next one goes on with them."""
        self.closing = True
        for sandbox_id in list(self._tasks):
            await self.cancel(sandbox_id)
