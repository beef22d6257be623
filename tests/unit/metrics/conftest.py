"""Metrics on a core with a host in memory, by a clock that stands still: nothing here samples by itself."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import pytest

from moonpool.app import Core
from moonpool.hosts.model import MachineSample
from moonpool.metrics.model import SandboxPoint, Usage
from moonpool.metrics.service import MetricsService
from moonpool.sandboxes.model import NewSandbox, Sandbox
from tests.conftest import ManualClock
from tests.databases import open_store
from tests.unit.sandboxes.conftest import World, new_world

MEBIBYTE = 1024 * 1024
SIZE = NewSandbox(cpu=2, memory_mib=1024, disk_mib=2048)


@dataclass
class Seen:
    """A world whose metrics look only when a test tells them to; ``boot`` is the machine's."""

    world: World
    boot: str = "first"
    cpu: dict[str, int] = field(default_factory=dict)

    @property
    def metrics(self) -> MetricsService:
        return self.world.core.metrics

    @property
    def clock(self) -> ManualClock:
        return self.world.clock

    async def create(self, new: NewSandbox = SIZE) -> Sandbox:
        return await self.world.create(new)

    async def works(self, sandbox: Sandbox, seconds: float, *, cores: float = 0.0, memory: int = 100) -> None:
        """It is awake and uses so much; ``memory`` in MiB."""
        for _ in range(int(seconds * 2)):
            self.clock.advance(0.5)
            self.cpu[sandbox.id] = self.cpu.get(sandbox.id, 1_000_000) + int(cores * 500_000)
            await self.look(sandbox, memory)

    async def look(self, sandbox: Sandbox, memory: int = 100, *, asleep: bool = False) -> None:
        cpu = self.cpu.setdefault(sandbox.id, 1_000_000)
        sample = MachineSample(cpu, memory * MEBIBYTE, 5 * MEBIBYTE, asleep)
        self.world.machines.samples[sandbox.id] = sample
        await self.metrics.sample()

    async def sleeps(self, sandbox: Sandbox, memory: int = 100) -> None:
        await self.look(sandbox, memory, asleep=True)

    async def points(self, sandbox: Sandbox, seconds: float, until: float | None = None) -> list[SandboxPoint]:
        now = self.clock.now().timestamp()
        return await self.metrics.sandbox(self.world.admin, sandbox.id, now - seconds, until)

    async def used(self, first: date | None = None, last: date | None = None) -> Usage:
        """Of all days of the two, together; today."""
        today = self.clock.now().date()
        days = await self.metrics.usage(self.world.admin, first or today, last or today)
        return sum((day.usage for day in days), Usage())

    async def ended(self) -> None:
        """The server ends as it should; its sandboxes go on, to be adopted."""
        await self.world.core.stop()

    async def begins(self, *, boot: str | None = None) -> None:
        """The next server; ``boot``: the machine was started anew."""
        self.boot = boot or self.boot
        world = self.world
        core = Core(world.settings, world.store, world.machines, world.clock)
        core.metrics._boot = lambda: self.boot
        await core.start()
        await still(core)
        self.world = replace(world, core=core)

    async def killed(self, *, boot: str | None = None, after: float = 0.0) -> None:
        """The server ends without a word, and the next one starts ``after`` seconds."""
        await self.world.core.background.close(timeout=0)
        self.clock.advance(after)
        await self.begins(boot=boot)


async def still(core: Core) -> None:
    """Nothing is sampled by the clock on the wall."""
    ticker = core.metrics._ticker
    assert ticker is not None
    ticker.cancel()
    await asyncio.wait({ticker})


@pytest.fixture
async def seen(clock: ManualClock, tmp_path: Path) -> AsyncIterator[Seen]:
    store = await open_store(tmp_path)
    async with new_world(store, clock, tmp_path) as world:
        await still(world.core)
        seen = Seen(world)
        world.core.metrics._boot = lambda: seen.boot
        await world.core.metrics.flush()
        yield seen
    await store.close()
