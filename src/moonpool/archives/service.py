"""Copies of disks: made, brought back, removed. Who asks was checked before."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager

import structlog
import zstandard

from moonpool.archives.disks import DiskReader, Disks
from moonpool.archives.model import PART, Archive, Manifest, Part, digest_of, manifest_of
from moonpool.archives.stores import Store
from moonpool.clock import Clock
from moonpool.errors import ArchiveCorrupt, MoonpoolError, StoreUnavailable
from moonpool.hosts.model import MachineSpec

AT_ONCE = 3  # parts of one archive that are compressed, written or read at the same time
TRANSFERS = 4  # of each kind at the same time; each holds some 100 MB of memory
LEVEL = 1  # of zstd: what is archived is read by nobody for long, and the wait is the processor's
ATTEMPTS = 5  # at one part, when its transfer breaks off; the store's client has its own for what does not begin
PAUSE = 1.0  # seconds before the second attempt, doubled each time

Record = Callable[[Archive], Awaitable[object]]

log = structlog.get_logger(__name__)


class Archives:
    """``save`` and ``restore`` may be cancelled at any moment; the disk, or the archive, is then what it was."""

    def __init__(self, disks: Disks, store: Store, clock: Clock) -> None:
        self._disks = disks
        self._store = store
        self._clock = clock
        self._moved: dict[str, int] = {}
        self._bases: dict[str, str] = {}
        self._base_chosen = asyncio.Lock()
        self._saving = asyncio.Semaphore(TRANSFERS)
        self._restoring = asyncio.Semaphore(TRANSFERS)

    def progress(self, sandbox_id: str) -> int | None:
        """Bytes of its disk that are transferred by now; None where no transfer is under way."""
        return self._moved.get(sandbox_id)

    async def save(self, spec: MachineSpec, record: Record, previous: Archive | None) -> Archive:
        """An archive of the disk, verified; ``record`` is called with it while what it needs is still held.

        Parts that are in the store already are not written again, so an attempt that was cut off goes on.
        StoreUnavailable leaves what was written for the next attempt; after any other failure there is ``previous``.
        """
        try:
            with self._moving(spec.id):
                async with self._saving:
                    archive = await self._save(spec)
                    await record(archive)
        except (StoreUnavailable, asyncio.CancelledError):
            raise
        except BaseException:
            await self.tidy(spec.id, previous)
            raise
        finally:
            self._bases.pop(spec.id, None)
        await self.tidy(spec.id, archive)
        return archive

    async def restore(self, spec: MachineSpec, archive: Archive) -> None:
        """The disk as it was archived. ArchiveCorrupt, ArchiveIncompatible, StoreUnavailable, NoCapacity: no disk."""
        with self._moving(spec.id):
            async with self._restoring:
                await self._restore(spec, archive)

    async def remove(self, sandbox_id: str) -> None:
        """Leave nothing of it in the store. StoreUnavailable."""
        for name in sorted(await self._store.list(home(sandbox_id))):
            await self._store.delete(name)

    async def tidy(self, sandbox_id: str, kept: Archive | None) -> None:
        """Remove whatever is in the store of this sandbox and not of ``kept``. A store that is down is left alone."""
        try:
            wanted = await self._names_of(sandbox_id, kept)
            for name in sorted(set(await self._store.list(home(sandbox_id))) - wanted):
                await self._store.delete(name)
        except MoonpoolError as error:
            log.warning("archive_not_tidied", sandbox=sandbox_id, reason=error.message)

    @asynccontextmanager
    async def bases(self, recorded: Callable[[], Collection[str]]) -> AsyncIterator[set[str]]:
        """Bases that archives need, ``recorded`` ones and those of archives that are being made; no other is chosen
        within the block."""
        async with self._base_chosen:
            yield {*recorded(), *self._bases.values()}

    # -- out -----------------------------------------------------------------------------------------------------------

    async def _save(self, spec: MachineSpec) -> Archive:
        created_at = self._clock.now()
        present = await self._store.list(home(spec.id))
        async with self._opened(spec) as disk:
            parts = await self._written(spec.id, disk, set(present))
            manifest = Manifest(spec.id, created_at, disk.base, parts)
        stored = await self._store.list(home(spec.id))
        for part in parts:
            if stored.get(part_name(spec.id, part.sha256)) != part.stored_bytes:
                raise ArchiveCorrupt("The store has lost a part of the archive")
        archive = manifest.archive()
        await self._store.put(manifest_name(spec.id, archive.digest), manifest.encode())
        return archive

    @asynccontextmanager
    async def _opened(self, spec: MachineSpec) -> AsyncIterator[DiskReader]:
        opening = self._disks.send(spec)
        async with self._base_chosen:
            disk = await opening.__aenter__()
            if disk.base is not None:
                self._bases[spec.id] = disk.base.name
        try:
            yield disk
        finally:
            await opening.__aexit__(None, None, None)

    async def _written(self, sandbox_id: str, disk: DiskReader, present: set[str]) -> tuple[Part, ...]:
        """The next part is read while those before it are compressed and written."""
        turn = asyncio.Semaphore(AT_ONCE)
        tasks: list[asyncio.Task[Part]] = []
        try:
            while data := await disk.read(PART):
                await turn.acquire()
                for task in tasks:
                    if task.done():
                        task.result()
                tasks.append(asyncio.ensure_future(self._write(sandbox_id, data, present, turn)))
            return tuple(await asyncio.gather(*tasks))
        finally:
            await ended(tasks)

    async def _write(
        self, sandbox_id: str, data: bytes | bytearray, present: set[str], turn: asyncio.Semaphore
    ) -> Part:
        try:
            packed, digest = await asyncio.to_thread(compress, data)
            name = part_name(sandbox_id, digest)
            if name not in present:
                present.add(name)  # Equal parts are one.
                await self._store.put(name, packed)
            self._moved[sandbox_id] += len(data)
            return Part(digest, len(packed), len(data))
        finally:
            turn.release()

    # -- in ------------------------------------------------------------------------------------------------------------

    async def _restore(self, spec: MachineSpec, archive: Archive) -> None:
        manifest = manifest_of(await self._get(manifest_name(spec.id, archive.digest)), archive.digest, spec.id)
        async with self._disks.receive(spec, manifest.base, manifest.disk_bytes) as disk:
            async with self._unfolded(spec.id, manifest.parts) as pieces:
                async for piece in pieces:
                    await disk.write(piece)
                    self._moved[spec.id] += len(piece)
            await disk.finish()

    @asynccontextmanager
    async def _unfolded(self, sandbox_id: str, parts: Collection[Part]) -> AsyncIterator[AsyncIterator[bytes]]:
        """What the parts hold, in order; each checked before a byte of it is used. The next ones are read ahead."""
        ahead: deque[asyncio.Task[bytes]] = deque()
        waiting = iter(parts)

        async def pieces() -> AsyncIterator[bytes]:
            for part in waiting:
                ahead.append(asyncio.ensure_future(self._read(sandbox_id, part)))
                if len(ahead) == AT_ONCE:
                    yield await ahead[0]
                    ahead.popleft()
            while ahead:
                yield await ahead[0]
                ahead.popleft()

        try:
            yield pieces()
        finally:
            await ended(ahead)

    async def _read(self, sandbox_id: str, part: Part) -> bytes:
        packed = await self._get(part_name(sandbox_id, part.sha256))
        return await asyncio.to_thread(uncompress, packed, part)

    async def _get(self, name: str) -> bytes:
        for attempt in range(ATTEMPTS - 1):
            try:
                return await self._store.get(name)
            except StoreUnavailable as error:
                log.info("archive_read_again", name=name, reason=error.message)
                await asyncio.sleep(PAUSE * 2**attempt)
        return await self._store.get(name)

    async def _names_of(self, sandbox_id: str, archive: Archive | None) -> set[str]:
        if archive is None:
            return set()
        manifest = manifest_of(
            await self._store.get(manifest_name(sandbox_id, archive.digest)), archive.digest, sandbox_id
        )
        parts = {part_name(sandbox_id, part.sha256) for part in manifest.parts}
        return {manifest_name(sandbox_id, archive.digest), *parts}

    def _moving(self, sandbox_id: str) -> "Moving":
        return Moving(self._moved, sandbox_id)


class Moving:
    """Counts a transfer's bytes for the length of a block."""

    def __init__(self, moved: dict[str, int], sandbox_id: str) -> None:
        self._moved, self._sandbox_id = moved, sandbox_id

    def __enter__(self) -> None:
        self._moved[self._sandbox_id] = 0

    def __exit__(self, *_error: object) -> None:
        del self._moved[self._sandbox_id]


