"""What archives need of a host; ``hosts.host.Host`` is one."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from moonpool.hosts.model import Base, MachineSpec


class DiskReader(Protocol):
    @property
    def base(self) -> Base | None: ...

    async def read(self, size: int) -> bytes | bytearray:
        """The next ``size`` bytes; fewer are the last ones, none the end."""
        ...


class DiskWriter(Protocol):
    async def write(self, data: bytes | bytearray) -> None: ...

    async def finish(self) -> None:
        """The disk is there once this has returned."""
        ...


class Disks(Protocol):
    """May raise ``errors.EngineError`` or ``errors.NoCapacity`` at any step."""

    def send(self, spec: MachineSpec) -> AbstractAsyncContextManager[DiskReader]: ...

    def receive(
        self, spec: MachineSpec, base: Base | None, size_bytes: int
    ) -> AbstractAsyncContextManager[DiskWriter]: ...
