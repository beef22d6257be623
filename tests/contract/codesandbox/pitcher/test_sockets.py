"""The server's side of a WebSocket, whatever is spoken over it."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
import websockets

from moonpool.dialects.common import sockets
from moonpool.dialects.common.sockets import PatientWebSocketProtocol

pytestmark = pytest.mark.asyncio
PATIENCE = 60  # seconds
SHORT = 0.2  # seconds between pings, and for their answers


@asynccontextmanager
async def server(app: Any, **options: Any) -> AsyncIterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            app,
            ws=PatientWebSocketProtocol,
            log_level="critical",
            lifespan="off",
            timeout_graceful_shutdown=1,
            **options,
        )
        running = uvicorn.Server(config)
        serving = asyncio.create_task(running.serve([listener]))
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}/"
        running.should_exit = True
        await serving


async def echo(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "bytes": message["bytes"]})


async def test_a_refusal_is_no_error_of_the_servers(caplog: pytest.LogCaptureFixture) -> None:
    async def refusing(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"no"})

    log = logging.getLogger("uvicorn.error")
    async with server(refusing) as url:
        caplog.set_level(logging.ERROR, log.name)
        log.addHandler(caplog.handler)
        with pytest.raises(websockets.InvalidStatus, match="401"):
            await websockets.connect(url, proxy=None)
    log.removeHandler(caplog.handler)
    assert caplog.messages == []


async def test_what_a_message_unpacks_to_is_bounded() -> None:
    """By what is usual, unless the application says otherwise."""

    async def taking_little(scope: Any, receive: Any, send: Any) -> None:
        sockets.take_messages_of(scope, 1000)
        await echo(scope, receive, send)

    for application, size in ((echo, sockets.USUAL_MESSAGE_BYTES), (taking_little, 1000)):
        async with server(application) as url, websockets.connect(url, proxy=None, max_size=None) as client:
            await client.send(bytes(size))
            assert len(await client.recv()) == size
            await client.send(bytes(size + 1))
            with pytest.raises(websockets.ConnectionClosed, match="message too big"):
                await client.recv()


async def test_small_messages_are_compressed_and_large_ones_are_not() -> None:
    async with server(echo) as url, websockets.connect(url, proxy=None) as client:
        (deflate,) = client.protocol.extensions
        seen: list[tuple[int, bool]] = []
        decode = deflate.decode
        deflate.decode = lambda frame, **options: (  # type: ignore[method-assign]
            seen.append((len(frame.data), frame.rsv1)) or decode(frame, **options)  # type: ignore[func-returns-value]
        )
        for size in (1000, 1_000_000, 1000):
            await client.send(bytes(size))
            assert await client.recv() == bytes(size)
    (small, compressed), (large, plain), (again, still) = (one for one in seen if one[0] > 2)
    assert (compressed, plain, still) == (True, False, True)
    assert small < 1000
    assert again < 1000
    assert large == 1_000_000


HANDSHAKE = b"\r\n".join(
    (
        b"GET / HTTP/1.1",
        b"Host: localhost",
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        b"\r\n",
    )
)


async def test_a_slow_upload_is_a_sign_of_life() -> None:
    async with server(echo, ws_ping_interval=SHORT, ws_ping_timeout=SHORT) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.strip("/").rpartition(":")[2]))
        writer.write(HANDSHAKE)
        await reader.readuntil(b"\r\n\r\n")
        # One frame, byte by byte: a client that is in the middle of it cannot answer any ping.
        pieces = 20
        writer.write(b"\x82" + bytes([0x80 | pieces]) + bytes(4))
        for _ in range(pieces):
            await asyncio.sleep(SHORT / 4)  # Slowness is what this is about.
            writer.write(b"x")
        async with asyncio.timeout(PATIENCE):
            await reader.readuntil(b"x" * pieces)
        writer.transport.abort()


async def test_a_silent_client_is_given_up() -> None:
    ended = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
        ended.set()

    async with (
        server(app, ws_ping_interval=SHORT, ws_ping_timeout=SHORT) as url,
        websockets.connect(url, proxy=None, ping_interval=None) as client,
    ):
        client.transport.pause_reading()
        async with asyncio.timeout(PATIENCE):
            await ended.wait()
        client.transport.abort()


async def test_what_nobody_reads_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "LINGER", 0.1)
    closed = asyncio.Event()
    lost = PatientWebSocketProtocol.connection_lost

    def connection_lost(self: PatientWebSocketProtocol, error: Exception | None) -> None:
        lost(self, error)
        closed.set()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        await send({"type": "websocket.send", "bytes": bytes(50_000_000)})

    monkeypatch.setattr(PatientWebSocketProtocol, "connection_lost", connection_lost)
    async with (
        server(app, ws_ping_interval=None) as url,
        websockets.connect(url, proxy=None, ping_interval=None, max_size=None) as client,
    ):
        client.transport.pause_reading()
        await client.send(b"go on")
        async with asyncio.timeout(PATIENCE):
            await closed.wait()
        client.transport.abort()
