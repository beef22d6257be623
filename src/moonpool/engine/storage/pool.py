"""The pool: a subvolume for every image, sandbox, snapshot and volume, with limits."""

import ctypes
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from moonpool.engine.instance import Instance
from moonpool.engine.storage import btrfs, loop, quota
from moonpool.engine.storage.ballast import Ballast
from moonpool.engine.storage.model import Kind, QuotaMode, Usage, checked
from moonpool.engine.storage.mounts import filesystem_of, mount_at, mounts_of
from moonpool.errors import EngineError

FOLDER, IMAGE_FILE = "pool", "pool.img"
HERE = -100  # AT_FDCWD
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
DELETES_BETWEEN_COLLECTIONS = 256
libc = ctypes.CDLL(None, use_errno=True)


class Pool:
    """One btrfs file system at DATA/pool. Every method may be called from any thread, and raises EngineError.

    A limit bounds what a subvolume writes itself, from its first byte on. What it got from the image or sandbox that
    it is a snapshot of costs it nothing, and what others hold on to after it deleted it stays charged to it.
    """

    def __init__(self, path: Path, quota_mode: QuotaMode, image: Path | None) -> None:
        """Use ``Pool.open``. ``image`` is the file behind the pool, None on the data folder's own file system."""
        self.path = path
        self.quota_mode = quota_mode
        self._image = image
        self._ballast = None if image is None else Ballast(path, image)
        self._deletes = 0
        self._on_delete: Callable[[], object] | None = None

    @classmethod
    def open(cls, instance: Instance, *, size_bytes: int) -> "Pool":
        """Mount or adopt the pool, make it where there is none, and grow it to ``size_bytes`` (it never shrinks).

        ``size_bytes`` means nothing where the data folder itself is on btrfs: the pool is then a folder there.
        """
        data = instance.data
        data.mkdir(parents=True, exist_ok=True)
        path, image = data / FOLDER, data / IMAGE_FILE
        with explained(f"open the pool {path}"):
            if image.exists() or filesystem_of(data) != "btrfs":
                _open_image(path, image, size_bytes)
                mode = quota.ensure_enabled(path)
                pool = cls(path, mode, image)
            else:
                path.mkdir(mode=0o700, exist_ok=True)
                pool = cls(path, quota.ensure_enabled(path), None)
            os.chmod(path, 0o700)
            for kind in Kind:
                (path / kind.value).mkdir(mode=0o700, exist_ok=True)
            quota.collect(path)
        return pool

    @staticmethod
    def is_open(instance: Instance) -> bool:
        """Whether the pool's file is mounted now, by this process or another."""
        return mount_at(instance.data / FOLDER) is not None

    def close(self) -> None:
        """Unmount and detach, where the pool is a file; nothing is lost when it was closed already."""
        if self._image is None:
            return
        with explained(f"close the pool {self.path}"):
            if mount_at(self.path) is not None:
                loop.unmount(self.path, self._image)

    def create(self, kind: Kind, name: str) -> Path:
        """A new empty subvolume."""
        path = self._free_place(kind, name)
        with explained(f"create the disk {kind.value}/{name}"):
            btrfs.create_subvolume(path)
        return path

    def snapshot(
        self, source: Path, kind: Kind, name: str, *, read_only: bool = False, limit_bytes: int | None = None
    ) -> Path:
        """A copy of ``source`` as it is now, on disk when this returns, with its limit already in force."""
        path = self._free_place(kind, name)
        self._check_subvolume(source)
        with explained(f"snapshot {source.name} as {kind.value}/{name}"):
            btrfs.create_snapshot(source, path, read_only=read_only, limit_bytes=limit_bytes)
            if limit_bytes is not None and self.quota_mode is QuotaMode.CLASSIC:  # which ignore it in a snapshot
                btrfs.limit_qgroup(self.path, btrfs.subvolume_id(path), limit_bytes)
        return path

    def delete(self, kind: Kind, name: str) -> None:
        """Gone at once; the space comes back within a minute. Nothing happens when there is no such subvolume."""
        path = self._place(kind, name)
        if not path.exists():
            return
        if places := mounts_of(path, self.path):
            raise EngineError(f"The disk {kind.value}/{name} is still mounted at {', '.join(map(str, places))}")
        with explained(f"delete the disk {kind.value}/{name}"):
            try:
                self._check_subvolume(path)
                group = btrfs.subvolume_id(path)
                btrfs.destroy_subvolume(path)
            except (FileNotFoundError, EngineError):
                if path.exists():
                    raise
                return  # another thread was faster
            self._forget_group(group)
        if (told := self._on_delete) is not None:
            told()

    def on_delete(self, callback: Callable[[], object] | None) -> None:
        """``callback`` is told after each deletion, by the thread that made it; None: nobody is any more."""
        self._on_delete = callback

    def rename(self, kind: Kind, name: str, new_kind: Kind, new_name: str) -> Path:
        """Publish: complete on disk before it has the new name, and the name is on disk when this returns."""
        return self._move(self._place(kind, name), self._free_place(new_kind, new_name), RENAME_NOREPLACE)

    def exchange(self, kind: Kind, name: str, other_kind: Kind, other_name: str) -> Path:
        """As ``rename``, for a new name that is taken: the two swap places in one step."""
        return self._move(self._place(kind, name), self._place(other_kind, other_name), RENAME_EXCHANGE)

    def move(self, kind: Kind, name: str, new_kind: Kind, new_name: str) -> Path:
        """As ``rename``, for one that is not read-only, and on disk only with the next commit."""
        source, target = self._place(kind, name), self._free_place(new_kind, new_name)
        self._check_subvolume(source)
        with explained(f"move {source.name} to {target.name}"):
            _rename(source, target, RENAME_NOREPLACE)
        return target

    def set_read_only(self, path: Path, read_only: bool) -> None:
        self._check_subvolume(path)
        with explained(f"change {path.name}"):
            btrfs.set_read_only(path, read_only)

    def identity(self, path: Path) -> btrfs.Identity:
        self._check_subvolume(path)
        with explained(f"identify {path.name}"):
            return btrfs.identity(path)

    def version(self, path: Path) -> btrfs.Version:
        """What tells whether it is still the same, with the same files."""
        self._check_subvolume(path)
        with explained(f"identify {path.name}"):
            return btrfs.version(path)

    def related(self, one: Path, other: Path) -> bool:
        """Whether both are snapshots of the same, so that differences between them are small."""
        with explained(f"compare {one.name} with {other.name}"):
            return btrfs.ancestry(self.path, one) == btrfs.ancestry(self.path, other)

    def set_limit(self, path: Path, limit_bytes: int | None) -> None:
        """In force at once; on disk with the next commit. A limit below what is used only stops further writes."""
        self._check_subvolume(path)
        with explained(f"limit {path.name}"):
            btrfs.limit_qgroup(self.path, btrfs.subvolume_id(path), limit_bytes)

    def usage(self, path: Path) -> Usage:
        self._check_subvolume(path)
        with explained(f"measure {path.name}"):
            return quota.usage(self.path, btrfs.subvolume_id(path))

    def names(self, kind: Kind) -> list[str]:
        with explained(f"list {kind.value}"), os.scandir(self.path / kind.value) as entries:
            return sorted(entry.name for entry in entries if btrfs.is_subvolume(Path(entry.path)))

    def sync(self, path: Path) -> None:
        """Everything written in the pool so far survives a power cut once this has returned."""
        with explained("write the pool to disk"):
            btrfs.commit(path)

    def commit(self) -> None:
        """Disks made, moved, limited and deleted so far are so after a power cut too. What was just written into files
        may not be: that takes ``sync``, which waits for all that anybody writes."""
        with explained("commit the pool"):
            btrfs.commit_names(self.path)

    def balance(self) -> None:
        """Keep the pool from promising more than the machine below it has; for every now and then."""
        if self._ballast is not None:
            with explained("balance the pool with the machine's disk"):
                self._ballast.balance()

    def free_bytes(self) -> int:
        """What can still be written: the pool's own room, or the machine's where that is less (the file is sparse)."""
        with explained("measure the pool"):
            disk = shutil.disk_usage(self.path)
            if self._image is None:
                return disk.free
            unused_in_file = max(0, self._image.stat().st_blocks * 512 - disk.used)
            return min(disk.free, shutil.disk_usage(self._image.parent).free + unused_in_file)

    def _place(self, kind: Kind, name: str) -> Path:
        return self.path / kind.value / checked(name)

    def _free_place(self, kind: Kind, name: str) -> Path:
        path = self._place(kind, name)
        if path.exists():
            raise EngineError(f"There is a disk {kind.value}/{name} already")
        return path

    def _check_subvolume(self, path: Path) -> None:
        if path.parent.parent != self.path or not btrfs.is_subvolume(path):
            raise EngineError(f"There is no disk at {path}")

    def _move(self, source: Path, target: Path, flags: int) -> Path:
        """A subvolume cannot change its folder while it is read-only, so that is lifted for the moment."""
        self._check_subvolume(source)
        with explained(f"rename {source.name} to {target.name}"):
            frozen = [place for place in ((source, target), (target, source)) if _is_frozen(place[0])]
            btrfs.commit(self.path)
            for before, _ in frozen:
                btrfs.set_read_only(before, False)
            try:
                _rename(source, target, flags)
            except OSError:
                for before, _ in frozen:
                    btrfs.set_read_only(before, True)
                raise
            for _, after in frozen:
                btrfs.set_read_only(after, True)
            btrfs.commit(self.path)
        return target

    def _forget_group(self, group: int) -> None:
        """Newer kernels drop the account with the last block; classic quotas and older ones need to be told."""
        if self.quota_mode is QuotaMode.CLASSIC:
            quota.remove_if_unused(self.path, group)
        self._deletes += 1
        if self._deletes % DELETES_BETWEEN_COLLECTIONS == 0:
            quota.collect(self.path)


@contextmanager
def explained(action: str) -> Iterator[None]:
    """Turns the kernel's ``OSError`` into an EngineError that says what was being done."""
    try:
        yield
    except OSError as error:
        hint = "Free some space in the pool or make it larger." if error.errno == errno.ENOSPC else ""
        raise EngineError(f"Cannot {action}: {error.strerror or error}", hint=hint) from error


def _is_frozen(path: Path) -> bool:
    return btrfs.is_subvolume(path) and btrfs.is_read_only(path)


def _rename(source: Path, target: Path, flags: int) -> None:
    if libc.renameat2(HERE, os.fsencode(source), HERE, os.fsencode(target), flags):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _open_image(path: Path, image: Path, size_bytes: int) -> None:
    loop.ensure_image(image, size_bytes)
    if mount_at(path) is None:
        loop.mount(image, path)
    mount = mount_at(path)
    if mount is None or loop.backing_file(mount) != image:
        raise EngineError(f"Something else than {image} is mounted at {path}")
    loop.settle(mount)
