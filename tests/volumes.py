"""The part of a host that volumes need, in memory."""

from collections.abc import Sequence
from functools import cached_property

from moonpool.hosts.model import MachineSpec, Mount
from tests.gauges import MemoryGauges


class MemoryVolumes(MemoryGauges):
    """With the figures that such a host tells.

    ``sizes`` are those of the volumes that are there, in MiB; ``mounts`` what a sandbox was last given live."""

    @cached_property
    def sizes(self) -> dict[str, int]:
        return {}

    @cached_property
    def mounts(self) -> dict[str, tuple[Mount, ...]]:
        return {}

    async def create_volume(self, volume: str, size_mib: int) -> None:
        self.sizes[volume] = size_mib

    async def delete_volume(self, volume: str) -> None:
        self.sizes.pop(volume, None)

    async def set_mounts(self, machine_id: str, mounts: Sequence[Mount]) -> None:
        self.mounts[machine_id] = tuple(mounts)

    async def adjust(self, spec: MachineSpec) -> None:
        self.mounts[spec.id] = spec.mounts
