"""Frames, windows and messages, without an agent."""

import asyncio
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonpool.guest.protocol import (
    COUNT,
    CREDIT,
    DATA,
    EVENT,
    GRANT,
    HEADER,
    MAX_FRAME,
    MAX_ITEMS,
    MAX_MESSAGE,
    PART,
    REPLY,
    WINDOW,
    FrameConnection,
    ProtocolError,
    Stream,
    decode,
    encode,
)

Frame = tuple[int, int, bytes]
TEXTS = st.text(st.characters(codec=None)) | st.integers() | st.booleans() | st.none()


class Recorder(FrameConnection):
    """Keeps what arrives."""

    def __init__(self, max_payload: int = MAX_FRAME) -> None:
        super().__init__(max_payload)
        self.frames: list[Frame] = []
        self.closed = 0

    def frame_received(self, kind: int, number: int, payload: memoryview) -> None:
        self.frames.append((kind, number, bytes(payload)))

    def connection_closed(self) -> None:
        self.closed += 1

    def feed(self, data: bytes, step: int) -> None:
        """Hand over bytes as a socket would, at most `step` at a time."""
        view = memoryview(data)
        while len(view) and self.lost is None:
            buffer = self.get_buffer(-1)
            assert len(buffer) > 0
            count = min(step, len(buffer), len(view))
            buffer[:count] = view[:count]
            self.buffer_updated(count)
            view = view[count:]


