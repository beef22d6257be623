"""What answers the server may be anybody: root inside can take the agent's place. It costs nobody else anything."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from moonpool.errors import AgentUnavailable, GuestError, TooLarge
from moonpool.guest import client as clients
from moonpool.guest import connection as connections
from moonpool.guest import watching
from moonpool.guest.client import AgentClient
from moonpool.guest.model import ProcessSpec
from moonpool.guest.protocol import (
    DATA,
    ERROR,
    EVENT,
    HEADER,
    MAX_FRAME,
    MAX_VALUES,
    NOTICE,
    PART,
    REPLY,
    REQUEST,
    WELCOME,
    WINDOW,
    encode,
)

Answer = Callable[["Peer"], Awaitable[None]]
MUCH = 4 << 20  # bytes


class Peer:
    """What pretends to be an agent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def asked(self) -> int:
        """The number of the next request's stream."""
        while True:
            kind, number, length = HEADER.unpack(await self._reader.readexactly(HEADER.size))
            await self._reader.readexactly(length)
            if kind == REQUEST:
                return int(number)

    async def tell(self, kind: int, number: int, payload: bytes = b"") -> None:
        self._writer.write(HEADER.pack(kind, number, len(payload)) + payload)
        await self._writer.drain()

    async def tell_long(self, number: int, message: bytes) -> None:
        start = 0
        while len(message) - start > MAX_FRAME:
            await self.tell(PART, number, message[start : start + MAX_FRAME])
            start += MAX_FRAME
        await self.tell(REPLY, number, message[start:])

    async def closed(self) -> None:
        while await self._reader.read(1 << 16):
            pass


