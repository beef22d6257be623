"""Disks of machines that are nothing but their states: bytes in memory, as streams."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import cached_property

from moonpool.errors import ArchiveIncompatible, EngineError
from moonpool.hosts.model import Base, MachineSpec, MachineState


class Reader:
    def __init__(self, content: bytes, base: Base | None, fail_at: int | None) -> None:
        self.base = base
        self._content, self._fail_at, self._position = content, fail_at, 0

    async def read(self, size: int) -> bytes:
        piece = self._content[self._position : self._position + size]
        self._position += len(piece)
        if self._fail_at is not None and self._position > self._fail_at:
            raise EngineError("btrfs send was killed")
        return piece


class Writer:
    def __init__(self) -> None:
        self.content = bytearray()
        self.finished = False

    async def write(self, data: bytes | bytearray) -> None:
        self.content += data

    async def finish(self) -> None:
        self.finished = True


class MemoryDisks:
    """The part of ``sandboxes.machines.Machines`` that moves disks. ``open`` are streams that were not closed."""

    states: dict[str, MachineState]
    send_fails_at: int | None = None
    receive_fails: Exception | None = None
    base: Base | None = Base("b" * 32, "c" * 32)
    open = 0

    @cached_property
    def contents(self) -> dict[str, bytes]:
        return {}

    @cached_property
    def bases(self) -> set[str]:
        return set()

    @asynccontextmanager
    async def send(self, spec: MachineSpec) -> AsyncIterator[Reader]:
        if self.base is not None:
            self.bases.add(self.base.name)
        self.open += 1
        try:
            content = self.contents.setdefault(spec.id, b"disk of " + spec.id.encode())
            yield Reader(content, self.base, self.send_fails_at)
        finally:
            self.open -= 1

    @asynccontextmanager
    async def receive(self, spec: MachineSpec, base: Base | None, size_bytes: int) -> AsyncIterator[Writer]:
        if base is not None and base.name not in self.bases:
            raise ArchiveIncompatible
        self.open += 1
        writer = Writer()
        try:
            if self.receive_fails is not None:
                raise self.receive_fails
            yield writer
        finally:
            self.open -= 1
        if writer.finished:
            assert len(writer.content) == size_bytes
            self.contents[spec.id] = bytes(writer.content)
            self.states[spec.id] = MachineState.STOPPED

    async def keep_bases(self, wanted: Collection[str]) -> None:
        self.bases.intersection_update(wanted)