class Wire(asyncio.Transport):
    """A transport that remembers what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def abort(self) -> None:
        pass


def written(wire: Wire) -> list[Frame]:
    reader = Recorder()
    reader.feed(bytes(wire.written), 1 << 20)
    return reader.frames


@pytest.fixture
async def wire() -> Wire:
    return Wire()


@pytest.fixture
async def connection(wire: Wire) -> Recorder:
    connection = Recorder()
    connection.connection_made(wire)
    return connection


class TestFrames:
    @given(
        frames=st.lists(st.tuples(st.integers(0, 255), st.integers(0, 2**32 - 1), st.binary(max_size=3000))),
        step=st.integers(1, 5000),
    )
    def test_arrive_as_they_were_sent_however_they_are_cut(self, frames: list[Frame], step: int) -> None:
        async def check() -> None:
            reader = Recorder()
            reader.feed(b"".join(HEADER.pack(kind, at, len(data)) + data for kind, at, data in frames), step)
            assert reader.frames == frames

        asyncio.run(check())

    async def test_large_ones(self) -> None:
        payloads = [bytes([number]) * MAX_FRAME for number in range(5)]
        for step in (10_000, 65536, 1 << 21):
            reader = Recorder()
            reader.feed(b"".join(HEADER.pack(DATA, 1, len(data)) + data for data in payloads), step)
            assert [data for _, _, data in reader.frames] == payloads

    async def test_too_large_ends_the_connection(self) -> None:
        reader = Recorder(max_payload=100)
        reader.feed(HEADER.pack(DATA, 1, 101), 100)
        assert isinstance(reader.lost, ProtocolError)
        assert reader.closed == 1

    async def test_stranger_gets_a_small_buffer_only(self) -> None:
        reader = Recorder(max_payload=256)
        assert len(reader.get_buffer(1 << 20)) <= 1024


class TestMessages:
    @given(document=st.dictionaries(st.text(), TEXTS), body=st.binary())
    def test_survive(self, document: dict[str, object], body: bytes) -> None:
        assert decode(encode(document, body)) == (document, body)

    @given(st.binary(max_size=200))
    def test_garbage_is_refused(self, payload: bytes) -> None:
        try:
            document, _ = decode(payload)
        except ProtocolError:
            return
        assert isinstance(document, dict)

    @pytest.mark.parametrize("text", [b"[]", b"1", b"nul", b"[" * 100_000, b"\xff", b'{"a":1'])
    def test_not_an_object(self, text: bytes) -> None:
        with pytest.raises(ProtocolError):
            decode(COUNT.pack(len(text)) + text)

    async def test_long_ones_are_sent_in_parts(self, connection: Recorder, wire: Wire) -> None:
        stream = Stream(connection, 7)
        body = bytes(range(256)) * 10_000
        connection.send_message(REPLY, 7, encode({"a": 1}, body))
        frames = written(wire)
        assert [kind for kind, _, _ in frames] == [PART, PART, REPLY]
        for kind, _, payload in frames:
            stream.feed(kind, memoryview(payload))
        assert decode((await stream.next()).payload) == ({"a": 1}, body)

    async def test_total_is_bounded(self, connection: Recorder) -> None:
        stream = Stream(connection, 1)
        part = memoryview(bytes(MAX_FRAME))
        for _ in range(MAX_MESSAGE // MAX_FRAME):
            stream.feed(PART, part)
        with pytest.raises(ProtocolError):
            stream.feed(PART, memoryview(b"x"))


class TestWindow:
    async def test_sender_stops_at_the_window(self, connection: Recorder, wire: Wire) -> None:
        stream = Stream(connection, 1)
        sending = asyncio.ensure_future(stream.send_data(bytes(WINDOW + 10)))
        await asyncio.sleep(0)
        assert sum(len(data) for _, _, data in written(wire)) == WINDOW
        assert not sending.done()
        stream.feed(CREDIT, memoryview(COUNT.pack(5)))
        stream.feed(CREDIT, memoryview(COUNT.pack(5)))
        await sending
        assert sum(len(data) for _, _, data in written(wire)) == WINDOW + 10

    async def test_reader_grants_what_it_has_consumed(self, connection: Recorder, wire: Wire) -> None:
        stream = Stream(connection, 1)
        stream.feed(DATA, memoryview(bytes(GRANT - 1)))
        await stream.next()
        assert not wire.written
        stream.feed(DATA, memoryview(bytes(1)))
        await stream.next()
        assert written(wire) == [(CREDIT, 1, COUNT.pack(GRANT))]

    async def test_whoever_exceeds_it_is_cut_off(self, connection: Recorder) -> None:
        stream = Stream(connection, 1)
        stream.feed(DATA, memoryview(bytes(WINDOW)))
        with pytest.raises(ProtocolError):
            stream.feed(DATA, memoryview(b"x"))

    async def test_flood_of_empty_frames(self, connection: Recorder) -> None:
        stream = Stream(connection, 1)
        for _ in range(MAX_ITEMS):
            stream.feed(EVENT, memoryview(b""))
        with pytest.raises(ProtocolError):
            stream.feed(EVENT, memoryview(b""))

    @pytest.mark.parametrize("payload", [b"", b"123", b"12345"])
    async def test_malformed_credit(self, connection: Recorder, payload: bytes) -> None:
        with pytest.raises(ProtocolError):
            Stream(connection, 1).feed(CREDIT, memoryview(payload))


class TestEnd:
    async def test_waiters_get_the_error_after_what_had_arrived(self, connection: Recorder) -> None:
        stream = connection.streams[1] = Stream(connection, 1)
        stream.feed(DATA, memoryview(b"last"))
        connection.connection_lost(None)
        assert (await stream.next()).payload == b"last"
        with pytest.raises(ConnectionResetError):
            await stream.next()
        with pytest.raises(ConnectionResetError):
            await stream.credit(1)
        with pytest.raises(ConnectionResetError):
            await connection.drain()

    async def test_blocked_sender_is_woken(self, connection: Recorder) -> None:
        stream = connection.streams[1] = Stream(connection, 1)
        sending = asyncio.ensure_future(stream.send_data(bytes(WINDOW + 1)))
        await asyncio.sleep(0)
        connection.connection_lost(None)
        with pytest.raises(ConnectionResetError):
            await sending

    async def test_nothing_is_sent_afterwards(self, connection: Recorder, wire: Wire) -> None:
        connection.connection_lost(None)
        connection.send(DATA, 1, b"x")
        assert not wire.written


def test_header_is_nine_bytes() -> None:
    assert HEADER.size == struct.calcsize("!BII") == 9
