"""Terminals in both kinds of frames."""

import base64
import json
from typing import Any

import pytest
import websockets

pytestmark = pytest.mark.asyncio(loop_scope="module")


def opening(script: str = "", **more: Any) -> str:
    arguments = {"args": ["-c", script]} if script else {}
    return json.dumps({"type": "start", "cmd": "/bin/sh", **arguments, **more})


def typed(data: bytes) -> str:
    return json.dumps({"type": "input", "data": base64.b64encode(data).decode()})


async def started(socket: websockets.ClientConnection) -> dict[str, Any]:
    message = json.loads(await socket.recv())
    assert message["type"] == "started", message
    assert message["tag"].startswith("pty-")
    return message


async def until(socket: websockets.ClientConnection, wanted: bytes, binary: bool = False) -> bytes:
    shown = b""
    while wanted not in shown:
        frame = await socket.recv()
        assert isinstance(frame, bytes) == binary, frame
        shown += frame if isinstance(frame, bytes) else base64.b64decode(json.loads(frame)["data"])
    return shown


async def last(socket: websockets.ClientConnection) -> dict[str, Any]:
    return json.loads([frame async for frame in socket if isinstance(frame, str)][-1])


async def test_type_resize_and_exit(api: Any, capsule: str, home: Any) -> None:
    async with await api.connect("ptySession", {"id": capsule}) as socket:
        await socket.send(opening(rows=30, cols=100, envs={"A": "b"}, cwd="/usr"))
        await started(socket)
        await socket.send(typed(b"stty size; echo $A-$TERM; pwd\n"))
        shown = await until(socket, b"/usr\r\n")
        assert b"30 100" in shown
        assert b"b-xterm-256color" in shown
        await socket.send(json.dumps({"type": "resize", "rows": 40, "cols": 120}))
        await socket.send(typed(b"stty size; exit 5\n"))
        await until(socket, b"40 120")
        assert await last(socket) == {"type": "exit", "exit_code": 5}


async def test_defaults(api: Any, capsule: str) -> None:
    async with await api.connect("ptySession", {"id": capsule}) as socket:
        await socket.send('{"type": "start"}')
        await started(socket)
        await socket.send(typed(b"stty size; basename $0; exit\n"))
        shown = await until(socket, b"bash")
        assert b"24 80" in shown


async def test_binary_input_turns_the_output_binary(api: Any, capsule: str) -> None:
    async with await api.connect("ptySession", {"id": capsule}) as socket:
        await socket.send(opening("stty -echo; echo rea''dy; cat"))
        await started(socket)
        await until(socket, b"ready")
        await socket.send(b"bytes \xff\n")
        await until(socket, b"bytes \xff", binary=True)


async def test_the_process_outlives_the_socket(api: Any, capsule: str) -> None:
    async with await api.connect("ptySession", {"id": capsule}) as socket:
        await socket.send(opening())
        first = await started(socket)
        await socket.send(typed(b"LEFT=behind; echo scr''een\n"))
        await until(socket, b"screen")
    async with (
        await api.connect("ptySession", {"id": capsule}) as one,
        await api.connect("ptySession", {"id": capsule}) as two,
    ):
        for socket in (one, two):
            await socket.send(json.dumps({"type": "connect", "tag": first["tag"]}))
            assert await started(socket) == first
            await until(socket, b"screen")
        await one.send(typed(b"echo $LEFT-again\n"))
        await until(two, b"behind-again")
        await two.send('{"type": "kill"}')
        assert await last(one) == await last(two) == {"type": "exit", "exit_code": 137}


async def test_kill_gets_through_to_what_reads_nothing(api: Any, capsule: str) -> None:
    async with await api.connect("ptySession", {"id": capsule}) as socket:
        await socket.send(opening("stty raw -echo; echo rea''dy; sleep 1000"))
        await started(socket)
        await until(socket, b"ready")
        await socket.send(typed(b"x" * 500_000))
        await socket.send('{"type": "kill"}')
        assert await last(socket) == {"type": "exit", "exit_code": 137}


async def test_pings(api: Any, capsule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moonpool.dialects.wrenn.terminals.PING_INTERVAL", 0.01)
    async with await api.connect("ptySession", {"id": capsule}) as socket:
        await socket.send(opening("stty -echo; cat"))
        await started(socket)
        while json.loads(await socket.recv()) != {"type": "ping"}:
            pass
        await socket.send('{"type": "pong"}')


async def test_wrong_control_messages_are_told_and_survived(api: Any, capsule: str) -> None:
    async with await api.connect("ptySession", {"id": capsule}) as socket:
        await socket.send(opening("stty -echo; cat"))
        await started(socket)
        for wrong in ("{", '{"type": "input", "data": "%"}', '{"type": "resize", "cols": 0, "rows": 5}', '{"type": 7}'):
            await socket.send(wrong)
            message = json.loads(await socket.recv())
            assert (message["type"], message["fatal"]) == ("error", False), wrong
        await socket.send('{"type": "resize", "cols": 70000, "rows": 5}')
        assert json.loads(await socket.recv())["fatal"] is False
        await socket.send(typed(b"alive\n"))
        await until(socket, b"alive")


@pytest.mark.parametrize(
    "first",
    [
        "{",
        '{"type": "input"}',
        '{"type": "connect"}',
        '{"type": "connect", "tag": "pty-00000000"}',
        '{"type": "start", "cmd": "/no/such/shell"}',
        '{"type": "start", "cwd": "/no/such/folder"}',
        '{"type": "start", "user": "nobody-of-this-name"}',
        '{"type": "start", "cols": -1}',
    ],
)
async def test_wrong_openings(api: Any, capsule: str, first: str) -> None:
    async with await api.connect("ptySession", {"id": capsule}) as socket:
        await socket.send(first)
        message = await last(socket)
    assert (message["type"], message["fatal"]) == ("error", True)
    assert message["data"]
