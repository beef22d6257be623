"""What clients listen on inside a sandbox: ports (``ssh -R``), and the socket that leads to their keys (``ssh -A``)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import asyncssh
from asyncssh.stream import SSHUNIXStreamSession

from moonpool.errors import MoonpoolError
from moonpool.guest.client import AgentClient
from moonpool.guest.streams import ByteStream
from moonpool.guest.watching import Connections

MAX_LISTENERS = 32  # of one SSH connection
MAX_TAKEN = 256  # connections of one listener at once; those beyond wait inside, and are closed there in the end
PIECE = 64 * 1024  # bytes of a client at once

Visit = Callable[[], AbstractAsyncContextManager[tuple[AgentClient, str]]]
Where = int | str
Opening = Callable[[AgentClient, str], AbstractAsyncContextManager[tuple[Where, Connections]]]
Channel = tuple["asyncssh.SSHReader[bytes]", "asyncssh.SSHWriter[bytes]"]
Reach = Callable[[Where], Awaitable[Channel]]


class InsideListener(asyncssh.SSHListener):
    """Listens inside, never here, and uses the sandbox for as long. ``open`` first; ``where`` it then is. Each
    connection is led to the client by ``reach``. ``lost`` is called where it ends before it is closed."""

    def __init__(self, visit: Visit, opening: Opening, reach: Reach, lost: Callable[[], None]) -> None:
        super().__init__()
        self._visit, self._opening, self._reach, self._lost = visit, opening, reach, lost
        self._task: asyncio.Task[None] | None = None
        self._taken: set[asyncio.Task[None]] = set()
        self.where: Where = 0

    async def open(self) -> None:
        """Whatever the sandbox raises: its port is in use, or root's, or it is stopped."""
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(ready), name="listening inside")
        try:
            await ready
        except BaseException:
            self.close()
            raise

    async def _run(self, ready: "asyncio.Future[None]") -> None:
        try:
            async with self._visit() as (agent, user), self._opening(agent, user) as (self.where, connections):
                ready.set_result(None)
                async for number in connections:
                    if len(self._taken) < MAX_TAKEN:
                        task = asyncio.create_task(self._lead(agent, number), name="a connection from inside")
                        self._taken.add(task)
                        task.add_done_callback(self._taken.discard)
        except MoonpoolError as error:
            if not ready.done():
                ready.set_exception(error)
            else:
                self._lost()
        finally:
            if not ready.done():
                ready.cancel()

    async def _lead(self, agent: AgentClient, number: int) -> None:
        with suppress(MoonpoolError, asyncssh.Error, OSError):
            async with agent.take(number) as stream:
                await exchange(stream, *await self._reach(self.where))

    def when_over(self, tell: Callable[[], object]) -> None:
        assert self._task is not None
        self._task.add_done_callback(lambda _: tell())

    # -- asyncssh's side -----------------------------------------------------------------------------------------------

    def get_port(self) -> int:
        return int(self.where)

    def close(self) -> None:
        """With the connections that it has led: they go with the client, or are few."""
        for task in (self._task, *self._taken):
            if task is not None:
                task.cancel()

    async def wait_closed(self) -> None:
        tasks: list[asyncio.Task[Any]] = [task for task in (self._task, *self._taken) if task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)


def on_port(port: int) -> Opening:
    """On the sandbox's loopback alone."""

    @asynccontextmanager
    async def opening(agent: AgentClient, user: str) -> AsyncIterator[tuple[Where, Connections]]:
        async with agent.listen(port, user=user) as (found, connections):
            yield found, connections

    return opening


@asynccontextmanager
async def on_socket(agent: AgentClient, user: str) -> AsyncIterator[tuple[Where, Connections]]:
    async with agent.listen_privately(user=user) as (path, connections):
        yield path, connections


async def exchange(
    stream: ByteStream, reader: "asyncssh.SSHReader[bytes]", writer: "asyncssh.SSHWriter[bytes]"
) -> None:
    """Bytes both ways, each side read as fast as the other takes it, until both have ended."""

    async def inward() -> None:
        while data := await reader.read(PIECE):
            await stream.write(data)
        await stream.write_eof()

    async def outward() -> None:
        while data := await stream.read():
            writer.write(data)
            await writer.drain()
        writer.write_eof()

    tasks = [asyncio.create_task(way()) for way in (inward, outward)]
    try:
        await asyncio.gather(*tasks)
        await stream.wait_closed()
    finally:
        for task in tasks:
            task.cancel()
        writer.close()


class ClientListeners:
    """Those of one client's connection; they end with it, and it ends where one is lost, as when the sandbox is paused:
    there is no other way to say so, and clients that want to stay connect anew."""

    def __init__(self) -> None:
        self._open: set[InsideListener] = set()
        self._keys: asyncio.Lock = asyncio.Lock()
        self._key_socket: InsideListener | None = None

    async def to_client(
        self, connection: asyncssh.SSHServerConnection, visit: Visit, host: str, port: int
    ) -> asyncssh.SSHListener | bool:
        """From a port inside to what the client leads it to; False where it cannot be had."""

        async def reach(where: Where) -> Channel:
            return await connection.open_connection(host, int(where), "127.0.0.1", 0)

        return await self._listen(connection, visit, on_port(port), reach) or False

    async def to_keys(self, connection: asyncssh.SSHServerConnection, visit: Visit) -> bool:
        """From a socket inside to the client's agent of keys; whether there is one. Programs find it by its path, the
        connection's ``key_socket``."""
        async with self._keys:
            if self._key_socket is None:

                async def reach(_: Where) -> Channel:
                    # Not ``open_agent_connection``, which wants asyncssh's own socket to be there.
                    channel = connection.create_agent_channel()
                    session = await channel.open(SSHUNIXStreamSession)
                    assert isinstance(session, SSHUNIXStreamSession)
                    return asyncssh.SSHReader(session, channel), asyncssh.SSHWriter(session, channel)

                self._key_socket = await self._listen(connection, visit, on_socket, reach)
                if self._key_socket is not None:
                    connection.set_extra_info(key_socket=self._key_socket.where)
        return self._key_socket is not None

    async def _listen(
        self, connection: asyncssh.SSHServerConnection, visit: Visit, opening: Opening, reach: Reach
    ) -> InsideListener | None:
        if len(self._open) >= MAX_LISTENERS:
            return None

        def lost() -> None:
            connection.disconnect(asyncssh.DISC_BY_APPLICATION, "The sandbox was paused, stopped or copied")

        listener = InsideListener(visit, opening, reach, lost)
        self._open.add(listener)
        try:
            await listener.open()
        except MoonpoolError as error:
            self._open.discard(listener)
            connection.send_debug(error.message)
            return None
        listener.when_over(lambda: self._open.discard(listener))
        return listener

    def close(self) -> None:
        for listener in list(self._open):
            listener.close()
