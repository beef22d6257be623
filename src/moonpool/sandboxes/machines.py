"""What the core needs of a host; ``hosts.host.Host`` is one."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from moonpool.archives.disks import DiskReader, DiskWriter
from moonpool.guest.client import AgentClient
from moonpool.hosts.model import (
    Base,
    Captured,
    MachineExit,
    MachineSpec,
    MachineState,
    MachineUsage,
    Mount,
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

    async def kill(self, machine_id: str) -> None:
        """As ``stop``, but nothing inside is asked first."""
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

    async def fork(self, source_id: str, copies: Sequence[MachineSpec]) -> bool:
        """Give each of ``copies`` the source's disk and memory, all as of one moment. The source stays what it is.

        True: they are as paused ones, to be resumed; False: as stopped ones, since the source has no memory. A failure
        leaves nothing of them. CheckpointRefused: the source runs on, unharmed.
        """
        ...

    async def capture(self, machine_id: str, snapshot_id: str, *, memory: bool) -> Captured:
        """Keep its disk and, with ``memory``, what memory it has as a snapshot; a failure leaves nothing of it."""
        ...

    async def unpack(self, spec: MachineSpec) -> bool:
        """Disk, and memory where there is some (True), of the snapshot that ``spec.image`` names; then as ``fork``."""
        ...

    async def forget(self, snapshot_id: str) -> None:
        """Leave nothing of a snapshot; sandboxes made from it keep what they have. Idempotent."""
        ...

    async def snapshots(self) -> Collection[str]:
        """Ids of all snapshots that have anything here, whole or not."""
        ...

    def send(self, spec: MachineSpec) -> AbstractAsyncContextManager[DiskReader]:
        """Its disk as it is now, as a stream; it may be changed while that goes on."""
        ...

    def receive(self, spec: MachineSpec, base: Base | None, size_bytes: int) -> AbstractAsyncContextManager[DiskWriter]:
        """A disk for one that has none, of a stream of ``size_bytes``; whole or not at all. ArchiveIncompatible."""
        ...

    async def keep_bases(self, wanted: Collection[str]) -> None:
        """Remove what streams may be relative to, but for these."""
        ...

    def session(self, machine_id: str) -> AbstractAsyncContextManager[AgentClient]:
        """A way to the agent of a running sandbox; wakes it from sleep."""
        ...

    async def set_resources(self, machine_id: str, resources: Resources) -> None: ...

    async def set_network(self, machine_id: str, policy: NetworkPolicy) -> None: ...

    async def set_mounts(self, machine_id: str, mounts: Sequence[Mount]) -> None:
        """Live; VolumeInUse, VolumeNotFound, InvalidInput, GuestError: everything is as it was."""
        ...

    async def adjust(self, spec: MachineSpec) -> None:
        """Make a running sandbox what it is to be, where an earlier server did not come to the end of a change."""
        ...

    async def usage(self, machine_id: str) -> MachineUsage: ...

    async def machines(self) -> Mapping[str, MachineState]:
        """What is really there: every sandbox that has a disk."""
        ...

    async def traffic(self) -> Mapping[str, int]:
        """Bytes over the network of each running sandbox; they begin anew with its processes."""
        ...

    async def reclaim(self) -> bool:
        """Whether there is room on the disk again, after something was removed; takes seconds at most."""
        ...

    def on_scarce(self, callback: Callable[[], None]) -> None:
        """``callback`` is called, in the event loop, again and again while the disk is nearly full."""
        ...

    def readiness(self) -> Readiness: ...

    def on_exit(self, callback: Callable[[MachineExit], None]) -> None:
        """``callback`` is called, in the event loop, whenever processes end that nobody asked to end."""
        ...
