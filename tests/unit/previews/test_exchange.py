"""Requests and answers, byte by byte: what goes on to an app, what comes back, and how either side ends."""

import asyncio

import pytest

from tests.unit.previews.apps import INSIDE, LIMIT, App, Request, running_app, saying
from tests.unit.previews.conftest import Previews

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_request_reaches_the_app_and_its_answer_comes_back(previews: Previews) -> None:
    answer = await previews.ask("/a?b=c", "X-Own: kept")
    assert (answer.status, answer.body, answer.header("x-app")) == (200, b"hello", "yes")
    [request] = previews.app.requests
    assert request.line == "GET /a?b=c HTTP/1.1"
    assert request.header("x-own") == "kept"
    assert request.header("host") == previews.host()
    assert request.header("x-forwarded-for") == "127.0.0.1"
    assert request.header("x-forwarded-proto") == "http"


@pytest.mark.parametrize(
    "path", ["/../../etc/passwd", "/a%2Fb/%2e%2e/c", "//x//y", "/%00%ff", "/a?x=%20&y=a+b;c&&=", "*"]
)
async def test_paths_go_on_byte_for_byte(previews: Previews, path: str) -> None:
    await previews.ask(path, method="OPTIONS" if path == "*" else "GET")
    assert previews.app.requests[0].line.split()[1] == path


async def test_one_connection_serves_many_requests_and_so_does_the_app_s(previews: Previews) -> None:
    async with previews.client() as client:
        for _ in range(3):
            client.send(f"GET / HTTP/1.1\r\nHost: {previews.host()}\r\n\r\n".encode())
            assert (await client.answer()).body == b"hello"
    assert previews.app.connections == 1


async def test_pipelined_requests_are_answered_in_order(previews: Previews) -> None:
    async def echo(app: App, reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        path = request.line.split()[1].encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(path), path))

    previews.app.behave = echo
    host = previews.host()
    async with previews.client() as client:
        client.send(b"".join(f"GET /{number} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode() for number in range(5)))
        assert [(await client.answer()).body for _ in range(5)] == [b"/0", b"/1", b"/2", b"/3", b"/4"]


async def test_previews_and_apis_share_a_connection(previews: Previews) -> None:
    async with previews.client() as client:
        for host, path, status in (
            (previews.host(), "/healthz", 200),
            ("127.0.0.1", "/healthz", 200),
            (previews.host(), "/", 200),
            ("127.0.0.1", "/nowhere", 404),
        ):
            client.send(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert (await client.answer()).status == status
    assert [request.line.split()[1] for request in previews.app.requests] == ["/healthz", "/"]


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_of_any_size_arrives_whole(previews: Previews, chunked: bool) -> None:
    body = bytes(range(256)) * 8192  # 2 MiB
    async with previews.client() as client:
        length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
        client.send(f"POST /up HTTP/1.1\r\nHost: {previews.host()}\r\n{length}\r\n\r\n".encode())
        for start in range(0, len(body), 100_000):
            piece = body[start : start + 100_000]
            client.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            await client.writer.drain()
        if chunked:
            client.send(b"0\r\n\r\n")
        assert (await client.answer()).status == 200
    assert previews.app.requests[0].body == body


async def test_an_app_that_does_not_read_holds_its_client_back(previews: Previews) -> None:
    reading = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reading.wait()
        while await reader.read(1 << 20):
            pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=4096)
    port = server.sockets[0].getsockname()[1]
    async with server, previews.client() as client:
        head = f"POST / HTTP/1.1\r\nHost: {previews.host(port)}\r\nContent-Length: {1 << 30}\r\n\r\n"
        client.send(head.encode())

        async def fill() -> None:
            while True:
                client.send(bytes(1 << 20))
                await client.writer.drain()

        filling = asyncio.create_task(fill())
        done, _ = await asyncio.wait({filling}, timeout=1)
        assert not done
        sent = (1 << 30) - client.writer.transport.get_write_buffer_size()
        assert client.writer.transport.get_write_buffer_size() > 0, sent
        filling.cancel()
        reading.set()


async def test_a_client_that_does_not_read_holds_its_app_back(previews: Previews) -> None:
    written = 0

    async def flood(app: App, reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 30))
        while True:
            writer.write(bytes(1 << 20))
            await writer.drain()
            written += 1 << 20

    previews.app.behave = flood
    async with previews.client() as client:
        client.writer.transport.pause_reading()
        client.send(f"GET / HTTP/1.1\r\nHost: {previews.host()}\r\n\r\n".encode())
        before = -1
        async with asyncio.timeout(LIMIT):
            while written != before or not written:
                before = written
                await asyncio.sleep(0.2)
        assert written < 64 << 20
    async with asyncio.timeout(LIMIT):
        await previews.app.closed.wait()


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: t\r\n\r\n",
            b"abcde",
        ),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
    ],
)
async def test_answers_of_every_framing(previews: Previews, answer: bytes, body: bytes) -> None:
    previews.app.behave = saying(answer, close=answer.startswith(b"HTTP/1.0"))
    got = await previews.ask()
    if got.status == 100:
        return
    assert (got.status, got.body, got.complete) == (200, body, True)


