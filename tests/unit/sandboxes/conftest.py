"""The core on a database of each kind and a host in memory."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from moonpool.access.model import ALL_SCOPES, Principal
from moonpool.app import Core
from moonpool.config import Settings
from moonpool.events.model import Event
from moonpool.sandboxes.model import NewSandbox, Sandbox, SandboxState
from moonpool.sandboxes.service import SandboxService
from moonpool.store.database import Store
from tests.conftest import ManualClock
from tests.databases import open_store
from tests.unit.sandboxes.machines import MemoryMachines

STRANGER = Principal("00000000-0000-0000-0000-000000000000", "nobody", None, ALL_SCOPES)


@dataclass
class World:
    """One server, and what stands around it."""

    core: Core
    machines: MemoryMachines
    clock: ManualClock
    store: Store
    admin: Principal
    settings: Settings

    @property
    def sandboxes(self) -> SandboxService:
        return self.core.sandboxes

    async def create(self, new: NewSandbox | None = None, *, wait: bool = True) -> Sandbox:
        return await self.sandboxes.create(self.admin, new or NewSandbox(), wait=wait)

    async def get(self, sandbox: Sandbox) -> Sandbox:
        return await self.sandboxes.get(self.admin, sandbox.id, include_destroyed=True)

    async def reaches(self, sandbox: Sandbox, *states: SandboxState) -> Sandbox:
        """Wait for the event that tells of one of these states."""
        async with self.core.events.subscribe(self.admin.team_id) as events:
            current = await self.get(sandbox)
            while current.state not in states:
                await anext(events)
                current = await self.get(sandbox)
            return current

    async def history(self, sandbox: Sandbox) -> list[Event]:
        events = await self.core.events.history(self.admin.team_id, limit=1000)
        return [event for event in events if event.subject_id == sandbox.id]

    async def states(self, sandbox: Sandbox) -> list[str]:
        """Every state that was told of, in order."""
        return [event.data["new_state"] for event in await self.history(sandbox)]

    async def restart(self) -> "World":
        """The same database and machines under a new server, as after a crash."""
        await self.core.background.close(timeout=0)
        core = Core(self.settings, self.store, self.machines, self.clock)
        await core.start()
        return World(core, self.machines, self.clock, self.store, self.admin, self.settings)


@asynccontextmanager
async def new_world(store: Store, clock: ManualClock, data: Path) -> AsyncIterator[World]:
    settings = Settings(data=data, max_cpu=8, max_memory_mib=16384, max_disk_mib=20480, on_exit="keep")
    machines = MemoryMachines()
    core = Core(settings, store, machines, clock)
    await core.start()
    yield World(core, machines, clock, store, await core.access.local_principal(), settings)
    await core.background.close(timeout=0)
    await core.stop()


@pytest.fixture
async def world(store: Store, clock: ManualClock, tmp_path: Path) -> AsyncIterator[World]:
    async with new_world(store, clock, tmp_path) as made:
        yield made


@pytest.fixture
async def sqlite_world(clock: ManualClock, tmp_path: Path) -> AsyncIterator[World]:
    """For what does not depend on the database."""
    store = await open_store(tmp_path)
    async with new_world(store, clock, tmp_path) as made:
        yield made
    await store.close()


async def cancelled(work: Awaitable[object], reached: Callable[[], Awaitable[object]]) -> None:
    """Begin ``work`` and cancel it once ``reached``."""
    task = asyncio.ensure_future(work)
    await reached()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
