"""Room that the pool has by its own count, and the machine below it has not, is taken away from the pool.

The pool's file is sparse. Where the machine's disk fills up first, writes to it fail below btrfs, which then turns
read-only for good: nobody's files could be saved any more. So a file in the pool, of blocks that are allocated and
never written, takes up what the machine could not back; programs in sandboxes meet an ordinary full disk instead. Its
own bookkeeping needs room as well, even when others have taken the machine's last block: that is set aside in a file
beside the pool, which goes when it is needed and comes back when there is room.
"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

import structlog

from moonpool.engine.storage import btrfs

MEBIBYTE = 1024**2
SET_ASIDE = 256 * MEBIBYTE  # bytes
SCARCE = 64 * MEBIBYTE  # bytes free on the machine below which what was set aside is given up
MARGIN = 512 * MEBIBYTE  # bytes, for the memory of what is paused, and for what others take between two looks
STEP = 64 * MEBIBYTE  # bytes; smaller changes are not worth a commit
SMALLEST = 4 * MEBIBYTE  # bytes, of a piece when what is left is taken up

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Room:
    """Bytes: ``machine`` free below the pool, ``pool`` free by its own count, ``used`` there, ``backed`` by blocks."""

    machine: int
    pool: int
    used: int
    backed: int
    ballast: int
    set_aside: bool

    @property
    def wanted(self) -> int:
        """How large the ballast is to be."""
        spare = max(0, self.backed - (self.used - self.ballast))  # blocks of the file that hold nothing any more
        kept = MARGIN if self.set_aside else MARGIN + SET_ASIDE
        return max(0, self.pool + self.ballast - max(0, self.machine + spare - kept))


class Ballast:
    def __init__(self, pool: Path, image: Path) -> None:
        self._pool, self._image = pool, image
        self._file, self._aside = pool / "ballast", image.with_name("set-aside")

    def balance(self) -> None:
        """Cheap where nothing has changed. Raises OSError."""
        room = self._room()
        if room.machine < SCARCE and room.set_aside:
            log.warning("disk_full", machine_free=room.machine, pool_free=room.pool)
            self._aside.unlink()
            room = self._room()
        elif room.machine > 2 * SET_ASIDE + MARGIN and not room.set_aside:
            self._set_aside()
            room = self._room()
        if abs(room.wanted - room.ballast) >= STEP or (not room.wanted and room.ballast):
            self._resize(room.ballast, room.wanted)

    def _room(self) -> Room:
        pool, machine, file = os.statvfs(self._pool), os.statvfs(self._image.parent), os.stat(self._image)
        return Room(
            machine=machine.f_bavail * machine.f_frsize,
            pool=pool.f_bavail * pool.f_frsize,
            used=(pool.f_blocks - pool.f_bfree) * pool.f_frsize,
            backed=file.st_blocks * 512,
            ballast=self._file.stat().st_size if self._file.exists() else 0,
            set_aside=self._aside.exists(),
        )

    def _resize(self, size: int, wanted: int) -> None:
        """btrfs counts what was taken or given back with its next commit only, hence that."""
        descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if wanted < size:
                os.ftruncate(descriptor, wanted)
            else:
                _take(descriptor, size, wanted)
        finally:
            os.close(descriptor)
        btrfs.commit(self._pool)

    def _set_aside(self) -> None:
        descriptor = os.open(self._aside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, SET_ASIDE)
        except OSError:
            with contextlib.suppress(OSError):
                self._aside.unlink()
            raise
        finally:
            os.close(descriptor)


def _take(descriptor: int, size: int, wanted: int) -> None:
    """In ever smaller pieces when there is less than was thought."""
    piece = wanted - size
    while size < wanted and piece >= SMALLEST:
        try:
            os.posix_fallocate(descriptor, size, min(piece, wanted - size))
        except OSError:
            piece //= 2
        else:
            size += min(piece, wanted - size)
