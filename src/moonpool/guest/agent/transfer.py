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
from .upload import Upload
from .workers import Workers

MAX_SIZE = (1 << 63) - 1
BATCH = 1 << 20  # bytes that one turn of a worker writes: changing threads costs more than writing
READ_AHEAD = 4  # chunks that one turn of a worker reads


class Transfer:
    def __init__(self, files: Files, workers: Workers) -> None:
        self._files = files
        self._workers = workers

    async def read(self, stream: Stream, request: Request) -> dict[str, Any]:
        user = self._files.user(request)
        path = user.resolve(request.path("path"))
        offset = request.integer("offset", 0, MAX_SIZE, 0)
        left = request.optional_integer("length", 0, MAX_SIZE)
        left = MAX_SIZE if left is None else left
        descriptor = await self._workers.call(user, lambda: _open_for_reading(path))
        try:
            info = await self._workers.call(user, lambda: self._files.describe(path, follow=True))
            stream.connection.send_message(EVENT, stream.number, encode(info))
            total = 0
            while left > 0:
                count = await stream.credit(min(left, CHUNK * READ_AHEAD))
                frames = await self._workers.call(None, partial(_read, descriptor, offset, count, stream.number))
                sent = sum(len(frame) - HEADER.size for frame in frames)
                stream.give_back(count - sent)
                for frame in frames:
                    stream.connection.send_prepared(frame)
                await stream.connection.drain()
                if sent == 0:
                    break
                offset, left, total = offset + sent, left - sent, total + sent
            return {"bytes": total}
        finally:
            os.close(descriptor)

    async def write(self, stream: Stream, request: Request) -> dict[str, Any]:
        user = self._files.user(request)
        upload = Upload(user.resolve(request.path("path")))
        mode = request.optional_integer("mode", 0, 0o7777)
        size = request.optional_integer("size", 0, MAX_SIZE)
        append, parents = request.flag("append"), request.flag("parents", True)
        try:
            await self._workers.call(user, lambda: upload.open(mode, append=append, parents=parents))
            pieces, more = [request.body] if request.body else [], True
            while more:
                more = await _collect(stream, pieces)
                if pieces:
                    given, pieces = pieces, []
                    await self._workers.call(None, partial(upload.write, given))
            if size is not None and upload.written != size:
                raise AgentError("invalid_input", f"{upload.written} bytes arrived where {size} were announced")
            await self._workers.call(user, upload.commit)
            return await self._workers.call(user, lambda: self._files.describe(upload.path))
        finally:
            await self._workers.call(None, upload.abandon)


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


def _open_for_reading(path: str) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise IsADirectoryError(errno.EISDIR, "is a directory", path)
    return descriptor


def _read(descriptor: int, offset: int, count: int, number: int) -> list[memoryview]:
    """Frames, headers included, so that nothing is copied afterwards."""
    frames = []
    while count > 0:
        size = min(count, CHUNK)
        frame = memoryview(bytearray(HEADER.size + size))
        got = _read_at(descriptor, frame[HEADER.size :], offset)
        if got:
            HEADER.pack_into(frame, 0, DATA, number, got)
            frames.append(frame[: HEADER.size + got])
        if got < size:
            break
        offset, count = offset + got, count - got
    return frames


def _read_at(descriptor: int, target: memoryview, offset: int) -> int:
    try:
        return os.preadv(descriptor, [target], offset)
    except OSError as error:
        if error.errno != errno.ESPIPE:  # a device or a pipe has no positions
            raise
        return os.readv(descriptor, [target])
