"""The part of a host that tells figures, in memory."""

from collections.abc import Collection, Mapping
from functools import cached_property

from moonpool.hosts.model import MachineSample, Room
from moonpool.hosts.notices import Notices


class MemoryGauges:
    """What a test puts into ``samples`` is told once, as a host does of what sleeps; ``disk`` are bytes by sandbox."""

    @cached_property
    def notices(self) -> Notices:
        return Notices()

    @cached_property
    def samples(self) -> dict[str, MachineSample]:
        return {}

    @cached_property
    def disk(self) -> dict[str, int]:
        return {}

    warm = 0  # members asked for beyond the settings' number

    def keep_warm(self, extra: int) -> None:
        self.warm = extra

    async def sample(self) -> Mapping[str, MachineSample]:
        told = dict(self.samples)
        self.samples.clear()
        return told

    async def disk_use(self, machine_ids: Collection[str]) -> Mapping[str, int]:
        return {machine_id: self.disk[machine_id] for machine_id in machine_ids if machine_id in self.disk}

    async def room(self) -> Room:
        return Room(disk_total=1 << 40, disk_free=1 << 39, memory_total=1 << 34, memory_available=1 << 33)
