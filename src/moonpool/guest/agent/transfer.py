"""Files in and out, in large pieces, as fast as the other side takes them."""

import errno
import os
import stat
from functools import partial
from typing import Any

from ..protocol import CHUNK, DATA, END, EVENT, HEADER, ProtocolError, Stream, encode
from .errors import AgentError
from .files import Files
from .request import Request
from .upload import STAGED, Upload
from .users import User
from .workers import Workers

MAX_SIZE = (1 << 63) - 1
BATCH = 1 << 20  # bytes that one turn of a worker writes: changing threads costs more than writing
LARGE = 4 << 20  # bytes from which on a file is lent
READ_AHEAD = 4 * CHUNK  # bytes that one turn of a worker reads


class Transfer:
    def __init__(self, files: Files, workers: Workers) -> None:
        self._files = files
        self._workers = workers

    async def read(self, stream: Stream, request: Request) -> dict[str, Any]:
        """What is known of the file, then its bytes. Of a regular file those that it has when it is opened.

        With ``lend`` of a large one only where it really is on the sandbox's disk, with all that was written to it by
        now, for whoever has that disk at hand.
        """
        user = self._files.user(request)
        length = request.optional_integer("length", 0, MAX_SIZE)
        download = Download(
            user.resolve(request.path("path")), request.integer("offset", 0, MAX_SIZE, 0), length, stream.number
        )
        try:
            count = await stream.credit(READ_AHEAD)
            info, frames = await self._workers.call(user, partial(self._open, download, count))
            if request.flag("lend") and download.is_large:
                place = await self._workers.call(None, download.lend)
                if place is not None:
                    stream.connection.send_message(EVENT, stream.number, encode({**info, "lent": place}))
                    return {"bytes": 0}
            stream.connection.send_message(EVENT, stream.number, encode(info))
            while True:
                stream.give_back(count - sum(len(frame) - HEADER.size for frame in frames))
                for frame in frames:
                    stream.connection.send_prepared(frame)
                await stream.connection.drain()
                if download.left == 0:
                    return {"bytes": download.read_bytes}
                count = await stream.credit(READ_AHEAD)
                frames = await self._workers.call(None, partial(download.read, count))
        finally:
            download.close()

    def _open(self, download: "Download", count: int) -> tuple[dict[str, Any], list[memoryview]]:
        download.open()
        return self._files.describe(download.path, follow=True), download.read(count)

    async def write(self, stream: Stream, request: Request) -> dict[str, Any]:
        user = self._files.user(request)
        upload = _upload(request, user)
        try:
            more = True
            while more:
                pieces: list[bytes] = []
                more = await _collect(stream, pieces)
                await self._workers.call(user, partial(upload.write, pieces, last=not more))
            return await self._workers.call(user, lambda: self._files.describe(upload.path))
        finally:
            if upload.unfinished:
                await self._workers.call(None, upload.abandon)

    async def place(self, stream: Stream, request: Request) -> dict[str, Any]:
        """As `write`, with a file that was laid in the root folder from outside."""
        staged = request.path("staged")
        if not staged.startswith(STAGED) or "/" in staged:
            raise AgentError("invalid_input", "not a staged file")
        user = self._files.user(request)
        upload = _upload(request, user)
        try:
            await self._workers.call(None, partial(upload.place, staged, user))
            return await self._workers.call(user, lambda: self._files.describe(upload.path))
        finally:
            if upload.unfinished:
                await self._workers.call(None, upload.abandon)


def _upload(request: Request, user: User) -> Upload:
    return Upload(
        user.resolve(request.path("path")),
        mode=request.optional_integer("mode", 0, 0o7777),
        size=request.optional_integer("size", 0, MAX_SIZE),
        append=request.flag("append"),
        parents=request.flag("parents", True),
    )


async def _collect(stream: Stream, pieces: list[bytes]) -> bool:
    """Add a batch; False at the end of the data."""
    size = sum(map(len, pieces))
    while size < BATCH:
        item = await stream.next()
        if item.kind == END:
            return False
        if item.kind != DATA:
            raise ProtocolError("an upload that is not data")
        pieces.append(item.payload)
        size += len(item.payload)
    return True


class Download:
    """An open file on its way out."""

    def __init__(self, path: str, offset: int, length: int | None, number: int) -> None:
        self.path = path
        self.left = MAX_SIZE if length is None else length  # bytes that may still come
        self.read_bytes = 0
        self._offset = offset
        self._number = number
        self._descriptor = -1
        self._ends = False

    @property
    def is_large(self) -> bool:
        """Of a regular file much is still to come."""
        return self._ends and self.left >= LARGE

    def lend(self) -> dict[str, Any] | None:
        """Where it is and what it is there; None where that is another file system, or nowhere any more."""
        path = os.readlink(f"/proc/self/fd/{self._descriptor}")
        found = os.fstat(self._descriptor)
        try:
            if found.st_dev != os.stat("/").st_dev or not os.path.samestat(os.lstat(path), found):
                return None
            os.fsync(self._descriptor)
        except OSError:
            return None
        return {
            "path": path,
            "offset": self._offset - self.read_bytes,
            "length": self.left + self.read_bytes,
            "size": found.st_size,
            "owner": [found.st_uid, found.st_gid, found.st_mode],
        }

    def open(self) -> None:
        self._descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        found = os.fstat(self._descriptor)
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, "Is a directory", self.path)
        self._ends = stat.S_ISREG(found.st_mode) and found.st_size > 0  # the kernel's own files say 0 and are not empty
        if self._ends:
            self.left = min(self.left, max(0, found.st_size - self._offset))

    def read(self, count: int) -> list[memoryview]:
        """Up to `count` bytes as frames, headers included, so that nothing is copied afterwards."""
        frames: list[memoryview] = []
        while count > 0 and self.left > 0:
            size = min(count, CHUNK, self.left)
            frame = memoryview(bytearray(HEADER.size + size))
            got = self._read_into(frame[HEADER.size :])
            if got == 0:
                self.left = 0
                break
            HEADER.pack_into(frame, 0, DATA, self._number, got)
            frames.append(frame[: HEADER.size + got])
            count -= got
            self._offset += got
            self.left -= got
            self.read_bytes += got
        return frames

    def _read_into(self, target: memoryview) -> int:
        try:
            return os.preadv(self._descriptor, [target], self._offset)
        except OSError as error:
            if error.errno != errno.ESPIPE:  # a device or a pipe has no positions
                raise
            return os.readv(self._descriptor, [target])

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
