"""What the contract tests' machines share that are no real ones: they cannot be copied, and snapshots are empty."""

from collections.abc import Callable, Collection, Sequence

from moonpool.errors import EngineError
from moonpool.hosts.model import Captured, MachineSpec
from tests.disks import MemoryDisks
from tests.layers import DisksInMemory
from tests.volumes import MemoryVolumes


class WithoutCopies(MemoryVolumes, MemoryDisks):
    """The part of ``sandboxes.machines.Machines`` that needs a real engine; tests/sdk have one."""

    def __init__(self) -> None:
        self.kept: set[str] = set()
        self.layers = DisksInMemory(self.kept.add)

    async def kill(self, machine_id: str) -> None:
        await self.stop(machine_id)

    async def stop(self, machine_id: str) -> None:
        raise NotImplementedError

    async def fork(self, source_id: str, copies: Sequence[MachineSpec]) -> bool:
        raise EngineError("These machines cannot be copied")

    async def capture(self, machine_id: str, snapshot_id: str, *, memory: bool) -> Captured:
        self.kept.add(snapshot_id)
        return Captured(has_memory=False, size_bytes=1000)

    async def unpack(self, spec: MachineSpec) -> bool:
        return False

    async def forget(self, snapshot_id: str) -> None:
        self.kept.discard(snapshot_id)

    async def traffic(self) -> dict[str, int]:
        return {}

    async def reclaim(self) -> bool:
        return True

    def on_scarce(self, callback: Callable[[], None]) -> None:
        pass

    async def snapshots(self) -> Collection[str]:
        return set(self.kept)
