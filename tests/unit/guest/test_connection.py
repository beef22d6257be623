"""Who is let in, and what becomes of a connection."""

import asyncio
import contextlib
import socket

import pytest

from moonpool import errors
from moonpool.guest.client import AgentClient
from moonpool.guest.model import Identity, ProcessSpec
from moonpool.guest.protocol import (
    CANCEL,
    COUNT,
    CREDIT,
    DATA,
    END,
    ERROR,
    HEADER,
    HELLO,
    MAX_FRAME,
    MAX_HELLO,
    PING,
    PONG,
    REPLY,
    REQUEST,
    WELCOME,
    decode,
    encode,
)
from tests.guests import execute_agent

from .conftest import RunningAgent

HELLO_TIMEOUT = 5.0  # seconds the agent waits for the secret


def frame(kind: int, number: int, payload: bytes = b"") -> bytes:
    return HEADER.pack(kind, number, len(payload)) + payload


BAD_FRAMES = [
    frame(200, 1),
    frame(HELLO, 0, b"again"),
    frame(WELCOME, 0),
    frame(REPLY, 1, encode({})),
    HEADER.pack(DATA, 1, MAX_FRAME + 1),
    HEADER.pack(REQUEST, 1, 0xFFFFFFFF),
    frame(REQUEST, 1, b""),
    frame(REQUEST, 1, b"\xff" * 50),
    frame(REQUEST, 1, COUNT.pack(2) + b"[]"),
    frame(REQUEST, 1, COUNT.pack(100_000) + b"[" * 100_000),
    frame(REQUEST, 1, encode({"op": "wait", "selector": 1})) * 2,
]
BAD_REQUEST_CODES = {"invalid_input", "not_supported", "process_not_found", "invalid_path"}
BAD_REQUESTS: list[dict[str, object]] = [
    {},
    {"op": None},
    {"op": "nothing"},
    {"op": ["run"]},
    {"op": "__init__"},
    {"op": "run"},
    {"op": "run", "argv": "ls"},
    {"op": "run", "argv": [1]},
    {"op": "run", "argv": []},
    {"op": "run", "argv": ["true"], "user": 0},
    {"op": "run", "argv": ["true"], "env": ["A"]},
    {"op": "run", "argv": ["true"], "env": {"A": 1}},
    {"op": "run", "argv": ["true"], "timeout": "1"},
    {"op": "run", "argv": ["true"], "timeout": True},
    {"op": "run", "argv": ["true"], "output_limit": -1},
    {"op": "run", "argv": ["true"], "output_limit": 10**30},
    {"op": "run", "argv": ["true"], "rows": 0, "cols": 1},
    {"op": "run", "argv": ["true"], "rows": 10**9, "cols": 10**9},
    {"op": "run", "argv": ["true"], "rows": 5},
    {"op": "run", "argv": ["\ud800"]},
    {"op": "run", "shell": "\ud800"},
    {"op": "run", "argv": ["true"], "cwd": "\ud800"},
    {"op": "start", "argv": ["true"], "replay_bytes": 1.5},
    {"op": "signal", "selector": 1, "signal": 10**20},
    {"op": "wait", "selector": 10**40},
    {"op": "wait", "selector": None},
    {"op": "wait", "selector": [1]},
    {"op": "resize", "selector": 1, "rows": 1},
    {"op": "read", "path": "/etc/passwd", "offset": -1},
    {"op": "read", "path": "/etc/passwd", "offset": 1 << 64},
    {"op": "list", "path": "/", "depth": 0},
    {"op": "list", "path": "/", "depth": 10**9},
    {"op": "mkdir", "path": "/x", "mode": 0o10000},
    {"op": "chmod", "path": "/x", "mode": -1},
    {"op": "stat", "path": ["/"]},
    {"op": "stat", "path": ""},
    {"op": "stat", "path": "\ud800"},
    {"op": "dial", "port": 0},
    {"op": "dial", "port": 65536},
    {"op": "thaw", "hostname": "x" * 65},
    {"op": "limit", "processes": 0},
    {"op": "environment", "set": {"A=": ""}},
]


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, int, bytes]:
    kind, number, length = HEADER.unpack(await reader.readexactly(HEADER.size))
    return kind, number, await reader.readexactly(length)


