"""Blocking engine calls off the event loop, and operations that a cancelled caller must not tear in half."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

ENGINE_THREADS = 16


class Threads:
    """A bounded pool of threads for the engine's blocking calls."""

    def __init__(self, size: int = ENGINE_THREADS) -> None:
        self._executor = ThreadPoolExecutor(size, thread_name_prefix="engine")

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(self._executor, partial(function, *args, **kwargs))

    def close(self) -> None:
        self._executor.shutdown(wait=True)


class Unbroken:
    """Runs an operation to its end even if the caller is cancelled: half a sandbox is worse than one too many."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self, operation: Coroutine[Any, Any, T]) -> T:
        task = asyncio.create_task(operation)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    async def drain(self) -> None:
        """Waits for everything that is under way; each operation has its own limits."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # Taken here, since a cancelled caller no longer asks for it.
