"""Which addresses a request that a user asked for may go to."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from moonpool import outbound
from moonpool.errors import InvalidInput
from moonpool.outbound import Forbidden, Outbound, Reply, Rules, Unreachable
from tests.receivers import LOOPBACK_NETWORK, HttpReceiver, http_receiver

TEAM = "a team"
PRIVATE = [
    "127.0.0.1",
    "127.1.2.3",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fd00::1",
    "fd00:ec2::254",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::1",
    "::7f00:1",
    "168.63.129.16",
    "192.88.99.1",
    "fec0::1",
    "3fff::1",
]


@pytest.fixture
async def receiver() -> AsyncIterator[HttpReceiver]:
    async with http_receiver() as receiver:
        yield receiver


@pytest.fixture
async def allowing() -> AsyncIterator[Outbound]:
    made = Outbound([LOOPBACK_NETWORK])
    yield made
    await made.close()


@pytest.fixture
async def strict() -> AsyncIterator[Outbound]:
    made = Outbound()
    yield made
    await made.close()


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not_public_is_refused(address: str) -> None:
    assert not Rules(()).permit(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_what_is_public_is_not(address: str) -> None:
    assert Rules(()).permit(address)
    assert not Rules((), public=False).permit(address)


def test_an_operator_allows_networks() -> None:
    rules = Rules(["10.1.0.0/16"])
    assert rules.permit("10.1.2.3")
    assert rules.permit("::ffff:10.1.2.3")
    assert not rules.permit("10.2.0.1")


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "https://localhost/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://[::1]:8080/",
        "https://169.254.169.254/latest/meta-data",
        "http://8.8.8.8/",
        "https://[::ffff:127.0.0.1]/",
        "https://8.8.8.8:99999/",
        "https://8.8.8.8:0/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "https://user:pass@example.com/",
        "https://",
        "//example.com",
        "https://example.com/#part",
        "https://exa mple.com/\n",
        "https://" + "a" * 3000,
        "http://[",
        "",
    ],
)
async def test_addresses_that_cannot_be_kept(strict: Outbound, url: str) -> None:
    with pytest.raises(InvalidInput):
        await strict.check(url, "url", owner=TEAM)


async def test_the_check_is_made_again_when_it_connects(strict: Outbound, receiver: HttpReceiver) -> None:
    for name in ("127.0.0.1", "localhost", "2130706433"):
        with pytest.raises(Forbidden):
            await strict.send("POST", f"http://{name}:{receiver.port}/", {}, b"", owner=TEAM)
    assert receiver.got == []


async def test_a_request(allowing: Outbound, receiver: HttpReceiver) -> None:
    url = await allowing.check(f"http://localhost:{receiver.port}/a%20b?c=d", "url", owner=TEAM)
    reply = await allowing.send("PUT", url, {"X-One": "1"}, b"text", owner=TEAM)
    assert (reply.status, reply.is_success) == (200, True)
    (got,) = receiver.got
    assert (got.method, got.path, got.body) == ("PUT", "/a%20b?c=d", "text")
    assert (got.headers["host"], got.headers["x-one"]) == (f"localhost:{receiver.port}", "1")


async def test_redirects_are_not_followed(allowing: Outbound, receiver: HttpReceiver) -> None:
    receiver.status, receiver.headers = 307, {"Location": receiver.url + "/elsewhere"}
    assert (await allowing.send("POST", receiver.url, {}, b"", owner=TEAM)).status == 307
    assert len(receiver.got) == 1


async def test_a_proxy_of_the_environment_is_not_asked(
    allowing: Outbound, receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert (await allowing.send("POST", receiver.url, {}, b"", owner=TEAM)).status == 200


async def test_who_never_answers(allowing: Outbound, receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbound, "TIMEOUT", 0.2)
    receiver.hangs = True
    with pytest.raises(Unreachable, match="No answer"):
        await allowing.send("POST", receiver.url, {}, b"", owner=TEAM)


async def test_who_is_not_there_and_who_speaks_no_http(allowing: Outbound, tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="refused"):
        await allowing.send("POST", "http://127.0.0.1:1/", {}, b"", owner=TEAM)

    async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Unreachable, match="no HTTP"):
            await allowing.send("POST", f"http://127.0.0.1:{port}/", {}, b"", owner=TEAM)
        with pytest.raises(Unreachable):
            await allowing.send("POST", f"https://127.0.0.1:{port}/", {}, b"", owner=TEAM)


async def test_name_servers_of_one_team_hold_up_no_other(receiver: HttpReceiver) -> None:
    hanging, all_in, loop = threading.Event(), asyncio.Barrier(outbound.RESOLVERS_EACH + 1), asyncio.get_running_loop()

    def look_up(host: str, port: int) -> list[str]:
        if host.startswith("slow") and not hanging.is_set():
            asyncio.run_coroutine_threadsafe(all_in.wait(), loop)
            hanging.wait()
        return ["127.0.0.1"]

    made = Outbound([LOOPBACK_NETWORK], look_up)
    try:
        slow = [f"http://slow{number}:{receiver.port}/" for number in range(3 * outbound.RESOLVERS)]
        waiting = [asyncio.ensure_future(made.send("POST", url, {}, b"", owner="slow team")) for url in slow]
        await all_in.wait()
        for one in waiting[: outbound.RESOLVERS]:
            one.cancel()  # what nobody waits for any more still holds its turn
        reply = await made.send("POST", f"http://fast:{receiver.port}/", {}, b"", owner=TEAM)
        assert (reply.status, any(one.done() and not one.cancelled() for one in waiting)) == (200, False)
        hanging.set()
        replies = await asyncio.gather(*waiting, return_exceptions=True)
        assert [reply.status for reply in replies if isinstance(reply, Reply)] == [200] * 2 * outbound.RESOLVERS
    finally:
        hanging.set()
        await made.close()
