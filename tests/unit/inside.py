"""The core with a sandbox whose agent is a real one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from moonpool.access.model import Principal
from moonpool.app import Core
from moonpool.config import Settings
from moonpool.guest.client import AgentClient
from moonpool.hosts.model import MachineState
from moonpool.sandboxes.model import NewSandbox, Sandbox
from moonpool.sandboxes.service import SandboxService
from tests.conftest import ManualClock
from tests.databases import open_store
from tests.unit.guest.conftest import RunningAgent, running_agent
from tests.unit.sandboxes.machines import MemoryMachines


class AgentMachines(MemoryMachines):
    """Every sandbox is the same agent; one that is paused or copied loses its connections, as a real one does."""

    def __init__(self, running: RunningAgent) -> None:
        super().__init__()
        self._running = running
        self._client: AgentClient | None = None

    @asynccontextmanager
    async def session(self, machine_id: str) -> AsyncIterator[AgentClient]:
        self._require(machine_id, MachineState.RUNNING)
        if self._client is None or self._client.closed.is_set():
            self._client = await self._running.connect()
        yield self._client

    async def disconnect(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def pause(self, machine_id: str) -> None:
        await super().pause(machine_id)
        await self.disconnect()


@dataclass
class Inside:
    """``owner`` may do everything; so may a stranger, in another team."""

    core: Core
    machines: AgentMachines
    owner: Principal
    sandbox: Sandbox

    @property
    def sandboxes(self) -> SandboxService:
        return self.core.sandboxes


@asynccontextmanager
async def running_inside(clock: ManualClock, data: Path, user: str = "root") -> AsyncIterator[Inside]:
    settings = Settings(data=data, on_exit="keep")
    store = await open_store(data)
    async with running_agent() as running:
        machines = AgentMachines(running)
        core = Core(settings, store, machines, clock)
        await core.start()
        owner = await core.access.local_principal()
        sandbox = await core.sandboxes.create(owner, NewSandbox(user=user))
        yield Inside(core, machines, owner, sandbox)
        await machines.disconnect()
        await core.background.close(timeout=0)
        await core.stop()
    await store.close()