def home(sandbox_id: str) -> str:
    return f"sandboxes/{sandbox_id}/"


def part_name(sandbox_id: str, digest: str) -> str:
    return f"{home(sandbox_id)}parts/{digest}.zst"


def manifest_name(sandbox_id: str, digest: str) -> str:
    return f"{home(sandbox_id)}manifests/{digest}.json"


def compress(data: bytes | bytearray) -> tuple[bytes, str]:
    """Blocking: what goes into the store, and its SHA-256."""
    packed = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compress(data)
    return packed, digest_of(packed)


def uncompress(packed: bytes, part: Part) -> bytes:
    """Blocking. ArchiveCorrupt unless it is the very part."""
    if len(packed) != part.stored_bytes or digest_of(packed) != part.sha256:
        raise ArchiveCorrupt("A part of the archive does not have its checksum")
    try:
        data = zstandard.ZstdDecompressor().decompress(packed, max_output_size=PART)
    except zstandard.ZstdError as error:
        raise ArchiveCorrupt("A part of the archive cannot be unpacked") from error
    if len(data) != part.stream_bytes:
        raise ArchiveCorrupt("A part of the archive has another size than it had")
    return data


async def ended(tasks: Collection[asyncio.Task[bytes]] | Collection[asyncio.Task[Part]]) -> None:
    """Nothing of what was begun goes on."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
