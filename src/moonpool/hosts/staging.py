"""Large files on their way into a running sandbox, laid on its disk from outside, and on their way out, read from it.

Through the agent every byte is copied by gVisor several times, at the expense of the sandbox's own processor and memory
limits. Under a name that the sandbox has never asked for, the host may write all the same: gVisor remembers what it has
looked up, and looks this name up for the first time when the agent puts the whole file in its place. The disk's limit
holds as for everything that is written.

To read one the agent says where it is, having written out what gVisor still kept of it. No link is followed on the way
there, and what is found has to have the owner and the mode of what the agent was allowed to read.
"""

import asyncio
import contextlib
import errno
import os
import secrets
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Sequence
from itertools import islice
from pathlib import Path

from moonpool.errors import DiskFull, FileOperationFailed
from moonpool.guest.streams import Lent
from moonpool.hosts.beneath import FOLDER_FLAGS, open_beneath
from moonpool.hosts.threads import Threads

PREFIX = ".moonpool-upload-staged-"  # in the root folder of the sandbox
FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
PIECE = 1 << 20  # bytes
MOST_AT_ONCE = 1024  # pieces: Linux takes no more in one call
FULL = (errno.ENOSPC, errno.EDQUOT)


class StagedFile:
    """Written in order, the newest piece in the background. Whoever has one discards it at last, whatever happens."""

    def __init__(self, root: Path, threads: Threads) -> None:
        self.name = PREFIX + secrets.token_hex(16)
        self._root, self._threads = root, threads
        self._lock = threading.Lock()  # a caller that is cancelled leaves a thread writing
        self._folder = self._descriptor = -1
        self._discarded = False
        self._writing: Awaitable[None] | None = None

    async def write(self, pieces: Sequence[bytes]) -> None:
        """Returns while they are being written. DiskFull, FileOperationFailed: of these or the ones before."""
        await self.finish()
        self._writing = self._threads.run(self._write, pieces)

    async def finish(self) -> None:
        """Returns when everything is written."""
        writing, self._writing = self._writing, None
        if writing is not None:
            await writing

    async def discard(self) -> None:
        """Close it, and remove it where it was not put in its place."""
        await asyncio.shield(self._threads.run(self._discard))

    def _write(self, pieces: Sequence[bytes]) -> None:
        with self._lock:
            if self._discarded:
                return
            try:
                self._open()
                _write_whole(self._descriptor, pieces)
            except OSError as error:
                if error.errno in FULL:
                    raise DiskFull from error
                raise FileOperationFailed(f"The file could not be written: {error.strerror}") from error

    def _open(self) -> None:
        if self._descriptor < 0:
            self._folder = os.open(self._root, FOLDER_FLAGS)
            self._descriptor = os.open(self.name, FILE_FLAGS, 0o600, dir_fd=self._folder)

    def _discard(self) -> None:
        with self._lock:
            self._discarded = True
            if self._descriptor >= 0:
                os.close(self._descriptor)
            if self._folder >= 0:
                with contextlib.suppress(OSError):
                    os.unlink(self.name, dir_fd=self._folder)
                os.close(self._folder)
            self._folder = self._descriptor = -1


class LentFile:
    """Read in order, the next piece in the background while the one before is being sent. Whoever has one closes it at
    last, whatever happens."""

    def __init__(self, root: Path, lent: Lent, threads: Threads) -> None:
        self._root, self._lent, self._threads = root, lent, threads
        self._lock = threading.Lock()  # a caller that is cancelled leaves a thread opening or reading
        self._descriptor = -1
        self._closed = False

    async def open(self) -> bool:
        """False where there is another file by now, or none."""
        return await self._threads.run(self._open)

    def _open(self) -> bool:
        lent = self._lent
        with self._lock:
            if self._closed:
                return False
            try:
                self._descriptor = open_beneath(self._root, lent.path, READ_FLAGS)
            except (OSError, ValueError):  # The words are a sandbox's.
                return False
            found = os.fstat(self._descriptor)
            return (found.st_size, (found.st_uid, found.st_gid, found.st_mode)) == (lent.size, lent.owner)

    async def pieces(self, offset: int, length: int) -> AsyncIterator[bytes]:
        end = offset + length
        reading: Awaitable[bytes] | None = None
        try:
            while offset < end:
                piece = await (reading or self._threads.run(self._read, offset, min(PIECE, end - offset)))
                reading = None
                if not piece:
                    return
                offset += len(piece)
                if offset < end:
                    reading = self._threads.run(self._read, offset, min(PIECE, end - offset))
                yield piece
        finally:
            if reading is not None:
                await asyncio.gather(reading, return_exceptions=True)

    async def close(self) -> None:
        await asyncio.shield(self._threads.run(self._close))

    def _read(self, offset: int, size: int) -> bytes:
        with self._lock:
            try:
                return os.pread(self._descriptor, size, offset)
            except OSError as error:
                raise FileOperationFailed(f"The file could not be read: {error.strerror}") from error

    def _close(self) -> None:
        with self._lock:
            self._closed = True
            descriptor, self._descriptor = self._descriptor, -1
            if descriptor >= 0:
                os.close(descriptor)


class Staging:
    """Where the files for one sandbox are staged."""

    def __init__(self, root: Path, threads: Threads) -> None:
        self._root, self._threads = root, threads

    def new(self) -> StagedFile:
        return StagedFile(self._root, self._threads)

    def lent(self, lent: Lent) -> LentFile:
        """To be opened."""
        return LentFile(self._root, lent, self._threads)


def _write_whole(descriptor: int, pieces: Sequence[bytes]) -> None:
    views = deque(memoryview(piece) for piece in pieces)
    while views:
        count = os.writev(descriptor, list(islice(views, MOST_AT_ONCE)))
        while views and count >= len(views[0]):
            count -= len(views.popleft())
        if count:
            views[0] = views[0][count:]


def sweep(root: Path) -> None:
    """Remove what an interrupted upload left on a disk; nothing to do where there is no disk."""
    with contextlib.suppress(OSError):
        for name in os.listdir(root):
            if name.startswith(PREFIX):
                os.unlink(root / name)
