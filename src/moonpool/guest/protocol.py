"""Frames between the agent and its client: many streams over one connection, each with its own back-pressure.

A frame is one byte of kind, four bytes of stream number, four bytes of payload length (network order), then the
payload. The client numbers the streams; stream 0 is the connection itself. What a stream carries:

    client: REQUEST (after PARTs when it is long), then DATA and END where the operation takes input, CANCEL to give up
    agent:  EVENT and DATA where the operation has them, at last one REPLY (after PARTs when it is long) or ERROR
    both:   CREDIT: four bytes, how many more bytes of DATA the other side may send

On stream 0 the agent may send a NOTICE, whose payload says of what: programs inside have left telemetry, which can be
taken (nothing, as agents of earlier versions send), or want to know the sizes of their disks (DISKS); or there was
nothing to start by itself, and nothing to write, when the sandbox was new (IDLE_BOOT).

A connection can change its socket, so that a sandbox is copied while operations are in progress: each side holds what
it has to send, the client closes the socket, and later takes the connection up by another (TAKE_UP with the token that
it gave before; TAKEN_UP is the last frame of that other connection's own).

This file is shared by both sides and copied beside the agent, so it imports the standard library only.
"""

import abc
import asyncio
import json
import struct
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

VERSION = 1
HEADER = struct.Struct("!BII")
COUNT = struct.Struct("!I")
MAX_FRAME = 1 << 20  # bytes of payload
MAX_MESSAGE = 32 << 20  # bytes of a request or reply, all its parts together
CHUNK = 256 << 10  # bytes of payload that a bulk DATA frame carries
WINDOW = 2 << 20  # bytes of DATA one side may send on a stream before the other grants more
GRANT = WINDOW // 4  # bytes consumed before more credit is granted
MAX_HELLO = 256  # bytes of the first frame, which carries the secret
MAX_ITEMS = 100_000  # frames of a stream that wait to be read: bounds a flood of empty ones
MAX_VALUES = 4_000_000  # commas and brackets of a document: each may become an object of 20 times its size
BURST = 1000  # frames that are taken in before others have their turn
ITEM_SIZE = 128  # bytes that a frame takes up while it waits, beside its payload
FIRST_BUFFER = 1 << 10  # bytes set aside for a peer that has not proven who it is
WRITE_BUFFER = 1 << 20  # bytes waiting for the socket before writers are held back

HELLO, WELCOME, REQUEST, PART, REPLY, ERROR, EVENT, DATA, DATA_STDERR, END, CREDIT, CANCEL, PING, PONG = range(1, 15)
TAKE_UP, TAKEN_UP, NOTICE = 15, 16, 17
DISKS, IDLE_BOOT = b"disks", b"idle boot"
PAYLOADS = frozenset({DATA, DATA_STDERR})
FINAL = frozenset({REPLY, ERROR})
Buffer = bytes | bytearray | memoryview
DECODER = json.JSONDecoder()


class ProtocolError(Exception):
    """The other side sent what the protocol does not allow; the connection is of no use any more."""


class Message(NamedTuple):
    """A control document (JSON) and the bytes that come with it."""

    document: dict[str, Any]
    body: bytes = b""


class Item(NamedTuple):
    """One thing that arrived on a stream, in order."""

    kind: int
    payload: bytes


def encode(document: dict[str, Any], body: Buffer = b"") -> bytes:
    """Four bytes of length, the document as ASCII JSON (lone surrogates survive), then the body."""
    text = json.dumps(document, separators=(",", ":")).encode()
    return b"".join((COUNT.pack(len(text)), text, body))


def decode(payload: Buffer) -> Message:
    """The reverse of `encode`; ProtocolError for anything else."""
    try:
        (length,) = COUNT.unpack_from(payload)
        if length > len(payload) - COUNT.size:
            raise ProtocolError("a document longer than its frame")
        end = COUNT.size + length
        document = parsed(bytes(payload[COUNT.size : end]))
    except (struct.error, ValueError, RecursionError) as error:
        raise ProtocolError("a document that cannot be read") from error
    if not isinstance(document, dict):
        raise ProtocolError("a document that is not an object")
    return Message(document, bytes(payload[end:]))


