"""Listening ports and connections to them."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from moonpool import errors
from moonpool.guest.client import AgentClient
from moonpool.guest.model import Output, Port, ProcessSpec
from moonpool.guest.watching import lasting

from .conftest import RunningAgent

SERVER = """
import socket, sys
server = socket.create_server((sys.argv[1], 0), family=socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
print(server.getsockname()[1], flush=True)
while True:
    connection, _ = server.accept()
    while data := connection.recv(1 << 20):
        connection.sendall(data)
    connection.close()
"""


async def echo_server(agent: AgentClient, address: str = "127.0.0.1") -> tuple[int, int]:
    """Port and process id of a server inside that sends back what it gets."""
    started = await agent.start(ProcessSpec(argv=("python3", "-c", SERVER, address)))
    async with agent.attach(started.pid) as events:
        first = await asyncio.wait_for(anext(events), 30)
    assert isinstance(first, Output), first
    return int(first.data), started.pid


class TestPorts:
    @pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1"])
    async def test_with_its_process(self, agent: AgentClient, address: str) -> None:
        port, pid = await echo_server(agent, address)
        (found,) = [entry for entry in await agent.ports() if (entry.port, entry.address) == (port, address)]
        assert found.pid == pid
        assert (found.process or "").startswith("python")

    async def test_gone(self, agent: AgentClient) -> None:
        port, pid = await echo_server(agent)
        await agent.forget(pid)
        await agent.wait_alone()
        assert port not in [entry.port for entry in await agent.ports()]

    async def test_without_the_agents_own(self, running: RunningAgent, agent: AgentClient) -> None:
        assert running.port not in [entry.port for entry in await agent.ports()]


class TestWatchPorts:
    async def test_at_once_and_at_every_change(self, agent: AgentClient) -> None:
        first, _ = await echo_server(agent)
        async with agent.watch_ports() as lists, asyncio.timeout(60):
            assert first in numbers(await anext(lists))
            second, pid = await echo_server(agent)
            while second not in numbers(found := await anext(lists)):
                pass
            assert pid in [port.pid for port in found]
            await agent.forget(pid)
            while second in numbers(found := await anext(lists)):
                pass
            assert first in numbers(found)

    async def test_goes_on_after_a_lost_connection(self, running: RunningAgent) -> None:
        clients: list[AgentClient] = []

        @asynccontextmanager
        async def opening() -> AsyncIterator[AsyncIterator[tuple[Port, ...]]]:
            if len(clients) == 2:
                raise errors.InvalidState
            clients.append(await running.connect())
            async with clients[-1].watch_ports() as lists:
                yield lists

        async with lasting(opening, [()]) as lists, asyncio.timeout(60):
            await anext(lists)
            await clients[-1].close()
            assert await anext(lists) == ()
            port, _ = await echo_server(clients[-1])
            while port not in numbers(await anext(lists)):
                pass
            await clients[-1].close()
            with pytest.raises(errors.InvalidState):
                await anext(lists)


def numbers(ports: tuple[Port, ...]) -> set[int]:
    return {port.port for port in ports}


class TestDial:
    @pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
    async def test_bytes_both_ways(self, agent: AgentClient, address: str) -> None:
        port, _ = await echo_server(agent, address)
        sent = os.urandom(5_000_000)
        async with agent.dial(port) as stream:
            writing = asyncio.ensure_future(_send(stream, sent))
            received = b"".join([data async for data in stream])
            await writing
        assert received == sent
        assert agent.open_streams == 0

    async def test_end_is_seen(self, agent: AgentClient) -> None:
        port, pid = await echo_server(agent)
        async with agent.dial(port) as stream:
            await stream.write(b"x")
            assert await stream.read() == b"x"
            await agent.forget(pid)
            assert await asyncio.wait_for(stream.read(), 30) == b""
            with pytest.raises(errors.PortClosed):
                await asyncio.wait_for(_until_refused(stream), 30)

    async def test_leaving_closes_it(self, agent: AgentClient) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            async with agent.dial(listener.getsockname()[1]) as stream:
                await stream.write(b"x")
                connection, _ = listener.accept()
            with connection:
                assert await asyncio.to_thread(_closed, connection)

    async def test_nobody_listens(self, agent: AgentClient) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        with pytest.raises(errors.PortClosed):
            await _dial(agent, port)

    async def test_the_agents_own_port(self, agent: AgentClient, running: RunningAgent) -> None:
        with pytest.raises(errors.PortClosed):
            await _dial(agent, running.port)

    @pytest.mark.parametrize("port", [0, -1, 65536, 10**12])
    async def test_impossible(self, agent: AgentClient, port: int) -> None:
        with pytest.raises(errors.InvalidInput):
            await _dial(agent, port)

    async def test_slow_reader_holds_the_server_back(self, agent: AgentClient) -> None:
        text = "import socket, sys; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True);"
        text += "c, _ = s.accept(); c.settimeout(1); n = 0\ntry:\n while True: n += c.send(bytes(65536))\n"
        text += "except TimeoutError: print(n, flush=True)"
        started = await agent.start(ProcessSpec(argv=("python3", "-c", text)))
        async with agent.attach(started.pid) as events:
            first = await asyncio.wait_for(anext(events), 30)
            assert isinstance(first, Output)
            async with agent.dial(int(first.data)):
                second = await asyncio.wait_for(anext(events), 30)
        assert isinstance(second, Output)
        assert int(second.data) < 32 << 20


async def test_what_was_written_arrives_though_the_other_side_ended_first(agent: AgentClient) -> None:
    """A program that has nothing more to say, and reads slowly what it is told."""
    taken: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    ended = asyncio.Event()

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write_eof()
        await ended.wait()
        taken.set_result(await reader.read())
        writer.close()

    server = await asyncio.start_server(app, "127.0.0.1", 0, limit=1024)
    server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sent = os.urandom(1 << 20)
    async with server, agent.dial(server.sockets[0].getsockname()[1]) as stream:
        assert await stream.read() == b""
        await stream.write(sent)
        await stream.write_eof()
        ended.set()
        await stream.wait_closed()
    assert await taken == sent


async def _dial(agent: AgentClient, port: int) -> None:
    async with agent.dial(port):
        pass


async def _send(stream: object, data: bytes) -> None:
    await stream.write(data)  # type: ignore[attr-defined]
    await stream.write_eof()  # type: ignore[attr-defined]


async def _until_refused(stream: object) -> None:
    for _ in range(100):
        await stream.write(bytes(1 << 20))  # type: ignore[attr-defined]


def _closed(connection: socket.socket) -> bool:
    """Whether the other side closes, be it roughly."""
    connection.settimeout(30)
    try:
        while connection.recv(1000):
            pass
    except ConnectionResetError:
        return True
    return True
