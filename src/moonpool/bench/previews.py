"""Previews: what the gateway adds to a request and to an echo, how many it serves, how fast it is with much."""

import asyncio
import socket
import time
from pathlib import Path

import httpx

from moonpool.bench.commands import agent_of
from moonpool.bench.figures import Figure, milliseconds_since
from moonpool.bench.http import MEBIBYTE, call, cpu_seconds, create, execute, open_client, remove, resident
from moonpool.bench.server import RunningServer
from moonpool.engine.instance import Instance

PORT = 3000
PAGE = 1024  # bytes
DOWNLOAD = 1_000_000_000  # bytes
CONNECTIONS = 16  # at once
PIECE = 1 << 20  # bytes
TIMEOUT = 120.0  # seconds
# Answers at once: what is measured is the way to it. One connection can be asked often, or become an echo.
APP = f"""
import asyncio
PAGE = b"HTTP/1.1 200 OK\\r\\nContent-Type: text/html\\r\\nContent-Length: {PAGE}\\r\\n\\r\\n" + b"x" * {PAGE}
SWITCH = b"HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n\\r\\n"
async def big(writer):
    writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: {DOWNLOAD}\\r\\n\\r\\n")
    piece = bytes(1000000)
    for _ in range({DOWNLOAD} // 1000000):
        writer.write(piece)
        await writer.drain()
async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            if b"upgrade: websocket" in head.lower():
                writer.write(SWITCH)
                while data := await reader.read(65536):
                    writer.write(data)
                return
            await big(writer) if head.startswith(b"GET /big") else writer.write(PAGE)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()
async def main():
    server = await asyncio.start_server(serve, "0.0.0.0", {PORT})
    print("up", flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


async def preview_figures(server: RunningServer, data: Path, runs: int) -> list[Figure]:
    """``data`` is the server's folder."""
    async with open_client(server) as client:
        identifier = await create(client)
        try:
            await call(client, "POST", f"/api/sandbox/{identifier}/public/true")
            await start_app(client, identifier)
            agent = await agent_of(Instance(data), identifier)
            await agent.close()
            port = int(server.url.rpartition(":")[2])
            direct, through = (agent.address, PORT), ("127.0.0.1", port)
            host = f"{PORT}-{identifier}.localhost"
            figures = await asyncio.to_thread(latencies, direct, through, host, 10 * runs)
            figures += await throughput(server, host, port, 100 * runs)
            return [*figures, *await asyncio.to_thread(downloads, server, direct, through, host, max(2, runs // 30))]
        finally:
            await remove(client, identifier)


async def start_app(client: httpx.AsyncClient, identifier: str) -> None:
    files = {"file": APP.encode()}
    await call(client, "POST", f"/toolbox/{identifier}/files/upload", params={"path": "/tmp/app.py"}, files=files)  # noqa: S108 - inside
    await execute(client, identifier, "nohup python3 /tmp/app.py >/tmp/up 2>&1 & until grep -q up /tmp/up; do :; done")


def latencies(direct: tuple[str, int], through: tuple[str, int], host: str, count: int) -> list[Figure]:
    """In turns, since machines are too noisy for two runs."""
    figures = []
    upgrade = request(host, "/", "Connection: Upgrade", "Upgrade: websocket")
    for name, bar, opening, message, size in (
        ("request for 1 KB", "p50 <= 3 ms", b"", request(host, "/"), None),
        ("WebSocket echo", "p50 <= 2 ms", upgrade, b"e" * 64, 64),
    ):
        with connected(direct, opening) as straight, connected(through, opening) as gateway:
            pairs = [(exchange(straight, message, size), exchange(gateway, message, size)) for _ in range(count)]
        figures += [
            Figure(f"{name}, straight", "ms", tuple(pair[0] for pair in pairs)),
            Figure(f"{name}, preview, in turns with it", "ms", tuple(pair[1] for pair in pairs)),
            Figure(f"what the preview adds to a {name}", "ms", tuple(pair[1] - pair[0] for pair in pairs), bar=bar),
        ]
    return figures


def request(host: str, path: str, *headers: str) -> bytes:
    return "\r\n".join((f"GET {path} HTTP/1.1", f"Host: {host}", *headers, "", "")).encode()


def connected(address: tuple[str, int], opening: bytes) -> socket.socket:
    """``opening`` is sent, and the head of its answer read."""
    connection = socket.create_connection(address, timeout=TIMEOUT)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if opening:
        connection.sendall(opening)
        read_head(connection)
    return connection


def read_head(connection: socket.socket) -> tuple[int, int]:
    """Bytes of body that came along, and the body's length."""
    got = b""
    while b"\r\n\r\n" not in got:
        got += received(connection)
    head, _, body = got.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
    if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 101")):
        raise RuntimeError(head.split(b"\r\n")[0].decode())
    return len(body), int(lengths[0] if lengths else 0)


def received(connection: socket.socket) -> bytes:
    data = connection.recv(PIECE)
    if not data:
        raise ConnectionResetError
    return data


def exchange(connection: socket.socket, message: bytes, size: int | None) -> float:
    """``size`` of the answer, where it is no HTTP."""
    started = time.perf_counter()
    connection.sendall(message)
    got, length = (0, size) if size is not None else read_head(connection)
    while got < length:
        got += len(received(connection))
    return milliseconds_since(started)


async def throughput(server: RunningServer, host: str, port: int, count: int) -> list[Figure]:
    """``count`` requests on kept connections; what a whole core of the server would do is told by the time it used."""
    message, left = request(host, "/"), count

    async def ask() -> None:
        nonlocal left
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while left > 0:
            left -= 1
            writer.write(message)
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(PAGE)
        writer.close()

    before, started = cpu_seconds(server.pid), time.perf_counter()
    await asyncio.gather(*(ask() for _ in range(CONNECTIONS)))
    elapsed, used = time.perf_counter() - started, cpu_seconds(server.pid) - before
    return [
        Figure(f"previews of 1 KB, {CONNECTIONS} at once", "requests/s", (count / elapsed,)),
        Figure("the same, of one whole core of the server", "requests/s", (count / max(used, 0.01),), bar=">= 1000"),
    ]


def downloads(
    server: RunningServer, direct: tuple[str, int], through: tuple[str, int], host: str, rounds: int
) -> list[Figure]:
    """One gigabyte, both ways in turns, with how much the server's memory grew over it."""
    before, straight, speeds = resident(server.pid), [], []
    for _ in range(rounds):
        straight.append(download(direct, host))
        speeds.append(download(through, host))
    growth = (resident(server.pid) - before) / MEBIBYTE
    return [
        Figure("download of 1 GB, straight", "MB/s", tuple(straight)),
        Figure("download of 1 GB, preview, in turns with it", "MB/s", tuple(speeds), bar=">= 300 MB/s"),
        Figure("server's memory growth over preview downloads", "MiB", (growth,), bar="flat"),
    ]


def download(address: tuple[str, int], host: str) -> float:
    """MB/s."""
    with connected(address, b"") as connection:
        started = time.perf_counter()
        connection.sendall(request(host, "/big"))
        got, length = read_head(connection)
        buffer = bytearray(PIECE)
        while got < length:
            size = connection.recv_into(buffer)
            if not size:
                raise ConnectionResetError
            got += size
        return DOWNLOAD / 1e6 / (time.perf_counter() - started)
