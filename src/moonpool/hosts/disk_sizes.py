"""How large a sandbox's disk and volumes are, for programs inside: their kernel tells them the whole pool's size."""

import asyncio
import contextlib
import time
from collections.abc import Mapping

from moonpool.engine.storage import Pool
from moonpool.errors import MoonpoolError
from moonpool.guest.model import DiskSize
from moonpool.hosts.machine import LiveMachine
from moonpool.hosts.model import MEBIBYTE
from moonpool.hosts.threads import Threads
from moonpool.hosts.volumes import Volumes

PAUSE = 1.0  # seconds between two answers to one sandbox, and between two commits of the pool for any of them


class DiskSizes:
    """What a sandbox asks while it is being answered, or right after it, is answered a moment later. One that was
    started anew meanwhile knows nothing of that."""

    def __init__(self, pool: Pool, volumes: Volumes, threads: Threads) -> None:
        self._pool, self._volumes, self._threads = pool, volumes, threads
        self._answered: set[LiveMachine] = set()
        self._again: set[LiveMachine] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._committed_at = -PAUSE
        self._closed = False

    def asked(self, machine: LiveMachine) -> None:
        if machine in self._answered:
            self._again.add(machine)
        elif not (machine.ending or self._closed):
            self._answered.add(machine)
            task = asyncio.create_task(self._answer(machine))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _answer(self, machine: LiveMachine) -> None:
        try:
            with contextlib.suppress(MoonpoolError):  # It may just be ending.
                sizes = await self._threads.run(self._measure, machine)
                async with machine.session() as agent:
                    await agent.show_disks(sizes)
        finally:
            asyncio.get_running_loop().call_later(PAUSE, self._rested, machine)

    def _rested(self, machine: LiveMachine) -> None:
        self._answered.discard(machine)
        if machine in self._again:
            self._again.discard(machine)
            self.asked(machine)

    def _measure(self, machine: LiveMachine) -> Mapping[str, DiskSize]:
        """Blocking. Quota groups count what was committed: without that a file would be seen half a minute late."""
        if time.monotonic() - self._committed_at >= PAUSE:
            self._committed_at = time.monotonic()
            self._pool.sync(self._pool.path)
        free = self._pool.free_bytes()
        disk = self._pool.usage(machine.disk)
        sizes = {"/": _size(machine.spec.resources.disk_mib * MEBIBYTE, disk.used_bytes, free)}
        for mount in machine.spec.mounts:
            volume = self._volumes.usage(mount.volume)
            sizes[mount.path] = _size(volume.limit_bytes, volume.used_bytes, free)
        return sizes


def _size(limit: int | None, used: int, free: int) -> DiskSize:
    """Where nothing limits it, the pool does."""
    size = used + free if limit is None else limit
    return DiskSize(size, used, max(0, min(size - used, free)))
