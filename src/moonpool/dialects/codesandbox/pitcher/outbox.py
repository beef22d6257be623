"""What waits to be sent to one client: bounded, so that one who never reads costs no more than that."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from starlette.websockets import WebSocket

from moonpool.dialects.common.sockets import once_read

ROOM = 1 << 20  # bytes that may wait before whoever produces more has to wait
LIMIT = 16 << 20  # bytes of notifications that may wait before the client is given up
STALL = 30.0  # seconds in which a client must take something, while there is something
SLOWEST = 64 << 10  # bytes a second that a client is expected to take of a large frame


class SlowClient(Exception):
    """The client does not read what it is sent."""


@dataclass(frozen=True)
class Waiting:
    """``told``: bytes of it that count as a notification. ``read`` is called once the client has read it."""

    frame: bytes | str
    told: int = 0
    read: Callable[[], None] | None = None


class Outbox:
    """``put`` never waits; who can wait awaits ``room`` first. ``drain`` is the one task that sends, in order."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._queue: deque[Waiting] = deque()
        self._waiting = 0  # bytes
        self._told = 0  # bytes of notifications among them
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()
        self._emptied.set()
        self._roomy = asyncio.Event()
        self._roomy.set()
        self._overflowed = asyncio.Event()

    def put(self, frame: bytes | str) -> None:
        """A notification. What is put after an overflow is lost, and so is the client."""
        if self._told > LIMIT:
            self._overflowed.set()
        if not self._overflowed.is_set():
            self._told += len(frame)
            self._add(Waiting(frame, told=len(frame)))

    async def answer(self, frame: bytes | str, read: Callable[[], None] | None = None) -> None:
        """What the client has asked for, of any size; once there is room. A text is sent as a text frame. ``read`` is
        called once the client has read it, which may be never."""
        await self.room()
        if not self._overflowed.is_set():
            self._add(Waiting(frame, read=read))

    def _add(self, waiting: Waiting) -> None:
        self._queue.append(waiting)
        self._waiting += len(waiting.frame) + 1
        self._filled.set()
        self._emptied.clear()
        if self._waiting > ROOM:
            self._roomy.clear()

    async def room(self) -> None:
        """Until less than ``ROOM`` waits, or the client is lost."""
        await self._roomy.wait()

    async def flush(self, seconds: float) -> None:
        """Until everything is on its way, at most so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._emptied.wait()
        except TimeoutError:
            return

    def close(self) -> None:
        """Nobody has to wait for this client any more."""
        self._overflowed.set()
        self._queue.clear()
        self._roomy.set()
        self._emptied.set()

    async def drain(self) -> None:
        """Send, for ever; raises SlowClient."""
        before = 0
        while True:
            await self._filled.wait()
            while self._queue:
                waiting = self._queue.popleft()
                try:  # A frame is taken at once, and the next one when this one is nearly through.
                    async with asyncio.timeout(STALL + before / SLOWEST):
                        await self._send(waiting.frame)
                except TimeoutError:
                    raise SlowClient from None
                if waiting.read is not None:
                    once_read(self._websocket.scope, waiting.read)
                before = len(waiting.frame)
                self._waiting -= before + 1
                self._told -= waiting.told
                if self._waiting <= ROOM:
                    self._roomy.set()
            self._filled.clear()
            self._emptied.set()

    async def watch(self) -> None:
        """Raises SlowClient once too much waits."""
        await self._overflowed.wait()
        raise SlowClient

    async def _send(self, frame: bytes | str) -> None:
        if isinstance(frame, str):
            await self._websocket.send_text(frame)
        else:
            await self._websocket.send_bytes(frame)