async def test_head_and_not_modified_have_no_body(previews: Previews) -> None:
    previews.app.behave = saying(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    async with previews.client() as client:
        client.send(f"HEAD / HTTP/1.1\r\nHost: {previews.host()}\r\nConnection: close\r\n\r\n".encode())
        assert b"Content-Length: 1000" in await client.rest()
    previews.app.behave = saying(b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n")
    assert (await previews.ask()).status == 304


async def test_what_listens_on_loopback_is_reached_through_the_agent(previews: Previews) -> None:
    async with running_app(address=INSIDE) as inner:
        for _ in range(3):
            assert (await previews.ask(host=previews.host(inner.port))).body == b"hello"
        body = bytes(1 << 20)
        assert (await previews.ask(host=previews.host(inner.port), method="POST", body=body)).status == 200
    assert inner.requests[-1].body == body
    assert previews.machines.agent.dialled == 2  # The connection for the first three is one; a body has its own.


async def test_a_connection_that_the_app_has_just_closed_is_not_the_client_s_trouble(previews: Previews) -> None:
    """The app ends kept connections when the next request is already under way."""

    async def once(app: App, reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        if len(app.requests) == 2:
            writer.transport.abort()
            return
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    previews.app.behave = once
    assert (await previews.ask()).body == b"ok"
    assert (await previews.ask()).body == b"ok"
    assert previews.app.connections == 2


async def test_what_cannot_be_asked_twice_is_not(previews: Previews) -> None:
    previews.app.behave = saying(b"", close=True)
    answer = await previews.ask(method="POST", body="pay")
    assert answer.status == 502
    assert b"app_closed" in answer.body
    assert len(previews.app.requests) == 1


async def test_an_answer_that_is_cut_short_ends_short(previews: Previews) -> None:
    previews.app.behave = saying(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this", close=True)
    with pytest.raises(ConnectionError):
        await previews.ask()


async def test_an_answer_that_is_no_http(previews: Previews) -> None:
    previews.app.behave = saying(b"SSH-2.0-OpenSSH_9.2\r\n")
    assert b"app_bad_answer" in (await previews.ask()).body
    previews.app.behave = saying(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 300_000)
    assert b"app_bad_answer" in (await previews.ask()).body


async def test_an_early_answer_to_a_long_body(previews: Previews) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
        await writer.drain()
        await asyncio.sleep(0)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, previews.client() as client:
        host = previews.host(server.sockets[0].getsockname()[1])
        client.send(f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 10\r\n\r\n12345".encode())
        assert (await client.answer()).status == 413
        client.send(f"67890GET / HTTP/1.1\r\nHost: {previews.host()}\r\n\r\n".encode())
        assert (await client.answer()).body == b"hello"


async def test_a_client_that_goes_ends_its_request(previews: Previews) -> None:
    async def never(app: App, reader: asyncio.StreamReader, writer: object, request: Request) -> None:
        await reader.read()

    previews.app.behave = never
    async with previews.client() as client:
        client.send(f"GET / HTTP/1.1\r\nHost: {previews.host()}\r\n\r\n".encode())
        while not previews.app.requests:
            await asyncio.sleep(0.01)
    async with asyncio.timeout(LIMIT):
        await previews.app.closed.wait()
    while previews.machines.open_sessions:
        await asyncio.sleep(0)
