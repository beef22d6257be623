"""Output over WebSocket."""

import json
from typing import Any

import pytest
import websockets

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def conversation(socket: websockets.ClientConnection) -> list[dict[str, Any]]:
    return [json.loads(message) async for message in socket]


def text(messages: list[dict[str, Any]], kind: str) -> str:
    return "".join(message["data"] for message in messages if message["type"] == kind)


def start(script: str) -> str:
    return json.dumps({"type": "start", "cmd": "/bin/sh", "args": ["-c", script]})


async def test_streams_and_exit_code(api: Any, capsule: str) -> None:
    async with await api.connect("execStream", {"id": capsule}) as socket:
        await socket.send(start("echo out; echo err >&2; exit 3"))
        messages = await conversation(socket)
    assert messages[0]["type"] == "start"
    assert messages[0]["pid"] > 0
    assert (text(messages, "stdout"), text(messages, "stderr")) == ("out\n", "err\n")
    assert messages[-1] == {"type": "exit", "exit_code": 3}


async def test_characters_are_never_cut(api: Any, capsule: str) -> None:
    """The moon has four bytes, written one by one; what is no text is shown as such, at the very end as well."""
    script = r"printf 'a\360'; sleep 0.05; printf '\237\214'; sleep 0.05; printf '\231b\377c\360\237'"
    async with await api.connect("execStream", {"id": capsule}) as socket:
        await socket.send(start(script))
        assert text(await conversation(socket), "stdout") == "a🌙b\ufffdc\ufffd"


async def test_much_output(api: Any, capsule: str) -> None:
    async with await api.connect("execStream", {"id": capsule}) as socket:
        await socket.send(start("head -c 20000000 /dev/zero | tr '\\0' x"))
        assert len(text(await conversation(socket), "stdout")) == 20_000_000


async def test_stop_kills_and_tells(api: Any, capsule: str) -> None:
    async with await api.connect("execStream", {"id": capsule}) as socket:
        await socket.send(start("trap '' TERM; echo ready; sleep 1000"))
        assert json.loads(await socket.recv())["type"] == "start"
        assert json.loads(await socket.recv())["data"] == "ready\n"
        await socket.send('{"type": "whatever"}')
        await socket.send("not even JSON")
        await socket.send('{"type": "stop"}')
        assert await conversation(socket) == [{"type": "exit", "exit_code": 137}]


async def test_a_client_that_leaves_ends_its_command(api: Any, capsule: str) -> None:
    async with await api.connect("execStream", {"id": capsule}) as socket:
        await socket.send(start("trap '' TERM HUP; sleep 1000"))
        pid = json.loads(await socket.recv())["pid"]
    async with await api.connect("connectProcess", {"id": capsule, "selector": str(pid)}) as socket:
        assert (await conversation(socket))[-1] == {"type": "exit", "exit_code": 137}


async def test_a_background_process_outlives_its_readers(api: Any, capsule: str) -> None:
    here = {"id": capsule}
    script = {"cmd": "sh", "args": ["-c", "echo begin; read line <> gate; echo end"], "background": True, "tag": "job"}
    await api.call("execCommand", 200, here, json={"cmd": "mkfifo", "args": ["gate"]})
    await api.call("execCommand", 202, here, json=script)
    for _ in range(2):
        async with await api.connect("connectProcess", {**here, "selector": "job"}) as socket:
            assert json.loads(await socket.recv())["type"] == "start"
            assert json.loads(await socket.recv()) == {"type": "stdout", "data": "begin\n"}
    async with await api.connect("connectProcess", {**here, "selector": "job"}) as socket:
        await api.call("execCommand", 200, here, json={"cmd": "sh", "args": ["-c", "echo go > gate"]})
        messages = await conversation(socket)
    assert text(messages, "stdout") == "begin\nend\n"
    assert messages[-1] == {"type": "exit", "exit_code": 0}


@pytest.mark.parametrize(
    "first",
    [
        "",
        "{",
        '{"type": "stop"}',
        '{"type": "start"}',
        '{"type": "start", "cmd": ""}',
        b"\xff",
        '{"type":"start","cmd":7}',
    ],
)
async def test_wrong_first_messages(api: Any, capsule: str, first: str | bytes) -> None:
    async with await api.connect("execStream", {"id": capsule}) as socket:
        await socket.send(first)
        (message,) = await conversation(socket)
    assert message["type"] == "error"
    assert message["data"]


async def test_what_cannot_be_started_or_found(api: Any, capsule: str) -> None:
    async with await api.connect("execStream", {"id": capsule}) as socket:
        await socket.send(json.dumps({"type": "start", "cmd": "/no/such/command"}))
        assert [message["type"] for message in await conversation(socket)] == ["error"]
    for selector in ("999999", "no-such-tag"):
        async with await api.connect("connectProcess", {"id": capsule, "selector": selector}) as socket:
            assert [message["type"] for message in await conversation(socket)] == ["error"]


async def test_a_capsule_destroyed_under_a_stream(api: Any, capsule: str) -> None:
    async with await api.connect("execStream", {"id": capsule}) as socket:
        await socket.send(start("echo ready; sleep 1000"))
        await socket.recv()
        assert json.loads(await socket.recv())["data"] == "ready\n"
        await api.call("destroyCapsule", 202, {"id": capsule})
        assert [message["type"] for message in await conversation(socket)] == ["error"]
