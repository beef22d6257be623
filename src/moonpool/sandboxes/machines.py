"""What the core needs of a host; ``hosts.host.Host`` is one."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from moonpool.guest.client import AgentClient
from moonpool.hosts.model import (
    MachineExit,
    MachineSpec,
    MachineState,
    MachineUsage,
    NetworkPolicy,
    Readiness,
    Resources,
)


class Machines(Protocol):
    """Brings sandboxes into being. Every call may raise ``errors.EngineError`` or ``errors.NoCapacity``."""

    async def create(self, spec: MachineSpec) -> None:
        """Make the disk from ``spec.image`` and run on it; a failure leaves nothing behind that runs."""
        ...

    async def start(self, spec: MachineSpec) -> None:
        """Run on the disk that is there."""
        ...

    async def stop(self, machine_id: str) -> None:
        """End the processes and drop kept memory; the disk stays. Also for one that does not run."""
        ...

    async def pause(self, machine_id: str) -> None:
        """Memory to disk, processes gone. CheckpointRefused: it runs on, unharmed."""
        ...

    async def resume(self, spec: MachineSpec) -> None:
        """The inverse of ``pause``. CheckpointIncompatible, CheckpointCorrupt: the disk is still good."""
        ...

    async def destroy(self, machine_id: str) -> None:
        """Leave nothing of it; also for one that does not exist."""
        ...

    def session(self, machine_id: str) -> AbstractAsyncContextManager[AgentClient]:
        """A way to the agent of a running sandbox; wakes it from sleep."""
        ...

    async def set_resources(self, machine_id: str, resources: Resources) -> None: ...

    async def set_network(self, machine_id: str, policy: NetworkPolicy) -> None: ...

    async def usage(self, machine_id: str) -> MachineUsage: ...

    async def machines(self) -> Mapping[str, MachineState]:
        """What is really there: every sandbox that has a disk."""
        ...

    def readiness(self) -> Readiness: ...

    def on_exit(self, callback: Callable[[MachineExit], None]) -> None:
        """``callback`` is called, in the event loop, whenever processes end that nobody asked to end."""
        ...
