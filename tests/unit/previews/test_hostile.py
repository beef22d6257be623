"""Clients and apps that try what they should not."""

import asyncio
import os

import pytest

from moonpool.dialects.common.front import FrontProtocol
from moonpool.previews.gateway.names import Names
from tests.unit.previews.apps import App, Request, saying
from tests.unit.previews.conftest import DOMAIN, Previews

pytestmark = pytest.mark.asyncio(loop_scope="module")

SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "headers",
    [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 0x5",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding : chunked",
        "Content-Length : 5",
        " Content-Length: 5",
        "X: a\r\n Content-Length: 5",
        "X: a\rContent-Length: 5",
        "Upgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 5",
        "Upgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 5",
        f"Host: other.{DOMAIN}",
    ],
)
async def test_requests_that_could_be_read_in_two_ways(previews: Previews, headers: str) -> None:
    async with previews.client() as client:
        client.send(f"POST / HTTP/1.1\r\nHost: {previews.host()}\r\n{headers}\r\n\r\n{SMUGGLED}".encode())
        said = await client.rest()
    assert said.startswith(b"HTTP/1.1 400")
    assert said.count(b"HTTP/1.1") == 1
    assert previews.app.requests == []


@pytest.mark.parametrize(
    "chunks", ["5\r\nhello\r\n-1\r\n", "5;x\nhello\r\n0\r\n\r\n", "5\nhello\r\n0\r\n\r\n", "FFFFFFFFFFFFFFFFF\r\n"]
)
async def test_chunks_that_are_none(previews: Previews, chunks: str) -> None:
    async with previews.client() as client:
        head = f"POST / HTTP/1.1\r\nHost: {previews.host()}\r\nTransfer-Encoding: chunked\r\n\r\n"
        client.send((head + chunks + SMUGGLED).encode())
        said = await client.rest()
    assert b"hello" not in said
    assert not any("smuggled" in request.line for request in previews.app.requests)


async def test_a_body_s_length_is_said_once(previews: Previews) -> None:
    """What a client says of one connection alone is not passed on, and cannot take away what counts."""
    headers = ("Connection: close, Content-Length, Host, X-Secret", "X-Secret: 1", "Keep-Alive: 5", "TE: trailers")
    await previews.ask("/", *headers, method="POST", body="12345")
    [request] = previews.app.requests
    assert [name for name, _ in request.headers if name == "content-length"] == ["content-length"]
    assert {"x-secret", "keep-alive", "te", "connection"}.isdisjoint(name for name, _ in request.headers)
    assert (request.body, request.header("host")) == (b"12345", previews.host())


async def test_clients_do_not_say_who_forwards_them(previews: Previews) -> None:
    headers = ("X-Forwarded-For: 1.2.3.4", "Forwarded: for=1.2.3.4", "X-Forwarded-Prefix: /x")
    await previews.ask("/", *headers)
    [request] = previews.app.requests
    assert request.header("forwarded") is None
    assert request.header("x-forwarded-prefix") is None
    assert request.header("x-forwarded-for") == "1.2.3.4, 127.0.0.1"  # This machine's own proxies are believed.


async def test_names_that_apps_take_for_others(previews: Previews) -> None:
    """To WSGI and CGI ``_`` is ``-``: who wrote it so could say what the gateway alone says."""
    headers = (
        "X_Forwarded_For: 6.6.6.6",
        "Content_Length: 9",
        "Transfer_Encoding: chunked",
        "X-Forwarded_Proto: https",
    )
    await previews.ask("/", *headers, "my_own: 1")
    [request] = previews.app.requests
    assert [name for name, _ in request.headers if "_" in name] == ["my_own"]


@pytest.mark.parametrize(
    "url", ["http://other.test/", "http://user@{host}/", "https://{host}.evil/", "ftp://{host}/", "http://{host}?x"]
)
async def test_targets_that_contradict_the_host(previews: Previews, url: str) -> None:
    async with previews.client() as client:
        client.send(f"GET {url.format(host=previews.host())} HTTP/1.1\r\nHost: {previews.host()}\r\n\r\n".encode())
        assert (await client.rest()).startswith(b"HTTP/1.1 400")
    assert previews.app.requests == []


async def test_a_target_with_the_host_in_it(previews: Previews) -> None:
    assert (await previews.ask(f"http://{previews.host()}/a?b")).status == 200
    assert previews.app.requests[0].line == "GET /a?b HTTP/1.1"


