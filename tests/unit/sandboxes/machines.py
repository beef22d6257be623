"""A host without machines: keeps the same promises as the real one, in memory, and fails where it is told to."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import cast

from moonpool.errors import InvalidState, MemoryDoesNotFit, NoDiskSpace
from moonpool.guest.client import AgentClient
from moonpool.hosts.model import (
    Captured,
    ExitReason,
    MachineExit,
    MachineSpec,
    MachineState,
    MachineUsage,
    Mount,
    NetworkPolicy,
    Readiness,
    Resources,
    snapshot_of,
)
from tests.agents import KnowsUsers
from tests.disks import MemoryDisks
from tests.layers import DisksInMemory
from tests.volumes import MemoryVolumes


class Gate:
    """Holds an operation until ``open``; ``reached`` tells that one waits."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self._opened = asyncio.Event()

    def open(self) -> None:
        self._opened.set()

    async def wait(self) -> None:
        self.reached.set()
        await self._opened.wait()


class MemoryMachines(MemoryVolumes, MemoryDisks):
    def __init__(self) -> None:
        self.states: dict[str, MachineState] = {}
        self.specs: dict[str, MachineSpec] = {}
        self.calls: list[tuple[str, str]] = []
        self.resources: dict[str, Resources] = {}
        self.networks: dict[str, NetworkPolicy] = {}
        self.kept: dict[str, bool] = {}  # snapshots: whether they hold memory
        self.layers = DisksInMemory(lambda snapshot_id: self.kept.setdefault(snapshot_id, False))
        self.closed: bool | None = None
        self.warming: Readiness | None = None
        self.bytes: dict[str, int] = {}
        self.full = False  # only destroying and forgetting work, until ``room_after`` of them
        self.room_after = 1
        self.scarce: Callable[[], None] = lambda: None
        self._failures: dict[str, BaseException] = {}
        self._gates: dict[str, Gate] = {}
        self._exited: Callable[[MachineExit], None] = lambda _exit: None

    def fail(self, operation: str, error: BaseException) -> None:
        """The next ``operation`` raises instead of doing anything."""
        self._failures[operation] = error

    def hold(self, operation: str) -> Gate:
        """The next ``operation`` waits at its beginning."""
        gate = self._gates[operation] = Gate()
        return gate

    def die(self, machine_id: str, reason: ExitReason = ExitReason.CRASHED) -> None:
        self.states[machine_id] = MachineState.STOPPED
        self._exited(MachineExit(machine_id, reason))

    async def create(self, spec: MachineSpec) -> None:
        await self._begin("create", spec.id)
        self._run(spec)

    async def start(self, spec: MachineSpec) -> None:
        await self._begin("start", spec.id)
        self._require(spec.id, *MachineState)
        self._run(spec)

    async def stop(self, machine_id: str) -> None:
        await self._begin("stop", machine_id)
        if machine_id in self.states:
            self.states[machine_id] = MachineState.STOPPED

    async def kill(self, machine_id: str) -> None:
        await self._begin("kill", machine_id)
        if machine_id in self.states:
            self.states[machine_id] = MachineState.STOPPED

    async def fork(self, source_id: str, copies: Sequence[MachineSpec]) -> bool:
        await self._begin("fork", source_id)
        has_memory = self.states[source_id] is not MachineState.STOPPED
        for copy in copies:
            self.states[copy.id] = MachineState.PAUSED if has_memory else MachineState.STOPPED
        return has_memory

    async def capture(self, machine_id: str, snapshot_id: str, *, memory: bool) -> Captured:
        await self._begin("capture", machine_id)
        has_memory = memory and self.states[machine_id] is not MachineState.STOPPED
        self.kept[snapshot_id] = has_memory
        return Captured(has_memory, size_bytes=1000)

    async def unpack(self, spec: MachineSpec) -> bool:
        await self._begin("unpack", spec.id)
        has_memory = self.kept[snapshot_of(spec.image) or ""]
        self.states[spec.id] = MachineState.PAUSED if has_memory else MachineState.STOPPED
        return has_memory

    async def forget(self, snapshot_id: str) -> None:
        await self._begin("forget", snapshot_id)
        self.kept.pop(snapshot_id, None)

    async def snapshots(self) -> set[str]:
        return set(self.kept)

    async def pause(self, machine_id: str) -> None:
        await self._begin("pause", machine_id)
        self._require(machine_id, MachineState.RUNNING)
        self.states[machine_id] = MachineState.PAUSED

    async def resume(self, spec: MachineSpec) -> None:
        await self._begin("resume", spec.id)
        self._require(spec.id, MachineState.PAUSED)
        self._run(spec)

    async def destroy(self, machine_id: str) -> None:
        await self._begin("destroy", machine_id)
        self.states.pop(machine_id, None)
        self.contents.pop(machine_id, None)

    @asynccontextmanager
    async def session(self, machine_id: str) -> AsyncIterator[AgentClient]:
        self._require(machine_id, MachineState.RUNNING)
        yield cast(AgentClient, KnowsUsers())

    async def set_resources(self, machine_id: str, resources: Resources) -> None:
        await self._begin("set_resources", machine_id)
        self.resources[machine_id] = resources

    async def set_network(self, machine_id: str, policy: NetworkPolicy) -> None:
        await self._begin("set_network", machine_id)
        self.networks[machine_id] = policy

    async def set_mounts(self, machine_id: str, mounts: Sequence[Mount]) -> None:
        await self._begin("set_mounts", machine_id)
        await super().set_mounts(machine_id, mounts)

    async def create_volume(self, volume: str, size_mib: int) -> None:
        await self._begin("create_volume", volume)
        await super().create_volume(volume, size_mib)

    async def delete_volume(self, volume: str) -> None:
        await self._begin("delete_volume", volume)
        await super().delete_volume(volume)

    async def usage(self, machine_id: str) -> MachineUsage:
        return MachineUsage(1, 2, 3)

    async def machines(self) -> dict[str, MachineState]:
        return dict(self.states)

    def readiness(self) -> Readiness:
        if self.warming is not None:
            return self.warming
        running = sum(state is MachineState.RUNNING for state in self.states.values())
        return Readiness(ready=True, warm=4, target=4, running=running, asleep=0)

    def on_exit(self, callback: Callable[[MachineExit], None]) -> None:
        self._exited = callback

    async def traffic(self) -> dict[str, int]:
        return dict(self.bytes)

    async def reclaim(self) -> bool:
        await self._begin("reclaim", "")
        return not self.full

    def on_scarce(self, callback: Callable[[], None]) -> None:
        self.scarce = callback

    async def close(self, *, keep: bool = False) -> None:
        self.closed = keep

    async def _begin(self, operation: str, machine_id: str) -> None:
        self.calls.append((operation, machine_id))
        if gate := self._gates.pop(operation, None):
            await gate.wait()
        if error := self._failures.pop(operation, None):
            raise error
        if operation in ("destroy", "forget"):
            self.room_after -= 1
            self.full = self.full and self.room_after > 0
        elif self.full and operation in ("create", "unpack", "fork", "capture"):
            raise NoDiskSpace
        elif self.full and operation == "pause":
            raise MemoryDoesNotFit

    def _run(self, spec: MachineSpec) -> None:
        self.specs[spec.id] = spec
        self.states[spec.id] = MachineState.RUNNING

    def _require(self, machine_id: str, *states: MachineState) -> None:
        if self.states.get(machine_id) not in states:
            raise InvalidState("not there", state=self.states.get(machine_id, "missing"))