async def let_in(running: RunningAgent) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await running.raw()
    writer.write(frame(HELLO, 0, running.secret))
    assert (await read_frame(reader))[0] == WELCOME
    return reader, writer


async def closed(reader: asyncio.StreamReader) -> bool:
    """Whether the agent says nothing more and closes."""
    try:
        return await asyncio.wait_for(reader.read(), HELLO_TIMEOUT + 10) == b""
    except ConnectionResetError:
        return True


class TestStranger:
    @pytest.mark.parametrize(
        "said",
        [
            frame(HELLO, 0, b"wrong"),
            frame(HELLO, 0, b""),
            frame(REQUEST, 1, encode({"op": "ping"})),
            frame(HELLO, 0, bytes(MAX_HELLO + 1)),
            HEADER.pack(HELLO, 0, 0xFFFFFFFF),
            b"GET / HTTP/1.1\r\nHost: sandbox\r\n\r\n",
            bytes(100_000),
        ],
        ids=["wrong", "empty", "request", "long", "huge", "http", "zeros"],
    )
    async def test_is_told_nothing(self, running: RunningAgent, agent: AgentClient, said: bytes) -> None:
        reader, writer = await running.raw()
        writer.write(said)
        assert await closed(reader)
        writer.close()
        await agent.ping()

    async def test_who_says_nothing_is_closed(self, running: RunningAgent) -> None:
        reader, writer = await running.raw()
        writer.write(frame(HELLO, 0, running.secret)[:-1])
        assert await closed(reader)
        writer.close()

    async def test_many_do_not_keep_others_out(self, running: RunningAgent) -> None:
        strangers = [await running.raw() for _ in range(100)]
        client = await running.connect()
        await client.ping()
        await client.close()
        assert await closed(strangers[0][0])
        for _, writer in strangers:
            writer.close()

    async def test_client_with_the_wrong_secret(self, running: RunningAgent) -> None:
        with pytest.raises(errors.AgentUnavailable):
            await running.connect(b"not the secret")