@asynccontextmanager
async def answered_by(answer: Answer) -> AsyncIterator[AgentClient]:
    peers: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            _, _, length = HEADER.unpack(await reader.readexactly(HEADER.size))
            await reader.readexactly(length)
            peer = Peer(reader, writer)
            await peer.tell(WELCOME, 0, encode({"version": 1, "pid": 1}))
            await answer(peer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.append(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    agent = await AgentClient.connect("127.0.0.1", port, b"secret", timeout=10)
    try:
        yield agent
    finally:
        await agent.close()
        for peer in peers:
            peer.cancel()
        await asyncio.gather(*peers, return_exceptions=True)
        server.close()
        await server.wait_closed()


async def prints_for_ever(peer: Peer) -> None:
    number = await peer.asked()
    while True:
        await peer.tell(DATA, number, bytes(MAX_FRAME))


async def ends_no_message(peer: Peer) -> None:
    numbers = [await peer.asked() for _ in range(8)]
    for _ in range(MUCH // MAX_FRAME):
        for number in numbers:
            await peer.tell(PART, number, bytes(MAX_FRAME))
    await peer.closed()


async def tells_what_nobody_reads(peer: Peer) -> None:
    number = await peer.asked()
    await peer.tell(EVENT, number, encode({"port": 1}))
    for _ in range(MUCH // MAX_FRAME):
        await peer.tell(EVENT, number, bytes(MAX_FRAME))
    await peer.closed()


async def ends_no_line(peer: Peer) -> None:
    number = await peer.asked()
    while True:
        await peer.tell(DATA, number, bytes(MAX_FRAME))


class TestMemory:
    async def test_output_beyond_the_limit(self) -> None:
        async with answered_by(prints_for_ever) as agent:
            with pytest.raises(TooLarge):
                await agent.run(ProcessSpec(argv=("true",)), output_limit=MAX_FRAME)

    async def test_output_of_all_commands_together(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(clients, "MAX_COLLECTED", 2 * WINDOW)
        async with answered_by(prints_for_ever) as agent:
            with pytest.raises(TooLarge):
                await agent.run(ProcessSpec(argv=("true",)))

    async def test_messages_that_never_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connections, "MAX_WAITING", MUCH)
        async with answered_by(ends_no_message) as agent:
            asked = [asyncio.create_task(agent.ping()) for _ in range(8)]
            outcomes = await asyncio.gather(*asked, return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} == {AgentUnavailable}

    async def test_events_that_nobody_reads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connections, "MAX_WAITING", MUCH // 2)
        async with answered_by(tells_what_nobody_reads) as agent, agent.listen(1) as (port, _never_read):
            assert port == 1
            await agent.closed.wait()

    async def test_what_was_given_up_counts_no_more(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connections, "MAX_WAITING", MUCH)

        async def answers_too_late(peer: Peer) -> None:
            for _ in range(4):
                number = await peer.asked()
                await peer.tell(EVENT, number, encode({"port": 1}, bytes(MAX_FRAME - 100)))
                for _ in range(2):
                    await peer.tell(EVENT, number, bytes(MAX_FRAME))
            await peer.tell(REPLY, await peer.asked(), encode({}))

        async with answered_by(answers_too_late) as agent:
            for _ in range(4):
                async with agent.listen(1):
                    pass
            await agent.ping()

    async def test_lines_that_never_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(watching, "MAX_LINE", MUCH)
        async with answered_by(ends_no_line) as agent, agent.watch_ports() as lists:
            with pytest.raises(AgentUnavailable):
                await anext(lists)

    async def test_a_document_of_nothing_but_brackets(self) -> None:
        async def answers(peer: Peer) -> None:
            number = await peer.asked()
            body = b"[" + b"[]," * MAX_VALUES + b"[]]"
            await peer.tell_long(number, encode({}, body))
            await peer.closed()

        async with answered_by(answers) as agent:
            with pytest.raises(GuestError):
                await agent.list("/")

    async def test_telemetry_that_overlaps(self) -> None:
        """Each item would be a copy of the whole."""

        async def answers(peer: Peer) -> None:
            item = {"number": 1, "signal": "logs", "type": "application/json", "encoding": ""}
            sizes = [1000, -1000] * 1000
            items = [{**item, "size": size} for size in sizes]
            await peer.tell(REPLY, await peer.asked(), encode({"items": items}, bytes(1000)))
            await peer.closed()

        async with answered_by(answers) as agent:
            with pytest.raises(GuestError):
                await agent.take_telemetry(0)

    async def test_requests_that_it_does_not_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connections, "MAX_UNSENT", MUCH)
        stay = asyncio.Event()

        async def reads_nothing(_peer: Peer) -> None:
            await stay.wait()

        async with answered_by(reads_nothing) as agent:
            spec = ProcessSpec(argv=("cat",), stdin=True)
            asked = [asyncio.create_task(agent.run(spec, stdin=bytes(MUCH))) for _ in range(8)]
            done, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            assert all(isinstance(each.exception(), AgentUnavailable) for each in done)
            stay.set()
            await agent.close()
            await asyncio.gather(*asked, return_exceptions=True)


class TestTurns:
    async def test_tiny_frames_do_not_hold_everybody_up(self) -> None:
        """What arrives at once is taken in piece by piece, others in between, and nothing is lost."""
        heard, turns = 0, 0
        flood = HEADER.pack(NOTICE, 0, 0) * 20_000
        over = asyncio.Event()

        async def floods(peer: Peer) -> None:
            number = await peer.asked()
            peer._writer.write(flood)
            await peer.tell(REPLY, number, encode({}))
            await peer.closed()

        def hear(_about: bytes) -> None:
            nonlocal heard
            heard += 1

        async def count_turns() -> None:
            nonlocal turns
            while not over.is_set():
                before = heard
                await asyncio.sleep(0)
                turns += heard > before
                assert heard - before <= 2_000

        async with answered_by(floods) as agent:
            agent.on_notice(hear)
            counting = asyncio.create_task(count_turns())
            await agent.ping()
            over.set()
            await counting
        assert heard == 20_000
        assert turns >= 10


class TestWords:
    async def test_frames_of_no_known_kind_end_the_connection(self) -> None:
        async def answers(peer: Peer) -> None:
            await peer.tell(200, await peer.asked())
            await peer.closed()

        async with answered_by(answers) as agent:
            with pytest.raises(AgentUnavailable):
                await agent.ping()

    async def test_an_error_of_a_million_words(self) -> None:
        async def answers(peer: Peer) -> None:
            words = json.dumps({"code": "guest_error", "message": "x" * 500_000}).encode()
            await peer.tell(ERROR, await peer.asked(), len(words).to_bytes(4, "big") + words)
            await peer.closed()

        async with answered_by(answers) as agent:
            with pytest.raises(GuestError) as raised:
                await agent.ping()
            assert len(raised.value.message) <= connections.MAX_WORDS
