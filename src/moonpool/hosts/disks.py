"""Disks of sandboxes out of this host and into it, as streams that are relative to the images they came from.

What a stream is relative to must stay as it was, whatever becomes of the image: so the pool keeps a read-only snapshot
of it (a *base*), which costs nothing while the image is there, for as long as somebody's archive needs it.
"""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Collection
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import structlog

from moonpool.engine.storage import Kind, Pool, ReceiveStream, SendStream
from moonpool.errors import ArchiveIncompatible, EngineError, MoonpoolError, NoCapacity
from moonpool.hosts.model import MEBIBYTE, Base, MachineSpec
from moonpool.hosts.threads import Threads

SENT = "sent-"  # and a sandbox's id: what its disk is called in the stream, and here while it is on its way

STALLED = 300.0  # seconds for a piece of 16 MiB

Result = TypeVar("Result")

log = structlog.get_logger(__name__)


async def moving(step: Awaitable[Result]) -> Result:
    """EngineError for a step that takes too long; what it waits for ends with its stream."""
    try:
        async with asyncio.timeout(STALLED):
            return await step
    except TimeoutError as error:
        raise EngineError(f"The disk has not moved for {STALLED:.0f} s") from error


class DiskReader:
    """A disk on its way out. ``base``: what must be there where it is to come in again."""

    def __init__(self, stream: SendStream, base: Base | None, threads: Threads) -> None:
        self.base = base
        self._stream, self._threads = stream, threads

    async def read(self, size: int) -> bytearray:
        """The next ``size`` bytes; fewer are the last ones, none the end. EngineError: the disk stays as it is."""
        return await moving(self._threads.run(self._stream.read, size))


class DiskWriter:
    """A disk on its way in, which is there once ``finish`` has returned, and not at all otherwise."""

    def __init__(self, stream: ReceiveStream, disks: "Disks", spec: MachineSpec, threads: Threads) -> None:
        self._stream, self._disks, self._spec, self._threads = stream, disks, spec, threads

    async def write(self, data: bytes | bytearray) -> None:
        await moving(self._threads.run(self._stream.write, data))

    async def finish(self) -> None:
        await self._threads.run(self._stream.finish)
        await self._threads.run(self._disks.publish, self._spec)


class Disks:
    """The caller holds the sandbox's lock, and knows that nothing writes to its disk."""

    def __init__(self, pool: Pool, threads: Threads) -> None:
        self._pool, self._threads = pool, threads
        self._bases = threading.Lock()

    @contextlib.asynccontextmanager
    async def reading(self, machine_id: str, image: Path) -> AsyncIterator[DiskReader]:
        """What ``freeze`` has kept, from the beginning; nothing is left of that afterwards."""
        stream: SendStream | None = None
        try:
            base = await self._threads.run(self._base_for, machine_id, image)
            parent = None if base is None else self._place(Kind.BASES, base.name)
            stream = SendStream(self._place(Kind.STAGING, SENT + machine_id), parent)
            yield DiskReader(stream, base, self._threads)
        finally:
            await asyncio.shield(self._threads.run(self._end, stream, machine_id))

    @contextlib.asynccontextmanager
    async def writing(self, spec: MachineSpec, base: Base | None, size_bytes: int) -> AsyncIterator[DiskWriter]:
        """A disk for ``spec`` out of a stream of ``size_bytes``; nothing is left of one that does not finish.

        ArchiveIncompatible where ``base`` is not here, NoCapacity where it would not fit.
        """
        stream: ReceiveStream | None = None
        await self._threads.run(self._admit, spec, base, size_bytes)
        try:
            stream = ReceiveStream(self._pool.path / Kind.STAGING.value)
            yield DiskWriter(stream, self, spec, self._threads)
        finally:
            await asyncio.shield(self._threads.run(self._end, stream, spec.id))

    def freeze(self, machine_id: str) -> None:
        """Blocking. Keep the disk as it is now, to be read."""
        self._remove(machine_id)
        self._pool.snapshot(self._place(Kind.SANDBOXES, machine_id), Kind.STAGING, SENT + machine_id, read_only=True)

    def publish(self, spec: MachineSpec) -> None:
        """Blocking. What was received becomes the sandbox's disk, in one step."""
        name = SENT + spec.id
        received = self._place(Kind.STAGING, name)
        if self._pool.identity(received).received is None:
            raise EngineError("The disk was not received to its end")
        self._pool.set_read_only(received, False)
        self._pool.set_limit(received, spec.resources.disk_mib * MEBIBYTE)
        self._pool.rename(Kind.STAGING, name, Kind.SANDBOXES, spec.id)

    def keep_bases(self, wanted: Collection[str]) -> None:
        """Blocking. Remove every base that is not among these."""
        with self._bases:
            for name in set(self._pool.names(Kind.BASES)) - set(wanted):
                log.info("base_removed", base=name)
                self._pool.delete(Kind.BASES, name)

    def _base_for(self, machine_id: str, image: Path) -> Base | None:
        """None where the image is gone, or the disk is not a descendant of it: then the whole disk is sent."""
        frozen = self._place(Kind.STAGING, SENT + machine_id)
        if not image.is_dir() or not self._pool.related(image, frozen):
            return None
        name = self._pool.identity(image).uuid
        place = self._place(Kind.BASES, name)
        with self._bases:
            if not place.is_dir():
                self._pool.snapshot(image, Kind.BASES, name, read_only=True)
            return Base(name, self._pool.identity(place).uuid)

    def _admit(self, spec: MachineSpec, base: Base | None, size_bytes: int) -> None:
        if self._place(Kind.SANDBOXES, spec.id).is_dir():
            raise EngineError("The sandbox has a disk already")
        if base is not None and not self._has(base):
            raise ArchiveIncompatible
        if self._pool.free_bytes() < size_bytes:
            text = f"The server's disk has no room for the archive's {size_bytes // MEBIBYTE} MiB"
            raise NoCapacity(text, hint="Free some space on the server.")
        self._remove(spec.id)

    def _has(self, base: Base) -> bool:
        try:
            found = self._pool.identity(self._place(Kind.BASES, str(UUID(base.name).hex)))
        except (EngineError, ValueError):
            return False
        return base.uuid in (found.uuid, found.received)

    def _end(self, stream: SendStream | ReceiveStream | None, machine_id: str) -> None:
        if stream is not None:
            stream.close()
        self._remove(machine_id)

    def _remove(self, machine_id: str) -> None:
        """What cannot be removed now is removed by the next start."""
        try:
            self._pool.delete(Kind.STAGING, SENT + machine_id)
        except MoonpoolError as error:
            log.warning("staged_disk_left", sandbox=machine_id, reason=error.message)

    def _place(self, kind: Kind, name: str) -> Path:
        return self._pool.path / kind.value / name
