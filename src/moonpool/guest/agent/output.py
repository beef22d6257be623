"""What a process has written: a bounded memory of it, and the readers that follow it."""

import asyncio
from collections import deque
from collections.abc import Callable

SMALL = 8 << 10  # bytes: pieces below this are joined, so that many tiny writes do not become many objects
CONGESTED = 256 << 10  # bytes a live reader may lag behind before the process is held back
# Bytes, bounds of what is kept for late readers. The least is more than a live reader may lag behind and one read of
# each output on top, so that nothing is dropped before such a reader has taken it.
LEAST, MOST = 2 * CONGESTED, 16 << 20


class Output:
    """Pieces in the order in which they were read; the oldest are dropped when there are too many.

    Channel 0 is the standard output (or the terminal, or both outputs merged), channel 1 the standard error.
    """

    def __init__(self, limit: int, relieved: Callable[[], None]) -> None:
        self.relieved = relieved  # called whenever a reader has taken something
        self.limit = min(max(limit, LEAST), MOST)
        self.pieces: deque[tuple[int, bytes | bytearray]] = deque()
        self.first = 0  # number of the oldest piece kept
        self.kept = 0  # bytes
        self.written = 0  # bytes since the start of the process
        self.finished = False
        self.readers: set[Reader] = set()

    def append(self, channel: int, data: bytes) -> None:
        if self.pieces and len(data) < SMALL:
            last_channel, last = self.pieces[-1]
            if last_channel == channel and isinstance(last, bytearray) and len(last) + len(data) <= SMALL:
                last += data
                self._grown(len(data))
                return
        self.pieces.append((channel, bytearray(data) if len(data) < SMALL else data))
        self._grown(len(data))

    def _grown(self, count: int) -> None:
        self.written += count
        self.kept += count
        while self.kept > self.limit:
            _, dropped = self.pieces.popleft()
            self.kept -= len(dropped)
            self.first += 1
        for reader in self.readers:
            reader.wake()

    def congested(self) -> bool:
        """Whether the slowest live reader is so far behind that the process must wait."""
        return any(self.written - reader.position >= CONGESTED for reader in self.readers)

    def finish(self) -> None:
        self.finished = True
        for reader in self.readers:
            reader.wake()

    def clear(self) -> None:
        self.first += len(self.pieces)
        self.pieces.clear()
        self.kept = 0


class Reader:
    """Follows an output from its oldest kept byte, or from now on; `position` counts bytes since the start."""

    def __init__(self, output: Output, *, replay: bool, threshold: int = 1) -> None:
        self.output = output
        self.threshold = threshold
        self.dropped = 0
        self._event = asyncio.Event()
        if replay:
            self._piece, self._offset = output.first, 0
            self.position = output.written - output.kept
            self.dropped = self.position
        else:
            self._piece, self._offset = output.first + len(output.pieces), 0
            self.position = output.written
            output.pieces.append((0, b""))  # what comes next must not be joined to what was there
        output.readers.add(self)

    @property
    def behind(self) -> int:
        """Bytes that are there and not taken."""
        return self.output.written - self.position

    def wake(self) -> None:
        if self.output.finished or self.behind >= self.threshold:
            self._event.set()

    async def wait(self) -> bool:
        """Wait for `threshold` bytes or the end; False at the end, when everything has been taken."""
        while not self.output.finished and self.behind < self.threshold:
            self._event.clear()
            await self._event.wait()
        return self.behind > 0

    def take(self, most: int) -> tuple[int, bytes]:
        """Up to `most` bytes of one channel. Sets `dropped` where older bytes were lost before they were taken."""
        output = self.output
        if self._piece < output.first:
            oldest = output.written - output.kept
            self.dropped += oldest - self.position
            self._piece, self._offset, self.position = output.first, 0, oldest
        while True:
            channel, piece = output.pieces[self._piece - output.first]
            data = (
                bytes(piece)
                if not self._offset and len(piece) <= most
                else bytes(piece[self._offset : self._offset + most])
            )
            self._offset += len(data)
            self.position += len(data)
            if self._offset >= len(piece) and self._piece - output.first + 1 < len(output.pieces):
                self._piece, self._offset = self._piece + 1, 0
            if data or not self.behind:
                output.relieved()
                return channel, data

    def close(self) -> None:
        self.output.readers.discard(self)
        self.output.relieved()