def check_values(text: bytes) -> None:
    if len(text) > MAX_VALUES and sum(map(text.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise ValueError("too many values")


def parsed(text: bytes) -> Any:
    """JSON that the other side has written; ValueError, also for more than anybody means, and RecursionError."""
    check_values(text)
    return json.loads(text)


def each_parsed(text: bytes) -> Iterator[Any]:
    """As ``parsed`` of a list that is written without spaces, one value after the other: to read a long one at once
    would hold everybody up."""
    check_values(text)
    plain, at = text.decode(), 1
    if plain[:1] != "[" or plain[-1:] != "]":
        raise ValueError("not a list")
    while at < len(plain) - 1:
        value, at = DECODER.raw_decode(plain, at)
        yield value
        if plain[at : at + 1] not in (",", "]"):
            raise ValueError("not a list")
        at += 1


class FrameConnection(asyncio.BufferedProtocol, abc.ABC):
    """Cuts what arrives into frames and writes frames, with flow control; subclasses say what a frame means."""

    def __init__(self, max_payload: int, max_waiting: int | None = None) -> None:
        self.max_payload = max_payload
        self.max_waiting = max_waiting  # bytes of messages and events, in parts or whole, that nobody has read
        self.waiting = 0
        self.streams: dict[int, Stream] = {}
        self.lost: BaseException | None = None
        self._transport: asyncio.Transport | None = None
        self._source: asyncio.Transport | None = None  # what arrives comes from it, also once it is not written to
        self._buffer = bytearray(FIRST_BUFFER)
        self._view = memoryview(self._buffer)
        self._start = 0
        self._end = 0
        self._writable = asyncio.Event()
        self._writable.set()
        self.left = asyncio.Event()  # set when the socket that hold() was called on is gone
        self._held: list[bytes] | None = None  # frames that wait for the next socket
        self._carried: FrameConnection | None = None

    # -- for subclasses ---------------------------------------------------------------------------------------------

    @abc.abstractmethod
    def frame_received(self, kind: int, number: int, payload: memoryview) -> None:
        """`payload` is only valid during the call."""

    @abc.abstractmethod
    def connection_closed(self) -> None:
        """Called once, after every stream has been told."""

    # -- asyncio's side ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._source = self._transport = cast(asyncio.Transport, transport)  # uvloop's are not of this class
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view[self._end :]

    def buffer_updated(self, nbytes: int) -> None:
        self._end += nbytes
        needed, left = HEADER.size, BURST
        try:
            while (target := self._carried or self).lost is None and self._end - self._start >= HEADER.size:
                kind, number, length = HEADER.unpack_from(self._buffer, self._start)
                if length > self.max_payload:
                    raise ProtocolError(f"a frame of {length} bytes")
                needed = HEADER.size + length
                if self._end - self._start < needed:
                    break
                if not left:
                    self._go_on_later()
                    return
                left -= 1
                payload = self._view[self._start + HEADER.size : self._start + needed]
                self._start += needed
                needed = HEADER.size
                target.frame_received(kind, number, payload)
        except ProtocolError as error:
            target.abort(error)
        self._make_room(needed)

    def _go_on_later(self) -> None:
        """Whoever sends nothing but tiny frames does not keep everybody else waiting."""
        assert self._source is not None
        self._source.pause_reading()
        asyncio.get_running_loop().call_soon(self._go_on, self._source)

    def _go_on(self, source: asyncio.Transport) -> None:
        if not source.is_closing():
            source.resume_reading()
            self.buffer_updated(0)

    def _make_room(self, needed: int) -> None:
        """See to it that the frame in progress fits, moving or growing as little as possible."""
        kept = self._end - self._start
        if kept == 0:
            self._start = self._end = 0
        wanted = max(needed, self._wanted_buffer())
        if wanted > len(self._buffer):
            grown = bytearray(wanted)
            grown[:kept] = self._view[self._start : self._end]
            self._buffer, self._view = grown, memoryview(grown)
            self._start, self._end = 0, kept
        elif self._start + needed > len(self._buffer) or self._end == len(self._buffer):
            self._view[:kept] = bytes(self._view[self._start : self._end])
            self._start, self._end = 0, kept

    def _wanted_buffer(self) -> int:
        """Bulk frames are read several at a time; whoever sends only small ones gets a small buffer."""
        if self.max_payload <= MAX_HELLO:
            return FIRST_BUFFER
        return 4 * CHUNK if len(self._buffer) > CHUNK else CHUNK // 4

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        target = self._carried or self
        if target._held is None:
            target._end_all(exc or ConnectionResetError("the connection was closed"))
        target.left.set()

    def pause_writing(self) -> None:
        (self._carried or self)._writable.clear()

    def resume_writing(self) -> None:
        target = self._carried or self
        if target._held is None:
            target._writable.set()

    # -- between two sockets ----------------------------------------------------------------------------------------

    @property
    def held(self) -> bool:
        """Between two sockets: nothing can come, and nothing goes out."""
        return self._held is not None

    def hold(self) -> None:
        """From now on there is no socket to write to: what is sent waits for the next one. What was sent before still
        goes out, and what arrives is still taken in."""
        self._held = []
        self._transport = None
        self._writable.clear()
        self.left.clear()

    def carry(self, other: "FrameConnection") -> None:
        """The socket is `other`'s from now on, and what it held goes out by it; this connection is over."""
        self._carried = other
        other._transport, held, other._held = self._transport, other._held or [], None
        other._writable.set()
        for frame in held:
            other.send_prepared(frame)
        self._end_all(ConnectionResetError("the socket belongs to another connection"))

    # -- writing ----------------------------------------------------------------------------------------------------

    def send(self, kind: int, number: int, payload: Buffer = b"") -> None:
        if self._held is not None:
            self._held.append(HEADER.pack(kind, number, len(payload)) + payload)
        elif self.lost is None and self._transport is not None:
            header = HEADER.pack(kind, number, len(payload))
            if len(payload) < CHUNK // 4:
                self._transport.write(header + payload)
            else:
                self._transport.writelines((header, payload))

    def send_prepared(self, frame: Buffer) -> None:
        """Send a whole frame, header included."""
        if self._held is not None:
            self._held.append(bytes(frame))
        elif self.lost is None and self._transport is not None:
            self._transport.write(frame)

    def send_message(self, kind: int, number: int, message: bytes) -> None:
        """Send an encoded message, cut into PARTs where it is longer than a frame may be."""
        start = 0
        while len(message) - start > MAX_FRAME:
            self.send(PART, number, memoryview(message)[start : start + MAX_FRAME])
            start += MAX_FRAME
        self.send(kind, number, message[start:] if start else message)

    async def drain(self) -> None:
        """Wait until the socket takes more; raises what ended the connection."""
        if self.lost is None and not self._writable.is_set():
            await self._writable.wait()
        if self.lost is not None:
            raise ConnectionResetError("the connection was closed") from self.lost

    def close(self) -> None:
        """Send what is waiting, then close."""
        if self._transport is not None:
            self._transport.close()

    def finish_writing(self) -> None:
        """Send what is waiting, then the end; the other side closes when it has seen it."""
        if self._transport is not None and self.lost is None:
            self._transport.write_eof()

    def abort(self, error: BaseException) -> None:
        """Close at once; every stream sees `error`."""
        self._end_all(error)
        if self._transport is not None:
            self._transport.abort()

    def _end_all(self, error: BaseException) -> None:
        if self.lost is not None:
            return
        self.lost = error
        self._held = None
        self._writable.set()
        self.left.set()
        streams, self.streams = self.streams, {}
        for stream in streams.values():
            stream.fail(error)
        self.connection_closed()


class Stream:
    """One operation's two directions; both sides use the same class."""

    def __init__(self, connection: FrameConnection, number: int) -> None:
        self.connection = connection
        self.number = number
        self.error: BaseException | None = None
        self._items: deque[Item] = deque()
        self._parts: list[bytes] = []
        self._parts_size = 0
        self._waiting = 0  # this stream's share of the connection's
        self._credit = WINDOW
        self._unread = 0
        self._ungranted = 0
        self._waiter: asyncio.Future[None] | None = None
        self._sender: asyncio.Future[None] | None = None

    # -- what arrives -----------------------------------------------------------------------------------------------

    def feed(self, kind: int, payload: memoryview) -> None:
        """Take in one frame; ProtocolError when it breaks the window or the size of a message."""
        if kind == CREDIT:
            if len(payload) != COUNT.size:
                raise ProtocolError("a credit that is not a number")
            self._credit += COUNT.unpack(payload)[0]
            self._wake_sender()
            return
        if kind == PART:
            self._add_part(payload)
            return
        data = bytes(payload)
        if kind in PAYLOADS:
            self._unread += len(data)
            if self._unread > WINDOW:
                raise ProtocolError("more data than was asked for")
        elif self._parts:
            self._add_part(payload)
            data = b"".join(self._parts)
            self._parts, self._parts_size = [], 0
            self._wait(ITEM_SIZE)
        else:
            self._wait(len(data) + ITEM_SIZE)
        if len(self._items) >= MAX_ITEMS:
            raise ProtocolError("too many frames that nobody has read")
        self._items.append(Item(kind, data))
        self._wake_reader()

    def _add_part(self, payload: memoryview) -> None:
        self._parts_size += len(payload)
        if self._parts_size > MAX_MESSAGE:
            raise ProtocolError("a message that is too long")
        self._wait(len(payload))
        self._parts.append(bytes(payload))

    def _wait(self, size: int) -> None:
        """So many bytes more (or less) wait to be read."""
        self._waiting += size
        self.connection.waiting += size
        limit = self.connection.max_waiting
        if limit is not None and self.connection.waiting > limit:
            raise ProtocolError("more messages than are read")

    def forget(self) -> None:
        """Nobody reads what has arrived, and nothing more may arrive."""
        self.connection.waiting -= self._waiting
        self._waiting = 0
        self._items.clear()
        self._parts = []

    def fail(self, error: BaseException) -> None:
        """Nothing more will come; whoever waits gets `error` after what has already arrived."""
        if self.error is None:
            self.error = error
        self._wake_reader()
        self._wake_sender()

    def _wake_reader(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _wake_sender(self) -> None:
        if self._sender is not None and not self._sender.done():
            self._sender.set_result(None)

    # -- what is read -----------------------------------------------------------------------------------------------

    async def next(self) -> Item:
        """The next item; grants the sender credit for what has been consumed."""
        while not self._items:
            if self.error is not None:
                raise self.error
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._pop()

    def next_ready(self) -> Item | None:
        """The next item if it is there already."""
        return self._pop() if self._items else None

    def _pop(self) -> Item:
        item = self._items.popleft()
        if item.kind in PAYLOADS:
            self._unread -= len(item.payload)
            self._ungranted += len(item.payload)
            if self._ungranted >= GRANT:
                self.connection.send(CREDIT, self.number, COUNT.pack(self._ungranted))
                self._ungranted = 0
        else:
            self._waiting -= (size := len(item.payload) + ITEM_SIZE)
            self.connection.waiting -= size
        return item

    # -- what is sent -----------------------------------------------------------------------------------------------

    async def credit(self, wanted: int) -> int:
        """Wait until at least one byte may be sent, take up to `wanted` bytes of it and say how many."""
        while self._credit <= 0 and self.error is None:
            self._sender = asyncio.get_running_loop().create_future()
            try:
                await self._sender
            finally:
                self._sender = None
        if self.error is not None:
            raise self.error
        taken = min(wanted, self._credit)
        self._credit -= taken
        return taken

    def give_back(self, count: int) -> None:
        """Credit that was taken and not used."""
        self._credit += count

    async def send_data(self, data: Buffer, kind: int = DATA) -> None:
        """Send all of `data`, as fast as the other side takes it."""
        view = memoryview(data)
        while len(view):
            count = await self.credit(min(len(view), CHUNK))
            self.connection.send(kind, self.number, view if count == len(view) else view[:count])
            view = view[count:]
            await self.connection.drain()
