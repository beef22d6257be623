"""Terminals and their websockets."""

import asyncio
import base64
import json
import socket
from typing import Any

import daytona_toolbox_api_client as sdk
import httpx
import pytest
import websockets
from daytona_toolbox_api_client import PtySessionInfo

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXIT_CONTROL = "X-Daytona-Pty-Exit-Control"
CREATE = "/process/pty/create-connect?id={}&cols=100&rows=30"


def environment_token(variables: Any) -> str:
    return "X-Daytona-Pty-Envs~" + base64.urlsafe_b64encode(json.dumps(variables).encode()).rstrip(b"=").decode()


async def connected(socket: Any) -> None:
    async with asyncio.timeout(10):
        assert json.loads(await socket.recv()) == {"type": "control", "status": "connected"}


async def read_until(socket: Any, text: bytes) -> bytes:
    seen = b""
    async with asyncio.timeout(10):
        while text not in seen:
            message = await socket.recv()
            assert isinstance(message, bytes), message
            seen += message
    return seen


async def last_words(socket_to: Any, socket: Any) -> list[Any]:
    """Control messages up to the close."""
    async with asyncio.timeout(10):
        return [json.loads(message) for message in await socket_to.rest(socket) if isinstance(message, str)]


async def test_create_and_connect(socket_to: Any, client: httpx.AsyncClient) -> None:
    protocols = [EXIT_CONTROL, environment_token({"MINE": "a b"})]
    async with socket_to(CREATE.format("one") + "&cwd=/usr", subprotocols=protocols) as socket:
        await connected(socket)
        await socket.send(b'stty size; echo "<$MINE> $FROM_SANDBOX $PWD $TERM"; tty\n')
        assert b"<a b> yes /usr xterm-256color\r\n" in await read_until(socket, b"/dev/pts/")
        info = PtySessionInfo.from_dict((await client.get("/process/pty/one")).json())
        assert info is not None
        assert (info.id, info.cwd, info.cols, info.rows, info.active) == ("one", "/usr", 100, 30, True)
        assert info.envs == {"TERM": "xterm-256color", "MINE": "a b"}
        await socket.send("exit 3\n")
        assert await last_words(socket_to, socket) == [
            {"type": "control", "status": "exited", "exitCode": 3, "exitReason": "non-zero exit"}
        ]
    assert (socket.close_code, json.loads(socket.close_reason)) == (
        1011,
        {"exitCode": 3, "exitReason": "non-zero exit"},
    )


async def test_a_good_end(socket_to: Any) -> None:
    async with socket_to(CREATE.format("one")) as socket:
        await connected(socket)
        await socket.send(b"exit\n")
        assert await last_words(socket_to, socket) == []
    assert (socket.close_code, json.loads(socket.close_reason)) == (1000, {"exitCode": 0})


async def test_several_clients_and_coming_back(socket_to: Any) -> None:
    async with socket_to(CREATE.format("one")) as first, socket_to("/process/pty/one/connect") as second:
        await connected(first)
        await connected(second)
        await first.send(b"echo hel''lo\n")
        for socket in (first, second):
            await read_until(socket, b"hello")
    async with socket_to("/process/pty/one/connect") as third:
        await connected(third)
        await read_until(third, b"hello")
        await third.send(b"echo st''ill\n")
        await read_until(third, b"still")


async def test_resize(socket_to: Any, client: httpx.AsyncClient) -> None:
    async with socket_to(CREATE.format("one")) as socket:
        await connected(socket)
        answer = await client.post("/process/pty/one/resize", json={"cols": 77, "rows": 11})
        assert (answer.json()["cols"], answer.json()["rows"]) == (77, 11)
        await socket.send(b"stty size\n")
        await read_until(socket, b"11 77")
        for size in ({"cols": 1001, "rows": 1}, {"cols": 0, "rows": 1}, {"cols": "5", "rows": 1}, {"cols": 5}):
            assert (await client.post("/process/pty/one/resize", json=size)).status_code == 400
        await socket.send(b"exit\n")
        await last_words(socket_to, socket)
    gone = await client.post("/process/pty/one/resize", json={"cols": 77, "rows": 11})
    assert (gone.status_code, gone.json()["source"]) == (410, "DAYTONA_DAEMON")


async def test_delete_kills(socket_to: Any, client: httpx.AsyncClient) -> None:
    async with socket_to(CREATE.format("one"), subprotocols=[EXIT_CONTROL]) as socket:
        await connected(socket)
        assert (await client.delete("/process/pty/one")).status_code == 200
        assert await last_words(socket_to, socket) == [
            {"type": "control", "status": "exited", "exitCode": 137, "exitReason": "SIGKILL"}
        ]
    assert (await client.get("/process/pty")).json() == {"sessions": []}
    assert (await client.delete("/process/pty/one")).status_code == 404


