"""Deleted disks, taken apart by the kernel while nothing else is to be done.

It begins with that by itself at the next commit of the pool, within half a minute: mostly that of a create, beside
which it then works, with a commit of its own for each of them.
"""

import asyncio
import contextlib
from collections.abc import Iterator

import structlog

from moonpool.engine.storage import Pool
from moonpool.errors import EngineError
from moonpool.hosts.calm import Calm
from moonpool.hosts.threads import Threads, Unbroken

log = structlog.get_logger(__name__)


class Clearing:
    """Commits the pool, so that the kernel begins, after disks were deleted, as soon as nobody is ``busy``."""

    def __init__(self, pool: Pool, threads: Threads) -> None:
        self._pool, self._threads = pool, threads
        self._loop = asyncio.get_running_loop()
        self._left = False  # anything that was deleted since the last commit
        self._calm, self._unbroken = Calm(), Unbroken()
        self._closed = False
        self._clearer: asyncio.Task[None] | None = None
        pool.on_delete(lambda: self._loop.call_soon_threadsafe(self._deleted))

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Nothing is begun while anybody is inside this block; what the kernel has begun goes on."""
        with self._calm.busy():
            yield

    async def close(self) -> None:
        """A commit that has begun is waited for: the pool cannot be unmounted before its end."""
        self._closed = True
        self._pool.on_delete(None)
        if self._clearer is not None:
            self._clearer.cancel()
            await asyncio.wait([self._clearer])
        await self._unbroken.drain()

    def _deleted(self) -> None:
        self._left = True
        if not self._closed and (self._clearer is None or self._clearer.done()):
            self._clearer = asyncio.create_task(self._clear(), name="clearing of deleted disks")

    async def _clear(self) -> None:
        while self._left:
            await self._calm.wait()
            self._left = False
            await self._unbroken.run(self._commit())

    async def _commit(self) -> None:
        try:
            await self._threads.run(self._pool.commit)
        except EngineError as error:  # The kernel begins by itself.
            log.warning("clearing_failed", reason=error.message)
