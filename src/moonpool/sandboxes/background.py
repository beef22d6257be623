"""Work that outlives the request that began it, yet never the server."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

from moonpool.errors import MoonpoolError

log = structlog.get_logger(__name__)

Result = TypeVar("Result")


class Background:
    """Tasks under way. A failure that nobody awaits is logged, never swallowed."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, Result], name: str) -> asyncio.Task[Result]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def close(self, timeout: float) -> None:
        """Wait ``timeout`` seconds for what is under way, then cancel the rest."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout)
        left = list(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        if isinstance(error, MoonpoolError):
            log.info("task_failed", task=task.get_name(), code=error.code, reason=error.message)
        else:
            log.error("task_failed", task=task.get_name(), exc_info=error)
