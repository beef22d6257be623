"""One connected client: what it asks is answered, what it is to be told is held back where the protocol needs it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog
from starlette.websockets import WebSocket

from moonpool.dialects.codesandbox.pitcher import wire
from moonpool.dialects.codesandbox.pitcher.errors import failure_of
from moonpool.dialects.codesandbox.pitcher.outbox import ROOM, Outbox
from moonpool.dialects.codesandbox.pitcher.tokens import Grant
from moonpool.dialects.codesandbox.pitcher.wire import Incoming
from moonpool.errors import MoonpoolError
from moonpool.ids import random_word

# Seconds from when the client has read a response to the first notification of what it speaks of: for those of whom
# another thread does the reading.
HOLD = 0.03
LONGEST = 10.0  # seconds from a response on, for a client that does not say that it has read it
PORTS = "the ports"  # what notifications may speak of, beside a shell by its id
# The SDK asks for the ports at its connection, and brings its program down when it is let go before it is told. A
# program may be done with its first answer. So nothing that is asked later is answered earlier.
FIRST_ASKED = "port/list"
MAX_REQUESTS = 128  # of one client at once; further ones wait in its socket
MAX_REQUEST_BYTES = 64 << 20  # of requests being answered, before the next is read

log = structlog.get_logger(__name__)

Answer = Callable[["Client", Incoming], Awaitable[Any]]


@dataclass
class Held:
    """Notifications that wait until the client listens: until it has read the responses to ``requests``."""

    requests: set[int | None] = field(default_factory=set)
    frames: list[bytes] = field(default_factory=list)
    size: int = 0  # bytes of them
    timer: asyncio.TimerHandle | None = None


class Client:
    """``origin`` is "http://host:port" as the client wrote it."""

    def __init__(self, websocket: WebSocket, grant: Grant, origin: str) -> None:
        self.id = random_word(16)
        self.grant = grant
        self.origin = origin
        self.outbox = Outbox(websocket)
        self.bulk = asyncio.Lock()  # one large answer at a time, so that many of them do not add up
        self.watches: dict[str, asyncio.Task[None]] = {}
        self._websocket = websocket
        self._held: dict[str, Held] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._bytes = 0
        self._less = asyncio.Event()
        self._asked = False  # for the ports, unprompted

    # -- what it is told -----------------------------------------------------------------------------------------------

    def notify(self, method: str, params: Mapping[str, Any]) -> None:
        self.send(wire.notification(method, params), params.get("shellId"))

    def send(self, frame: bytes, subject: object = None) -> None:
        """A packed notification; ``subject`` is what it speaks of: ``PORTS``, or the id of a shell."""
        if not isinstance(subject, str) or (held := self._held.get(subject)) is None:
            self.outbox.put(frame)
            return
        held.frames.append(frame)
        held.size += len(frame)
        if held.size > ROOM:
            self.release(subject)

    def hold(self, subject: str, request: int | None) -> None:
        """From now on until a little after the response to ``request`` was read, or the client's next word on this
        shell.

        The SDK listens only once the response's promise has resolved: what arrives with the response is lost to it, as
        is on a busy machine what was sent a moment later.
        """
        held = self._held.setdefault(subject, Held())
        held.requests.add(request)
        if held.timer is not None:
            held.timer.cancel()
            held.timer = None

    def release(self, subject: str) -> None:
        held = self._held.pop(subject, None)
        if held is None:
            return
        if held.timer is not None:
            held.timer.cancel()
        for frame in held.frames:
            self.outbox.put(frame)

    def _read(self, request: int) -> None:
        for subject, held in self._held.items():
            if request in held.requests:
                held.requests.remove(request)
                if not held.requests:
                    held.timer = asyncio.get_running_loop().call_later(HOLD, self.release, subject)

    # -- what it asks --------------------------------------------------------------------------------------------------

    async def converse(self, answer: Answer) -> None:
        """Until the client has gone; raises MalformedFrame."""
        while (message := await self._websocket.receive())["type"] != "websocket.disconnect":
            data = message.get("bytes")
            if data is None:
                await self._text(message.get("text") or "")
                continue
            request = wire.parse(data)
            del message, data  # A frame may be large, and its content is in the request by now.
            shell_id = request.params.get("shellId")
            if isinstance(shell_id, str):
                self.release(shell_id)
            if request.number is None:
                continue
            if request.method == FIRST_ASKED and not self._asked:
                self._asked = True
                await self._answer(request, answer)
            else:
                await self._begin(request, answer)

    async def _text(self, text: str) -> None:
        """An empty text asks whether anybody is there. No other means anything."""
        if not text:
            await self.outbox.answer("")

    async def _begin(self, request: Incoming, answer: Answer) -> None:
        while len(self._tasks) >= MAX_REQUESTS or self._bytes > MAX_REQUEST_BYTES:
            self._less.clear()
            await self._less.wait()
        self._bytes += request.size
        task = asyncio.create_task(self._answer(request, answer))
        self._tasks.add(task)
        size = request.size
        task.add_done_callback(lambda done: self._ended(done, size))

    def _ended(self, task: "asyncio.Task[None]", size: int) -> None:
        self._tasks.discard(task)
        self._bytes -= size
        self._less.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("request_failed", exc_info=error)

    async def _answer(self, request: Incoming, answer: Answer) -> None:
        try:
            frame = wire.result(request, await answer(self, request))
        except Unanswered:
            return
        except (MoonpoolError, wire.Failure) as error:
            frame = wire.failure(request, failure_of(error))
        except Exception:  # The outermost edge: the client is told, and so is the log.
            log.exception("request_failed", method=request.method[:80])
            frame = wire.failure(request, wire.Failure(wire.Code.CRITICAL_ERROR, "Internal server error"))
        await self.outbox.answer(frame, self._awaited(request.number))

    def _awaited(self, request: int | None) -> Callable[[], None] | None:
        """What is to be called once the client has read the response, where anything waits for that."""
        if request is None or not any(request in held.requests for held in self._held.values()):
            return None
        read = partial(self._read, request)
        asyncio.get_running_loop().call_later(LONGEST, read)
        return read

    # -- end -----------------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """End everything that runs for it; what the client uploads in this moment is given up."""
        tasks = [*self._tasks, *self.watches.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for held in self._held.values():
            if held.timer is not None:
                held.timer.cancel()
        self._held.clear()
        self.outbox.close()


class Unanswered(Exception):
    """The sandbox goes to rest: the request is left open, and the client sends it again after it has reconnected."""
