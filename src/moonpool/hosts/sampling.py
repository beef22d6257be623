"""Figures of everything that is awake, in one go."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from weakref import WeakSet

from moonpool.engine.cgroups import Cgroups
from moonpool.engine.network.links import traffic as link_traffic
from moonpool.engine.storage import Pool
from moonpool.errors import EngineError
from moonpool.hosts.machine import LiveMachine
from moonpool.hosts.model import MachineSample, MachineUsage
from moonpool.hosts.threads import Threads


class Sampler:
    """A sandbox that fell asleep is sampled once more: until it wakes that stays true, so it is left out from then on.
    Being awake takes longer than a second (``machine.REST_AFTER``), so whoever asks twice a second misses none."""

    def __init__(self, cgroups: Cgroups, pool: Pool, threads: Threads) -> None:
        self._cgroups, self._pool, self._threads = cgroups, pool, threads
        self._settled: WeakSet[LiveMachine] = WeakSet()

    async def sample(self, machines: Mapping[str, LiveMachine]) -> dict[str, MachineSample]:
        due = {name: machine for name, machine in machines.items() if self._due(machine)}
        return await self._threads.run(self._read, due) if due else {}

    async def usage(self, machine_id: str, disk: Path, machines: Mapping[str, LiveMachine]) -> MachineUsage:
        """Of one; CPU and memory are 0 where it does not run."""
        written = (await self._threads.run(self._pool.usage, disk)).used_bytes
        machine = machines.get(machine_id)
        if machine is None:
            return MachineUsage(0, 0, written)
        stats = await self._threads.run(self._cgroups.stats, machine.member.name)
        return MachineUsage(stats.cpu_microseconds, stats.memory_bytes, written)

    async def disk_use(self, disks: Mapping[str, Path]) -> dict[str, int]:
        """Bytes that each has written; those that are just being destroyed are left out."""
        return await self._threads.run(self._measure, disks) if disks else {}

    async def traffic(self, machines: Mapping[str, LiveMachine]) -> dict[str, int]:
        """Bytes over the network of each, to and fro."""
        linked = {name: machine.member.slot.link for name, machine in machines.items()}
        return await self._threads.run(lambda: {name: link_traffic(link) for name, link in linked.items()})

    def _measure(self, disks: Mapping[str, Path]) -> dict[str, int]:
        """Blocking."""
        found: dict[str, int] = {}
        for name, path in disks.items():
            with contextlib.suppress(EngineError):
                found[name] = self._pool.usage(path).used_bytes
        return found

    def _due(self, machine: LiveMachine) -> bool:
        if not machine.asleep:
            self._settled.discard(machine)
            return True
        return machine not in self._settled

    def _read(self, machines: Mapping[str, LiveMachine]) -> dict[str, MachineSample]:
        """Blocking."""
        samples: dict[str, MachineSample] = {}
        for name, machine in machines.items():
            asleep = machine.asleep  # Before the figures: what falls asleep meanwhile is read again.
            figures = self._cgroups.figures(machine.member.name)
            if figures is None:
                continue  # It has just ended.
            samples[name] = MachineSample(*figures, asleep)
            if asleep:
                self._settled.add(machine)
        return samples
