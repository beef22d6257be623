"""Clients that listen to a team's events and hear nothing."""

import asyncio
import resource
from contextlib import AsyncExitStack

from moonpool.bench.figures import Figure
from moonpool.bench.http import MEBIBYTE, resident
from moonpool.bench.server import RunningServer

CLIENTS = 1000
HEAD_LIMIT = 64 * 1024  # bytes


async def event_figures(server: RunningServer) -> list[Figure]:
    """By how many MiB the server grows for ``CLIENTS`` open streams."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    async with AsyncExitStack() as stack:
        await listen(server, stack)
        before = resident(server.pid)
        for _ in range(CLIENTS - 1):
            await listen(server, stack)
        growth = (resident(server.pid) - before) / MEBIBYTE
    return [Figure(f"server's memory for {CLIENTS} idle streams of events", "MiB", (growth,), bar="<= 100 MiB")]


async def listen(server: RunningServer, stack: AsyncExitStack) -> None:
    """Until the stream says that it is connected; then it stays open."""
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=HEAD_LIMIT)
    stack.callback(writer.close)
    head = f"GET /v1/events/stream HTTP/1.1\r\nHost: {host}:{port}\r\nX-API-Key: {server.api_key}\r\n\r\n"
    writer.write(head.encode())
    await reader.readuntil(b"event: connected")
