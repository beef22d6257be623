"""Bytes in and out of a sandbox: files and connections, as the client sees them."""

from collections.abc import AsyncIterator

from moonpool.errors import AgentUnavailable, PortClosed
from moonpool.guest.connection import ANSWER_TIMEOUT, WORK_TIMEOUT, ClientStream, within
from moonpool.guest.model import FileInfo
from moonpool.guest.protocol import DATA, END, FINAL, Buffer


class FileReader:
    """A file on its way out: `info`, then its bytes in pieces of up to 256 KiB."""

    def __init__(self, stream: ClientStream, info: FileInfo) -> None:
        self.info = info
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (item := await within(WORK_TIMEOUT, self._stream.next())).kind not in FINAL:
            if item.kind == DATA:
                yield item.payload


class FileWriter:
    """A file on its way in: it appears, whole, when the context is left without an error."""

    def __init__(self, stream: ClientStream) -> None:
        self.written = 0
        self._stream = stream

    async def write(self, data: Buffer) -> None:
        """Send a piece of any size, as fast as the sandbox takes it."""
        await within(WORK_TIMEOUT, self._stream.send_data(_unchanging(data)))
        self.written += len(data)


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

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while data := await self.read():
            yield data


def _unchanging(data: Buffer) -> bytes:
    """A transport may still hold what it was given when the caller already reuses its buffer."""
    return data if isinstance(data, bytes) else bytes(data)
