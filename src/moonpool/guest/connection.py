"""The client's end of the protocol: one connection, many operations at once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

from moonpool import errors
from moonpool.guest.protocol import (
    CANCEL,
    CREDIT,
    END,
    ERROR,
    EVENT,
    HELLO,
    MAX_FRAME,
    MAX_MESSAGE,
    NOTICE,
    PART,
    PAYLOADS,
    PING,
    PONG,
    REPLY,
    REQUEST,
    TAKE_UP,
    TAKEN_UP,
    WELCOME,
    FrameConnection,
    Message,
    ProtocolError,
    Stream,
    decode,
    encode,
)

ANSWER_TIMEOUT = 30.0  # seconds for what the agent answers from memory
WORK_TIMEOUT = 600.0  # seconds for what may walk a whole disk
HEARTBEAT = 5.0  # seconds
SILENT_BEATS = 3  # heartbeats that an agent with open streams leaves unanswered before it is taken for dead
FIRST_ATTEMPT = 0.05  # seconds until a connection attempt is given up: a packet to a starting sandbox is lost
FIRST_PAUSE, LONGEST_PAUSE = 0.002, 0.05  # seconds between refused attempts
MAX_NUMBER = (1 << 32) - 1
MAX_WAITING = 2 * MAX_MESSAGE  # bytes of messages that an agent may send beyond what is read of them
MAX_UNSENT = 2 * MAX_MESSAGE  # bytes of requests that an agent has not read
MAX_WORDS = 10_000  # characters of an error's message
Result = TypeVar("Result")


def _classes(base: type[errors.MoonpoolError]) -> dict[str, type[errors.MoonpoolError]]:
    found = {base.code: base}
    for child in base.__subclasses__():
        found |= _classes(child)
    return found


ERRORS = _classes(errors.MoonpoolError)
OF_STREAMS = PAYLOADS | {PART, EVENT, END, CREDIT, REPLY}


def to_error(document: dict[str, Any]) -> errors.MoonpoolError:
    """The domain's error for the document of an ERROR frame."""
    return ERRORS.get(str(document.get("code")), errors.GuestError)(str(document.get("message", ""))[:MAX_WORDS])


async def within(seconds: float | None, waiting: Coroutine[Any, Any, Result]) -> Result:
    """Wait for it, at most so long; what goes wrong with the connection becomes one of the domain's errors."""
    try:
        async with asyncio.timeout(seconds):
            return await waiting
    except TimeoutError as error:
        raise errors.AgentTimeout from error
    except (ConnectionError, ProtocolError) as error:
        raise errors.AgentUnavailable from error


class ClientStream(Stream):
    """An operation in progress; `finished` when the agent has given its last answer."""

    finished = False

    async def reply(self) -> Message:
        """The final answer, where nothing else is expected before it."""
        while (item := await self.next()).kind != REPLY:
            pass
        return decode(item.payload)


