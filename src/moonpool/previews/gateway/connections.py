"""Connections to apps: straight to a sandbox's address, or through its agent to what listens on its loopback alone."""

import asyncio
import contextlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from moonpool.errors import AgentTimeout, AgentUnavailable, InvalidState, MoonpoolError, PortClosed
from moonpool.guest.client import AgentClient
from moonpool.guest.streams import ByteStream

WRITE_BUFFER = 256 * 1024  # bytes waiting for an app before its client is held back
CONNECT_TIMEOUT = 5.0  # seconds
LINGER = 10.0  # seconds for an app to take what is still to be sent, when its client has gone

OpenAgent = Callable[[], AbstractAsyncContextManager[AgentClient]]


class Owner(Protocol):
    """Who uses a connection."""

    def app_sent(self, data: bytes) -> None: ...

    def app_ended(self) -> None:
        """Nothing more comes."""

    def app_writable(self, writable: bool) -> None: ...


class Connection(asyncio.Protocol):
    """One connection to an app, used by one owner at a time; ``lost`` for good when either side has closed it."""

    def __init__(self) -> None:
        self.owner: Owner | None = None
        self.lost = False
        self.used = False  # for a request before this one
        self._transport: Any = None
        self._paused = False
        self._linger: asyncio.TimerHandle | None = None

    # -- for its owner -------------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if not self.lost:
            self._transport.write(data)

    def write_eof(self) -> None:
        if not self.lost:
            with contextlib.suppress(OSError):
                self._transport.write_eof()

    def pause(self) -> None:
        if not self.lost and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if not self.lost and self._paused:
            self._paused = False
            self._transport.resume_reading()

    def finish(self) -> None:
        """Once what is still to be sent has gone, or soon after."""
        self.owner = None
        if not self.lost:
            self.lost = True
            self._linger = asyncio.get_running_loop().call_later(LINGER, self._transport.abort)
            self._transport.close()

    def close(self) -> None:
        """At once: nobody waits for what is still to be sent."""
        self.owner, self.lost = None, True
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio's side ------------------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_BUFFER)

    def data_received(self, data: bytes) -> None:
        if self.owner is None:
            self.close()  # Nobody has asked for anything.
        else:
            self.owner.app_sent(data)

    def eof_received(self) -> bool:
        """A half of a changed protocol may end before the other."""
        owner = self.owner
        if owner is None:
            self.close()
            return False
        owner.app_ended()
        return not self.lost

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if self._linger is not None:
            self._linger.cancel()
        owner, self.owner = self.owner, None
        if owner is not None:
            owner.app_ended()

    def pause_writing(self) -> None:
        if self.owner is not None:
            self.owner.app_writable(False)

    def resume_writing(self) -> None:
        if self.owner is not None:
            self.owner.app_writable(True)


async def straight(address: str, port: int) -> Connection:
    """To what listens on all addresses, or on the sandbox's own; OSError or TimeoutError."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(CONNECT_TIMEOUT):
        _, connection = await loop.create_connection(Connection, address, port)
    return connection


async def through_agent(open_agent: OpenAgent, port: int) -> Connection:
    """To what listens on loopback; PortClosed, or what the session raises."""
    connection = Connection()
    transport = AgentTransport(connection)
    await transport.open(open_agent, port)
    return connection


class AgentTransport:
    """As much of an asyncio transport as ``Connection`` needs, over a stream of the agent's. It keeps the sandbox awake
    for as long as it is open."""

    def __init__(self, protocol: Connection) -> None:
        self._protocol = protocol
        self._outgoing: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._waiting = 0
        self._high = WRITE_BUFFER
        self._held = False
        self._readable = asyncio.Event()
        self._readable.set()
        self._task: asyncio.Task[None] | None = None

    async def open(self, open_agent: OpenAgent, port: int) -> None:
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(open_agent, port, ready), name=f"preview of port {port}")
        try:
            await ready
        except BaseException:
            self._task.cancel()
            raise

    async def _run(self, open_agent: OpenAgent, port: int, ready: "asyncio.Future[None]") -> None:
        try:
            async with open_agent() as agent, agent.dial(port) as stream:
                self._protocol.connection_made(self)
                if not ready.done():
                    ready.set_result(None)
                await self._pump(stream)
        except (AgentUnavailable, AgentTimeout, InvalidState, PortClosed) as error:
            self._failed(error, ready)
        finally:
            if ready.done():
                self._protocol.connection_lost(None)
            else:
                ready.cancel()

    def _failed(self, error: MoonpoolError, ready: "asyncio.Future[None]") -> None:
        if not ready.done():
            ready.set_exception(error)

    async def _pump(self, stream: ByteStream) -> None:
        writing = asyncio.create_task(self._write(stream))
        try:
            while data := await stream.read():
                await self._readable.wait()
                self._protocol.data_received(data)
            self._protocol.eof_received()
            if self._waiting:
                await writing
        finally:
            writing.cancel()

    async def _write(self, stream: ByteStream) -> None:
        with contextlib.suppress(PortClosed, AgentUnavailable, AgentTimeout):
            while (data := await self._outgoing.get()) is not None:
                await stream.write(data)
                self._waiting -= len(data)
                if self._held and self._waiting < self._high // 2:
                    self._held = False
                    self._protocol.resume_writing()
            await stream.write_eof()

    # -- as a transport ------------------------------------------------------------------------------------------------

    def set_write_buffer_limits(self, high: int) -> None:
        self._high = high

    def write(self, data: bytes) -> None:
        self._outgoing.put_nowait(bytes(data))
        self._waiting += len(data)
        if self._waiting > self._high and not self._held:
            self._held = True
            self._protocol.pause_writing()

    def write_eof(self) -> None:
        self._outgoing.put_nowait(None)

    def pause_reading(self) -> None:
        self._readable.clear()

    def resume_reading(self) -> None:
        self._readable.set()

    def close(self) -> None:
        if self._waiting:
            self.write_eof()
        else:
            self.abort()

    def abort(self) -> None:
        if self._task is not None:
            self._task.cancel()
