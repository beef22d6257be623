"""A port of a sandbox, forwarded."""

import asyncio
import contextlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import asyncssh

from moonpool.errors import AgentTimeout, AgentUnavailable, PortClosed
from moonpool.guest.streams import ByteStream
from moonpool.sandboxes.model import AgentSession
from moonpool.ssh.model import Visitor

MAX_WAITING = 256 * 1024  # bytes for the app before the client is held back

Visit = Callable[[Visitor], AbstractAsyncContextManager[AgentSession]]


class ForwardedPort(asyncssh.SSHTCPSession[bytes]):
    """``open`` first; then asyncssh calls it with what the client sends."""

    def __init__(self, visit: Visit, visitor: Visitor, port: int) -> None:
        self._visit, self._visitor, self._port = visit, visitor, port
        self._channel: asyncssh.SSHTCPChannel[bytes] | None = None
        self._outgoing: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._waiting = 0
        self._begun = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """PortClosed, and whatever the session raises."""
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(ready), name=f"forwarding of port {self._port}")
        try:
            await ready
        except BaseException:
            self._task.cancel()
            raise

    async def _run(self, ready: "asyncio.Future[None]") -> None:
        try:
            async with self._visit(self._visitor) as session, session.agent.dial(self._port) as stream:
                ready.set_result(None)
                await self._begun.wait()
                await self._pump(stream)
        except (AgentUnavailable, AgentTimeout, PortClosed) as error:
            if not ready.done():
                ready.set_exception(error)
        except Exception as error:  # Belongs to whoever opens it.
            if ready.done():
                raise
            ready.set_exception(error)
        finally:
            if self._channel is not None:
                self._channel.close()

    async def _pump(self, stream: ByteStream) -> None:
        assert self._channel is not None
        writing = asyncio.create_task(self._write(stream))
        try:
            while data := await stream.read():
                await self._writable.wait()
                self._channel.write(data)
            self._channel.write_eof()
            await writing
            await stream.wait_closed()
        finally:
            writing.cancel()

    async def _write(self, stream: ByteStream) -> None:
        with contextlib.suppress(PortClosed, AgentUnavailable, AgentTimeout):
            while (data := await self._outgoing.get()) is not None:
                await stream.write(data)
                self._waiting -= len(data)
                if self._waiting <= MAX_WAITING and self._channel is not None:
                    self._channel.resume_reading()
            await stream.write_eof()

    # -- asyncssh's side -----------------------------------------------------------------------------------------------

    def connection_made(self, chan: asyncssh.SSHTCPChannel[bytes]) -> None:
        self._channel = chan

    def session_started(self) -> None:
        self._begun.set()

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self._outgoing.put_nowait(data)
        self._waiting += len(data)
        if self._waiting > MAX_WAITING and self._channel is not None:
            self._channel.pause_reading()

    def eof_received(self) -> bool:
        self._outgoing.put_nowait(None)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()