@pytest.mark.parametrize(
    "host",
    [
        "{port}-{id}.previews.test.evil.com",
        "{port}-{id}.evil.previews.test",
        "0{port}-{id}.previews.test",
        "99999-{id}.previews.test",
        "0-{id}.previews.test",
        "{port}-{id}x.previews.test",
        "{port}--{id}.previews.test",
        "{port}-../{id}.previews.test",
        "{port}-{id}.previews.test@evil.com",
        "evil.com:{port}-{id}.previews.test",
        "[{port}-{id}.previews.test]",
        ".previews.test",
        "previews.test",
    ],
)
async def test_hosts_that_are_no_preview_s(previews: Previews, host: str) -> None:
    names = Names([DOMAIN], lambda domain: None)
    assert names.by_host(host.format(port=80, id=previews.sandbox.id).encode()) is None


async def test_hosts_in_other_spellings(previews: Previews) -> None:
    for host in (previews.host().upper(), previews.host() + ".", previews.host() + ":1234", f" {previews.host()} "):
        assert (await previews.ask(host=host)).status == 200


async def test_the_agent_s_own_port_is_closed(previews: Previews) -> None:
    answer = await previews.ask(host=previews.host(49983))
    assert (answer.status, b"port_closed" in answer.body) == (502, True)


async def test_no_markup_comes_from_a_request(previews: Previews) -> None:
    answer = await previews.ask("/<script>alert(1)</script>", "Accept: text/html", host=previews.host(1))
    assert (answer.status, b"<script" in answer.body) == (502, False)
    assert answer.header("content-type") == "text/html; charset=utf-8"
    assert "default-src 'none'" in (answer.header("content-security-policy") or "")


async def test_headers_without_end(previews: Previews) -> None:
    async with previews.client() as client:
        client.send(f"GET / HTTP/1.1\r\nHost: {previews.host()}\r\nX: ".encode() + b"y" * 200_000)
        assert (await client.rest()).startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize("begun", ["", "GET / HTTP/1.1\r\nHost: x", "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT"])
async def test_a_client_that_never_comes_to_the_point(
    previews: Previews, begun: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FrontProtocol, "headers_timeout", 0.1)
    async with previews.client() as client:
        client.send(begun.encode())
        await client.rest()


async def test_an_app_that_never_answers(previews: Previews) -> None:
    async def never(app: App, reader: asyncio.StreamReader, writer: object, request: Request) -> None:
        await reader.read()

    assert previews.core.gateway.answer_timeout > 60
    previews.core.gateway.answer_timeout, before = 0.1, previews.core.gateway.answer_timeout
    try:
        previews.app.behave = never
        answer = await previews.ask(method="POST", body="x")
        assert (answer.status, b"app_timeout" in answer.body) == (504, True)
    finally:
        previews.core.gateway.answer_timeout = before


async def test_an_app_cannot_answer_what_nobody_asked(previews: Previews) -> None:
    """More than one answer at a time would be the next client's."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    previews.app.behave = saying(answer + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    for _ in range(3):
        async with previews.client() as client:
            client.send(f"GET / HTTP/1.1\r\nHost: {previews.host()}\r\nConnection: close\r\n\r\n".encode())
            said = await client.rest()
        assert said.endswith(b"\r\n\r\nok")
        assert said.count(b"HTTP/1.1") == 1
    assert previews.app.connections == 3


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 4\r\n\r\nevil",
        b"HTTP/1.1 200 OK\r\nX: a\r\n\tSet-Cookie: b\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ],
)
async def test_answers_that_could_be_read_in_two_ways(previews: Previews, answer: bytes) -> None:
    previews.app.behave = saying(answer, close=True)
    async with previews.client() as client:
        client.send(f"GET / HTTP/1.1\r\nHost: {previews.host()}\r\nConnection: close\r\n\r\n".encode())
        said = await client.rest()
    assert said.count(b"HTTP/1.1") == 1
    assert said.lower().count(b"content-length") + said.lower().count(b"transfer-encoding") == 1


async def test_many_clients_at_once_leave_nothing_behind(previews: Previews) -> None:
    before = len(os.listdir("/proc/self/fd"))
    answers = await asyncio.gather(*(previews.ask(f"/{number}") for number in range(200)))
    assert {answer.status for answer in answers} == {200}
    previews.core.gateway.close()
    while previews.machines.open_sessions or len(os.listdir("/proc/self/fd")) > before + 2:
        await asyncio.sleep(0.01)
