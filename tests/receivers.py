"""A receiver of webhooks on loopback: a real HTTP server that answers as it is told, and keeps what it got."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httptools

LOOPBACK_NETWORK = "127.0.0.0/8"
WAIT = 20  # seconds


@dataclass
class Received:
    method: str = ""
    path: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""


@dataclass
class HttpReceiver:
    """``status`` is what it answers, ``headers`` with what; it answers nothing while ``hangs`` is set."""

    port: int
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    hangs: bool = False
    got: list[Received] = field(default_factory=list)
    came: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def wait(self, count: int) -> list[Received]:
        """Until it has got so many."""
        async with asyncio.timeout(WAIT), self.came:
            await self.came.wait_for(lambda: len(self.got) >= count)
        return self.got

    async def take(self, received: Received) -> None:
        async with self.came:
            self.got.append(received)
            self.came.notify_all()


class Parser:
    def __init__(self) -> None:
        self.request = Received()
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.request.path = url.decode()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.request.headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self.request.body += body.decode()

    def on_message_complete(self) -> None:
        self.complete = True


@asynccontextmanager
async def http_receiver() -> AsyncIterator[HttpReceiver]:
    serving: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        serving.add(task)
        try:
            await exchange(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            serving.discard(task)
            writer.close()

    async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen = Parser()
        parser = httptools.HttpRequestParser(seen)
        while not seen.complete:
            if not (data := await reader.read(65536)):
                return
            parser.feed_data(data)
        seen.request.method = parser.get_method().decode()
        hangs = receiver.hangs
        await receiver.take(seen.request)
        if hangs:
            await reader.read()
            return
        extra = "".join(f"{name}: {value}\r\n" for name, value in receiver.headers.items())
        head = f"HTTP/1.1 {receiver.status} Told\r\nConnection: close\r\nContent-Length: 0\r\n{extra}\r\n"
        writer.write(head.encode())
        await writer.drain()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    receiver = HttpReceiver(server.sockets[0].getsockname()[1])
    try:
        yield receiver
    finally:
        server.close()
        for task in list(serving):
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