async def test_rest(client: httpx.AsyncClient) -> None:
    body = {"id": "one", "cols": 90, "rows": 20, "cwd": "/usr", "envs": {"A": "b"}, "lazyStart": True}
    answer = await client.post("/process/pty", json=body)
    assert (answer.status_code, answer.json()) == (201, {"sessionId": "one"})
    twice = await client.post("/process/pty", json=body)
    assert (twice.status_code, twice.json()["code"]) == (409, "CONFLICT")
    unnamed = (await client.post("/process/pty", json={})).json()["sessionId"]
    listed = sdk.PtyListResponse.from_dict((await client.get("/process/pty")).json())
    assert listed is not None
    assert [session.id for session in listed.sessions] == ["one", unnamed]
    first = listed.sessions[0]
    assert (first.cols, first.rows, first.cwd, first.envs, first.lazy_start) == (
        90,
        20,
        "/usr",
        {"TERM": "xterm-256color", "A": "b"},
        True,
    )
    assert (listed.sessions[1].cols, listed.sessions[1].rows) == (80, 24)


async def test_output_before_the_first_client_is_kept(socket_to: Any, client: httpx.AsyncClient) -> None:
    await client.post("/process/pty", json={"id": "one", "lazyStart": True})
    async with socket_to("/process/pty/one/connect") as socket:
        await connected(socket)
        await read_until(socket, b"$ ")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/process/pty/missing/connect", 404),
        ("/process/pty/create-connect?id=taken", 409),
        ("/process/pty/create-connect?id=x&cols=1001", 400),
        ("/process/pty/create-connect?id=x&rows=-1", 400),
        ("/process/pty/create-connect?id=x&rows=abc", 400),
        ("/process/pty/create-connect?id=x&cwd=/no/such", 400),
        ("/process/pty/create-connect?id=%0a", 400),
        ("/process/nothing", 404),
    ],
)
async def test_refusals(socket_to: Any, client: httpx.AsyncClient, path: str, status: int) -> None:
    await client.post("/process/pty", json={"id": "taken"})
    with pytest.raises(websockets.InvalidStatus) as refused:
        await socket_to(path).__aenter__()
    assert refused.value.response.status_code == status
    assert json.loads(refused.value.response.body)["source"] == "DAYTONA_DAEMON"


async def test_no_key(socket_to: Any) -> None:
    with pytest.raises(websockets.InvalidStatus) as refused:
        await socket_to(CREATE.format("one"), key="wrong-key-altogether").__aenter__()
    assert refused.value.response.status_code == 401


@pytest.mark.parametrize("token", ["X-Daytona-Pty-Envs~!!!", environment_token([1]), environment_token({"A": 1})])
async def test_environments_that_are_none(socket_to: Any, token: str) -> None:
    with pytest.raises(websockets.InvalidStatus) as refused:
        await socket_to(CREATE.format("one"), subprotocols=[EXIT_CONTROL, token]).__aenter__()
    assert refused.value.response.status_code == 400


async def test_a_slow_client_is_given_up_and_holds_up_nobody(socket_to: Any, url: str) -> None:
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    host, port = url.removeprefix("http://").split(":")
    narrow.connect((host, int(port)))
    async with (
        socket_to(CREATE.format("one"), sock=narrow, max_queue=1, compression=None) as slow,
        socket_to("/process/pty/one/connect") as quick,
    ):
        await connected(slow)
        await connected(quick)
        await quick.send(b"head -c 30000000 /dev/zero | tr '\\0' x; echo; echo e''nd\n")
        received, tail = 0, b""
        async with asyncio.timeout(60):
            while b"end" not in tail:
                message = await quick.recv()
                received += message.count(b"x")
                tail = tail[-10:] + message
        assert received >= 30_000_000
        async with asyncio.timeout(10):
            await socket_to.rest(slow)
        assert (slow.close_code, slow.close_reason) == (1008, "slow consumer")


async def test_terminals_outlive_a_pause(socket_to: Any, world: Any, sandbox: str) -> None:
    async with socket_to(CREATE.format("one")) as socket:
        await connected(socket)
        await socket.send(b"cd /usr; echo he''re\n")
        await read_until(socket, b"here")
        await world.core.sandboxes.pause(world.principal, sandbox)
        await last_words(socket_to, socket)
        assert socket.close_code == 1011
    await world.core.sandboxes.resume(world.principal, sandbox)
    async with socket_to("/process/pty/one/connect") as socket:
        await connected(socket)
        await socket.send(b"pwd; echo a''gain\n")
        assert b"/usr\r\n" in await read_until(socket, b"again")