class TestNobodyThere:
    async def test_refused(self, running: RunningAgent) -> None:
        await running.kill()
        with pytest.raises(errors.AgentUnavailable):
            await AgentClient.connect("127.0.0.1", running.port, b"secret", timeout=0.1)

    async def test_silent(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(errors.AgentTimeout):
            await AgentClient.connect("127.0.0.1", listener.getsockname()[1], b"secret", timeout=0.1)

    async def test_comes_up_later(self) -> None:
        """As a sandbox does that is being restored."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        connecting = asyncio.ensure_future(AgentClient.connect("127.0.0.1", port, b"secret", timeout=10))
        await asyncio.sleep(0)
        served = asyncio.Event()

        async def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(frame(WELCOME, 0, encode({"version": 1})))
            with contextlib.suppress(ConnectionResetError):
                await reader.read()
            writer.close()
            served.set()

        async with await asyncio.start_server(welcome, "127.0.0.1", port):
            client = await connecting
            await client.close()
            await served.wait()


class TestSecret:
    async def test_new_secret_only(self, running: RunningAgent) -> None:
        client = await running.connect()
        await client.thaw(Identity(secret=b"another secret"))
        await client.ping()
        with pytest.raises(errors.AgentUnavailable):
            await running.connect()
        other = await running.connect(b"another secret")
        await other.ping()
        await other.close()
        await client.close()

    @pytest.mark.parametrize("secret", [b"", b"short", bytes(129)])
    async def test_must_be_one(self, agent: AgentClient, secret: bytes) -> None:
        with pytest.raises(errors.InvalidInput):
            await agent.thaw(Identity(secret=secret))

    async def test_is_not_in_the_agents_environment(self) -> None:
        executed = await execute_agent()
        try:
            with open(f"/proc/{executed.pid}/environ", "rb") as file:
                assert executed.secret not in file.read()
        finally:
            await executed.kill()


class TestBadFrames:
    """From a client that has been let in: an error or the end of the connection, never of the agent."""

    async def test_end_the_connection(self, running: RunningAgent, agent: AgentClient) -> None:
        for said in BAD_FRAMES:
            reader, writer = await let_in(running)
            writer.write(said)
            assert await _ends(reader), said[:50]
            writer.close()
        await agent.ping()

    async def test_too_many_operations(self, running: RunningAgent, agent: AgentClient) -> None:
        """Those above the limit are refused, and the others go on."""
        pid = (await agent.start(ProcessSpec(argv=("sleep", "1000")))).pid
        waiting = [asyncio.ensure_future(agent.wait(pid)) for _ in range(1024)]
        await asyncio.sleep(0)  # All of them are sent.
        for _ in range(2):
            with pytest.raises(errors.LimitExceeded):
                await agent.ping()
            with pytest.raises(errors.LimitExceeded):  # of more than one frame
                await agent.run(ProcessSpec(argv=("cat",)), stdin=bytes(3 << 20))
        other = await running.connect()
        await other.signal(pid, 9)
        assert {info.signal for info in await asyncio.gather(*waiting)} == {9}
        await agent.ping()
        await other.close()

    async def test_frames_of_no_stream_are_passed_over(self, running: RunningAgent) -> None:
        reader, writer = await let_in(running)
        for kind in (DATA, END, CREDIT, CANCEL):
            writer.write(frame(kind, 99, COUNT.pack(1)))
        writer.write(frame(PING, 0))
        assert await read_frame(reader) == (PONG, 0, b"")
        writer.close()

    async def test_cancel_is_not_answered(self, running: RunningAgent) -> None:
        reader, writer = await let_in(running)
        writer.write(frame(REQUEST, 1, encode({"op": "run", "argv": ["sleep", "1000"]})))
        writer.write(frame(CANCEL, 1) + frame(REQUEST, 2, encode({"op": "ping"})))
        assert (await read_frame(reader))[:2] == (REPLY, 2)
        writer.close()

    async def test_bad_requests_are_answered(self, running: RunningAgent) -> None:
        reader, writer = await let_in(running)
        for number, document in enumerate(BAD_REQUESTS, 1):
            writer.write(frame(REQUEST, number, encode(document)))
            kind, answered, payload = await asyncio.wait_for(read_frame(reader), 20)
            assert (kind, answered) == (ERROR, number), document
            assert decode(payload).document["code"] in BAD_REQUEST_CODES, document
        writer.close()


async def _ends(reader: asyncio.StreamReader) -> bool:
    """Whether the connection ends, whatever was still answered on it."""
    try:
        await asyncio.wait_for(reader.read(), 20)
    except ConnectionResetError:
        return True
    return reader.at_eof()


class TestLoss:
    async def test_fails_every_waiter(self, running: RunningAgent) -> None:
        client = await running.connect()
        pid = (await client.start(ProcessSpec(argv=("sleep", "1000")))).pid
        waiting = [asyncio.ensure_future(client.wait(pid)) for _ in range(10)]
        await client.ping()
        await running.kill()
        for waiter in waiting:
            with pytest.raises(errors.AgentUnavailable):
                await waiter
        await asyncio.wait_for(client.closed.wait(), 10)
        assert client.open_streams == 0
        with pytest.raises(errors.AgentUnavailable):
            await client.ping()

    async def test_started_processes_live_on(self, running: RunningAgent) -> None:
        first, second = await running.connect(), await running.connect()
        pid = (await first.start(ProcessSpec(argv=("cat",), stdin=True))).pid
        await first.close()
        await second.write_stdin(pid, b"still here")
        await second.close_stdin(pid)
        async with second.attach(pid) as events:
            assert [getattr(event, "data", None) async for event in events] == [b"still here", None]
        await second.close()

    async def test_quiesce_leaves_no_connection(self, running: RunningAgent) -> None:
        asking, other = await running.connect(), await running.connect()
        await asking.quiesce()
        assert asking.closed.is_set()
        await asyncio.wait_for(other.closed.wait(), 10)
        again = await running.connect()
        result = await again.run(
            ProcessSpec(shell=f"grep -c ' 0100007F:{running.port:04X} .* 01 ' /proc/net/tcp; true")
        )
        assert result.stdout == b"1\n"
        await again.close()