class ClientConnection(FrameConnection):
    def __init__(self) -> None:
        super().__init__(MAX_FRAME, MAX_WAITING)
        loop = asyncio.get_running_loop()
        self.closed = asyncio.Event()
        self.noticed: Callable[[bytes], None] = lambda _about: None
        self.welcome: asyncio.Future[Message] = loop.create_future()
        self._taking_up: tuple[ClientConnection, asyncio.Future[None]] | None = None
        self._next_number = 1
        self._heard = True
        self._unanswered = 0
        self._heartbeat = loop.call_later(HEARTBEAT, self._beat)

    # -- what arrives -----------------------------------------------------------------------------------------------

    def frame_received(self, kind: int, number: int, payload: memoryview) -> None:
        self._heard = True
        stream = self.streams.get(number)
        if kind == WELCOME:
            if not self.welcome.done():
                self.welcome.set_result(decode(payload))
        elif kind == TAKEN_UP:
            self._hand_over()
        elif kind == NOTICE:
            self.noticed(bytes(payload))
        elif stream is None or kind == PONG:
            return  # of an operation that was given up
        elif kind == ERROR:
            self._finish(stream)
            stream.fail(to_error(decode(payload).document))
        elif kind not in OF_STREAMS:
            raise ProtocolError(f"a frame of kind {kind}")
        else:
            stream.feed(kind, payload)
            if kind == REPLY:
                self._finish(stream)
                stream.fail(ConnectionResetError("the operation is over"))  # whoever still sends need not wait

    def _finish(self, stream: Stream) -> None:
        assert isinstance(stream, ClientStream)
        stream.finished = True
        self.streams.pop(stream.number, None)

    def connection_closed(self) -> None:
        self._heartbeat.cancel()
        self.closed.set()
        if self._taking_up is not None and not self._taking_up[1].done():
            self._taking_up[1].set_exception(ConnectionResetError("closed before it was taken up"))
        if not self.welcome.done():
            self.welcome.set_exception(ConnectionResetError("closed before the welcome"))
            self.welcome.exception()  # also when nobody waits for it any more

    def _beat(self) -> None:
        """Counts beats, not seconds: a server that was held up itself has not listened either."""
        self._unanswered = 0 if self._heard or self.held else self._unanswered + 1
        if self.streams and self._unanswered >= SILENT_BEATS:
            self.abort(ConnectionResetError("the agent is silent"))
            return
        self._heard = not self.streams
        if self.streams:
            self.send(PING, 0)
        self._heartbeat = asyncio.get_running_loop().call_later(HEARTBEAT, self._beat)

    # -- between two sockets ----------------------------------------------------------------------------------------

    async def park(self, token: bytes) -> Message:
        """Leave the agent without losing an operation: when this returns the socket is closed, on both sides."""
        message = await self.call("park", {"token": token.hex()}, timeout=WORK_TIMEOUT)
        transport = self._transport
        if transport is None or self.lost is not None:
            raise errors.AgentUnavailable
        self.hold()
        transport.write_eof()
        await within(ANSWER_TIMEOUT, self._wait_left())
        return message

    async def unpark(self, fresh: "ClientConnection", token: bytes) -> None:
        """Go on by the socket of `fresh`."""
        taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        fresh._taking_up = (self, taken)
        fresh.send(TAKE_UP, 0, token)
        await within(ANSWER_TIMEOUT, _settled(taken))

    async def _wait_left(self) -> None:
        await self.left.wait()

    def _hand_over(self) -> None:
        if self._taking_up is None:
            raise ProtocolError("nothing was to be taken up")
        other, taken = self._taking_up
        self._taking_up = None
        if not taken.done():
            self.carry(other)
            taken.set_result(None)

    # -- what is asked ----------------------------------------------------------------------------------------------

    def open(self, operation: str, document: dict[str, Any], body: bytes = b"") -> ClientStream:
        """Send a request; whoever opens a stream must `release` it."""
        if self.lost is not None:
            raise errors.AgentUnavailable from self.lost
        if self._transport is not None and self._transport.get_write_buffer_size() > MAX_UNSENT:
            raise errors.AgentUnavailable
        number = self._next_number
        self._next_number = number + 1 if number < MAX_NUMBER else 1
        stream = ClientStream(self, number)
        self.streams[number] = stream
        document["op"] = operation
        self.send_message(REQUEST, number, encode(document, body))
        return stream

    def release(self, stream: ClientStream) -> None:
        """The operation is over for us: the agent is told if it is not over for it."""
        if not stream.finished:
            self.streams.pop(stream.number, None)
            self.send(CANCEL, stream.number)
        stream.forget()

    async def call(
        self, operation: str, document: dict[str, Any], body: bytes = b"", *, timeout: float | None = ANSWER_TIMEOUT
    ) -> Message:
        """One request, one reply."""
        stream = self.open(operation, document, body)
        try:
            return await within(timeout, stream.reply())
        finally:
            self.release(stream)

    @contextlib.asynccontextmanager
    async def streaming(self, operation: str, document: dict[str, Any]) -> AsyncIterator[ClientStream]:
        stream = self.open(operation, document)
        try:
            yield stream
        finally:
            self.release(stream)


async def connect(address: str, port: int, secret: bytes, timeout: float) -> ClientConnection:
    """Connect and be let in. Goes on trying until `timeout` seconds are over, since a sandbox that is just being
    restored refuses connections or does not see them."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    connection = await _open(address, port, deadline)
    connection.send(HELLO, 0, secret)
    try:
        await within(max(0.001, deadline - loop.time()), _welcome(connection))
    except BaseException:
        connection.abort(ConnectionResetError("given up"))
        raise
    return connection


async def _settled(future: "asyncio.Future[None]") -> None:
    await future


async def _welcome(connection: ClientConnection) -> None:
    await connection.welcome


async def _open(address: str, port: int, deadline: float) -> ClientConnection:
    loop = asyncio.get_running_loop()
    patience, pause = FIRST_ATTEMPT, FIRST_PAUSE
    while True:
        left = deadline - loop.time()
        try:
            async with asyncio.timeout(min(patience, left)):
                _, connection = await loop.create_connection(ClientConnection, address, port)
                return connection
        except TimeoutError as error:
            patience *= 2
            if loop.time() >= deadline:
                raise errors.AgentTimeout from error
        except OSError as error:
            if loop.time() + pause >= deadline:
                raise errors.AgentUnavailable from error
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
