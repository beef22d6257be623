"""Bytes in and out of a sandbox: files and connections, as the client sees them."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from moonpool.errors import AgentUnavailable, GuestError, PortClosed
from moonpool.guest.connection import ANSWER_TIMEOUT, WORK_TIMEOUT, ClientStream, within
from moonpool.guest.model import FileInfo
from moonpool.guest.protocol import DATA, END, FINAL, Buffer

MAX_OFFSET = (1 << 63) - 1
LARGE = 4 << 20  # bytes from which on a file takes the way around the agent, where there is one
TOGETHER = 1 << 20  # bytes that go that way at once


class FileReader:
    """A file on its way out: `info`, then its bytes in pieces of up to 256 KiB."""

    def __init__(self, stream: ClientStream, info: FileInfo) -> None:
        self.info = info
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (item := await within(WORK_TIMEOUT, self._stream.next())).kind not in FINAL:
            if item.kind == DATA:
                yield item.payload


@dataclass(frozen=True)
class Lent:
    """A large file where it is on the sandbox's disk: an absolute path without links, which bytes of it are wanted, its
    size, and its owner, group and mode."""

    path: str
    offset: int
    length: int
    size: int
    owner: tuple[int, int, int]

    @classmethod
    def of(cls, document: Any) -> "Lent":
        """As the agent says it; GuestError for what makes no sense."""
        try:
            path, (uid, gid, mode) = document["path"], map(int, document["owner"])
            offset, length, size = (max(0, int(document[name])) for name in ("offset", "length", "size"))
            if offset + length > MAX_OFFSET:
                raise ValueError("beyond the end of any file")
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise GuestError("The sandbox does not say where the file is") from error
        return cls(str(path), offset, length, size, (uid, gid, mode))


class LentFile(Protocol):
    """A file on the sandbox's disk, to be closed by whoever has it."""

    async def open(self) -> bool:
        """False where there is another file by now, or none."""
        ...

    def pieces(self, offset: int, length: int) -> AsyncIterator[bytes]:
        """So many bytes from there on, as far as the file has them."""
        ...

    async def close(self) -> None: ...


class LentReader(FileReader):
    """A large file on its way out by the shorter way."""

    def __init__(self, file: LentFile, info: FileInfo, lent: Lent) -> None:
        self.info = info
        self._pieces = file.pieces(lent.offset, lent.length)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._pieces:
            yield piece


class FileWriter:
    """A file on its way in: it appears, whole, when the context is left without an error."""

    def __init__(self, stream: ClientStream) -> None:
        self.written = 0
        self._stream = stream

    async def write(self, data: Buffer) -> None:
        """Send a piece of any size, as fast as the sandbox takes it."""
        await within(WORK_TIMEOUT, self._stream.send_data(_unchanging(data)))
        self.written += len(data)


class StagedFile(Protocol):
    """A file being laid on the sandbox's disk from outside, in the root folder, for the agent to put in its place."""

    name: str

    async def write(self, pieces: Sequence[bytes]) -> None: ...

    async def finish(self) -> None: ...

    async def discard(self) -> None: ...


class Staging(Protocol):
    """Whoever has the sandbox's disk at hand."""

    def new(self) -> StagedFile: ...

    def lent(self, lent: Lent) -> LentFile:
        """To be opened."""
        ...


class StagingWriter(FileWriter):
    """A file on its way in that takes the shorter way once it is known to be large; `waiting` is all of a small one.
    Pieces go on together, as they are: each way to a thread costs something, and so does each copy."""

    def __init__(self, staging: Staging, size: int | None) -> None:
        self.written = 0
        self.waiting: list[bytes] = []
        self.staged: StagedFile | None = None
        self._staging = staging
        self._held = 0
        self._large = size is not None and size >= LARGE

    async def write(self, data: Buffer) -> None:
        self.waiting.append(_unchanging(data))
        self.written += len(data)
        self._held += len(data)
        self._large = self._large or self.written >= LARGE
        if self._large and self._held >= TOGETHER:
            await self._pass_on()

    async def finish(self) -> None:
        """Returns when all of what is staged is written."""
        if self.staged is not None:
            await self._pass_on()
            await within(WORK_TIMEOUT, self.staged.finish())

    async def _pass_on(self) -> None:
        self.staged = self.staged or self._staging.new()
        pieces, self.waiting, self._held = self.waiting, [], 0
        await within(WORK_TIMEOUT, self.staged.write(pieces))


class ByteStream:
    """A TCP connection to a port inside the sandbox. `read` gives b"" at the end."""

    def __init__(self, stream: ClientStream) -> None:
        self._stream = stream
        self._ended = False

    async def read(self) -> bytes:
        """The next bytes, as they come; waits for as long as the connection is quiet."""
        if self._ended:
            return b""
        item = await within(None, self._stream.next())
        if item.kind != DATA:
            self._ended = True
            return b""
        return item.payload

    async def write(self, data: Buffer) -> None:
        """Send it, as fast as the other side reads; PortClosed when it has closed the connection."""
        try:
            await within(WORK_TIMEOUT, self._stream.send_data(_unchanging(data)))
        except AgentUnavailable as error:
            if not self._stream.finished:
                raise
            raise PortClosed("The connection inside the sandbox was closed") from error

    async def write_eof(self) -> None:
        """Nothing more will be written; reading goes on."""
        if not self._stream.finished:
            self._stream.connection.send(END, self._stream.number)
            await within(ANSWER_TIMEOUT, self._stream.connection.drain())

    async def wait_closed(self) -> None:
        """Once both sides have ended: until the agent has brought what was written to the other side. Whoever leaves
        before breaks the connection off."""
        while not self._stream.finished:
            await within(WORK_TIMEOUT, self._stream.next())

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while data := await self.read():
            yield data


def _unchanging(data: Buffer) -> bytes:
    """A transport may still hold what it was given when the caller already reuses its buffer."""
    return data if isinstance(data, bytes) else bytes(data)
