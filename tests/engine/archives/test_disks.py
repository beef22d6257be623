"""Real disks out of a real pool and back: contents, owners, limits, bases, and programs killed midway."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from moonpool.archives.folder import FolderStore
from moonpool.archives.model import PART, Archive
from moonpool.archives.service import Archives
from moonpool.clock import SystemClock
from moonpool.engine.storage import Kind, Pool
from moonpool.errors import ArchiveIncompatible, EngineError, NoCapacity
from moonpool.hosts.disks import DiskReader, Disks, DiskWriter
from moonpool.hosts.model import MEBIBYTE, Base, MachineSpec, Resources
from moonpool.hosts.threads import Threads

SPEC = MachineSpec("a" * 20, "image", Resources(1, 512, 64), "a" * 20)


class Machine:
    """What archives need of a host, on a pool alone."""

    def __init__(self, pool: Pool, threads: Threads) -> None:
        self.pool, self._threads, self.disks = pool, threads, Disks(pool, threads)

    def send(self, spec: MachineSpec) -> AbstractAsyncContextManager[DiskReader]:
        self.disks.freeze(spec.id)
        return self.disks.reading(spec.id, self.pool.path / "images" / spec.image)

    def receive(self, spec: MachineSpec, base: Base | None, size_bytes: int) -> AbstractAsyncContextManager[DiskWriter]:
        return self.disks.writing(spec, base, size_bytes)

    @property
    def disk(self) -> Path:
        return self.pool.path / "sandboxes" / SPEC.id

    def names(self, kind: Kind) -> list[str]:
        return self.pool.names(kind)


@pytest.fixture
def machine(pool: Pool) -> Iterator[Machine]:
    """A pool with an image, and a sandbox of it that wrote something."""
    image = pool.create(Kind.IMAGES, "image")
    (image / "large").write_bytes(os.urandom(8 * MEBIBYTE))
    (image / "kept").write_text("image's")
    pool.set_read_only(image, True)
    disk = pool.snapshot(image, Kind.SANDBOXES, SPEC.id, limit_bytes=64 * MEBIBYTE)
    (disk / "kept").write_text("mine")
    (disk / "mine").write_bytes(os.urandom(3 * MEBIBYTE))
    os.chown(disk / "mine", 1000, 1000)
    os.chmod(disk / "mine", 0o4751)
    (disk / "link").symlink_to("mine")
    os.setxattr(disk / "mine", "user.note", b"so")
    threads = Threads(4)
    yield Machine(pool, threads)
    threads.close()


@pytest.fixture
def archives(machine: Machine, tmp_path: Path) -> Archives:
    return Archives(machine, FolderStore(tmp_path / "archives"), SystemClock())


async def nothing(_archive: Archive) -> None:
    pass


def state(disk: Path) -> dict[str, object]:
    return {
        path.name: (
            path.lstat().st_mode,
            path.lstat().st_uid,
            path.lstat().st_mtime_ns,
            os.readlink(path) if path.is_symlink() else path.read_bytes(),
            os.listxattr(path, follow_symlinks=False),
        )
        for path in disk.iterdir()
    }


async def test_there_and_back_as_a_difference(machine: Machine, archives: Archives, tmp_path: Path) -> None:
    before, used = state(machine.disk), machine.pool.usage(machine.disk).used_bytes
    machine.pool.sync(machine.pool.path)
    archive = await archives.save(SPEC, nothing, None)
    assert archive.base is not None
    assert archive.disk_bytes < 4 * MEBIBYTE
    assert (machine.names(Kind.STAGING), machine.names(Kind.BASES)) == ([], [archive.base])
    machine.pool.delete(Kind.SANDBOXES, SPEC.id)
    machine.pool.delete(Kind.IMAGES, "image")
    await archives.restore(SPEC, archive)
    assert state(machine.disk) == before
    machine.pool.sync(machine.pool.path)
    usage = machine.pool.usage(machine.disk)
    assert usage.limit_bytes == 64 * MEBIBYTE
    assert usage.used_bytes >= max(used, 3 * MEBIBYTE)
    with pytest.raises(OSError, match=r"quota|space"):
        (machine.disk / "more").write_bytes(os.urandom(62 * MEBIBYTE))
    assert machine.names(Kind.STAGING) == []
    machine.disks.keep_bases([archive.base])
    assert machine.names(Kind.BASES) == [archive.base]
    machine.disks.keep_bases([])
    assert machine.names(Kind.BASES) == []


async def test_again_and_again(machine: Machine, archives: Archives) -> None:
    """What was restored is archived as a difference again, and what a fork of it wrote as well."""
    archive = await archives.save(SPEC, nothing, None)
    machine.pool.delete(Kind.SANDBOXES, SPEC.id)
    await archives.restore(SPEC, archive)
    (machine.disk / "later").write_text("later")
    again = await archives.save(SPEC, nothing, archive)
    assert (again.base, again.disk_bytes < 4 * MEBIBYTE) == (archive.base, True)
    machine.pool.delete(Kind.SANDBOXES, SPEC.id)
    await archives.restore(SPEC, again)
    assert (machine.disk / "later").read_text() == "later"


async def test_the_whole_disk_where_the_image_is_gone(machine: Machine, archives: Archives) -> None:
    before = state(machine.disk)
    machine.pool.delete(Kind.IMAGES, "image")
    archive = await archives.save(SPEC, nothing, None)
    assert (archive.base, archive.disk_bytes > 8 * MEBIBYTE) == (None, True)
    machine.pool.delete(Kind.SANDBOXES, SPEC.id)
    await archives.restore(SPEC, archive)
    assert state(machine.disk) == before


async def test_the_whole_disk_where_the_image_is_another(machine: Machine, archives: Archives) -> None:
    machine.pool.delete(Kind.IMAGES, "image")
    machine.pool.create(Kind.IMAGES, "image")
    assert (await archives.save(SPEC, nothing, None)).base is None


async def test_another_base_of_the_same_name_is_refused(machine: Machine, archives: Archives) -> None:
    archive = await archives.save(SPEC, nothing, None)
    machine.pool.delete(Kind.SANDBOXES, SPEC.id)
    assert archive.base is not None
    machine.pool.delete(Kind.BASES, archive.base)
    machine.pool.create(Kind.BASES, archive.base)
    with pytest.raises(ArchiveIncompatible):
        await archives.restore(SPEC, archive)
    assert (machine.names(Kind.SANDBOXES), machine.names(Kind.STAGING)) == ([], [])


def children() -> set[int]:
    text = "".join(path.read_text() for path in Path("/proc/self/task").glob("*/children"))
    return set(map(int, text.split()))


async def read_all(disk: DiskReader) -> None:
    while await disk.read(PART):
        pass


async def write_on(disk: DiskWriter) -> None:
    while True:
        await disk.write(bytes(PART))


async def test_killed_programs(machine: Machine, archives: Archives) -> None:
    """The sender's death ends the archive, the receiver's the restore; both can be had afterwards."""
    before = children()
    (machine.disk / "much").write_bytes(os.urandom(20 * MEBIBYTE))
    async with machine.send(SPEC) as disk:
        await disk.read(MEBIBYTE)
        (sender,) = children() - before
        os.kill(sender, signal.SIGKILL)
        with pytest.raises(EngineError):
            await read_all(disk)
    archive = await archives.save(SPEC, nothing, None)
    machine.pool.delete(Kind.SANDBOXES, SPEC.id)
    async with machine.receive(SPEC, None, 0) as target:
        (receiver,) = children() - before
        os.kill(receiver, signal.SIGKILL)
        with pytest.raises(EngineError):
            await write_on(target)
    assert (machine.names(Kind.SANDBOXES), machine.names(Kind.STAGING), children()) == ([], [], before)
    await archives.restore(SPEC, archive)
    assert (machine.disk / "much").stat().st_size == 20 * MEBIBYTE


async def received(machine: Machine, base: Base | None, content: bytes | bytearray) -> None:
    async with machine.receive(SPEC, base, 0) as target:
        await target.write(content)
        await target.finish()


@pytest.mark.parametrize("content", [b"", b"no stream at all" * 1000])
async def test_what_is_no_stream(machine: Machine, content: bytes) -> None:
    machine.pool.delete(Kind.SANDBOXES, SPEC.id)
    with pytest.raises(EngineError):
        await received(machine, None, content)
    assert (machine.names(Kind.SANDBOXES), machine.names(Kind.STAGING)) == ([], [])


async def test_a_stream_that_ends_early(machine: Machine) -> None:
    async with machine.send(SPEC) as disk:
        base, content = disk.base, await disk.read(PART)
    machine.pool.delete(Kind.SANDBOXES, SPEC.id)
    with pytest.raises(EngineError):
        await received(machine, base, content[: len(content) // 2])
    assert (machine.names(Kind.SANDBOXES), machine.names(Kind.STAGING)) == ([], [])


async def test_a_transfer_that_is_cancelled(machine: Machine, archives: Archives) -> None:
    machine.pool.delete(Kind.IMAGES, "image")
    reached = asyncio.Event()

    async def record(_archive: Archive) -> None:
        reached.set()
        await asyncio.Event().wait()

    saving = asyncio.ensure_future(archives.save(SPEC, record, None))
    await reached.wait()
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    async with machine.send(SPEC) as disk:
        reading = asyncio.ensure_future(disk.read(PART))
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    assert machine.names(Kind.STAGING) == []


async def test_a_disk_that_does_not_fit(machine: Machine, archives: Archives) -> None:
    archive = await archives.save(SPEC, nothing, None)
    with pytest.raises(EngineError, match="already"):
        await archives.restore(SPEC, archive)
    machine.pool.delete(Kind.SANDBOXES, SPEC.id)
    with pytest.raises(NoCapacity):
        async with machine.receive(SPEC, None, 10**15):
            pass
