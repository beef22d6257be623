"""Apps behind previews that say exactly what a test wants, and clients that do."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import httptools

from moonpool.errors import PortClosed
from moonpool.guest.client import AgentClient
from moonpool.hosts.model import MachineState
from tests.unit.sandboxes.machines import MemoryMachines

INSIDE = "127.0.0.2"  # an address that only the agent's double connects to, as a sandbox's loopback
LIMIT = 20.0  # seconds that anything here may take


class Stream:
    """A connection as the agent gives it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def read(self) -> bytes:
        return await self._reader.read(65536)

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def write_eof(self) -> None:
        self._writer.write_eof()


class Agent:
    """Sandboxes whose own address is this machine's, and whose loopback is ``INSIDE``."""

    address = "127.0.0.1"

    def __init__(self) -> None:
        self.dialled = 0

    @asynccontextmanager
    async def dial(self, port: int) -> AsyncIterator[Stream]:
        self.dialled += 1
        try:
            reader, writer = await asyncio.open_connection(INSIDE, port)
        except OSError:
            raise PortClosed from None
        try:
            yield Stream(reader, writer)
        finally:
            writer.close()


class ReachableMachines(MemoryMachines):
    def __init__(self) -> None:
        super().__init__()
        self.agent = Agent()
        self.open_sessions = 0

    @asynccontextmanager
    async def session(self, machine_id: str) -> AsyncIterator[AgentClient]:
        self._require(machine_id, MachineState.RUNNING)
        self.open_sessions += 1
        try:
            yield cast(AgentClient, self.agent)
        finally:
            self.open_sessions -= 1


@dataclass
class Request:
    """What an app got."""

    line: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def header(self, name: str) -> str | None:
        return next((value for other, value in self.headers if other.lower() == name), None)


Behaviour = Callable[["App", asyncio.StreamReader, asyncio.StreamWriter, Request], Awaitable[None]]


async def hello(app: "App", reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-App: yes\r\n\r\nhello")


def saying(answer: bytes, *, close: bool = False) -> Behaviour:
    async def behave(app: "App", reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(answer)
        await writer.drain()
        if close:
            writer.close()

    return behave


@dataclass
class App:
    """An HTTP server that reads whole requests, and answers them as it is told."""

    port: int = 0
    behave: Behaviour = hello
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    writers: set[asyncio.StreamWriter] = field(default_factory=set)
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.add(writer)
        try:
            while (request := await read_request(reader)) is not None:
                self.requests.append(request)
                await self.behave(self, reader, writer, request)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.writers.discard(writer)
            self.closed.set()
            writer.close()


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    line = await reader.readline()
    if not line:
        return None
    request = Request(line.decode().strip())
    while (header := (await reader.readline()).decode("latin-1").strip("\r\n")) and ":" in header:
        name, _, value = header.partition(":")
        request.headers.append((name, value.strip()))
    if request.header("transfer-encoding") == "chunked":
        while size := int(await reader.readline(), 16):
            request.body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    elif length := request.header("content-length"):
        request.body = await reader.readexactly(int(length))
    return request


@asynccontextmanager
async def running_app(behave: Behaviour = hello, address: str = "127.0.0.1") -> AsyncIterator[App]:
    app = App(behave=behave)
    server = await asyncio.start_server(app.serve, address, 0)
    app.port = server.sockets[0].getsockname()[1]
    try:
        yield app
    finally:
        server.close()
        for writer in tuple(app.writers):
            writer.transport.abort()
        await server.wait_closed()
        while app.writers:  # Their tasks end with them.
            await asyncio.sleep(0)


@dataclass
class Answer:
    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    complete: bool = False

    def header(self, name: str) -> str | None:
        return next((value for other, value in self.headers if other.lower() == name), None)

    def all(self, name: str) -> list[str]:
        return [value for other, value in self.headers if other.lower() == name]


class Reader:
    """Cuts what a client receives into answers."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self._current = Answer()
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._current = Answer()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._current.headers.append((name.decode(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        self._current.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self._current.body += body

    def on_message_complete(self) -> None:
        self._current.complete = True
        self.answers.append(self._current)


@dataclass
class Client:
    """One connection to the server, that sends what it is given."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    parsed: Reader = field(default_factory=Reader)
    taken: int = 0

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> Answer:
        """The next whole answer; ConnectionError when there is none."""
        async with asyncio.timeout(LIMIT):
            while len(self.parsed.answers) <= self.taken:
                data = await self.reader.read(65536)
                if not data:
                    raise ConnectionResetError
                self.parsed.feed(data)
        self.taken += 1
        return self.parsed.answers[self.taken - 1]

    async def rest(self) -> bytes:
        """Everything until the connection ends."""
        async with asyncio.timeout(LIMIT):
            with contextlib.suppress(ConnectionError):
                return await self.reader.read()
            return b""


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
