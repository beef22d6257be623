"""Terminals over WebSockets, as ``vm.pty`` of the SDK has them."""

import json
from typing import Any

import httpx
import pytest
import websockets
from websockets.exceptions import InvalidStatus

from tests.contract.freestyle.conftest import Door
from tests.contract.freestyle.test_identities import IDENTITIES, TOKEN, code, identity

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Terminal:
    def __init__(self, socket: websockets.ClientConnection) -> None:
        self.socket = socket
        self.shown = b""

    async def info(self) -> str:
        message = json.loads(await self.socket.recv())
        assert message["type"] == "sessionInfo"
        return str(message["sessionId"])

    async def until(self, text: bytes) -> None:
        while text not in self.shown:
            message = await self.socket.recv()
            assert isinstance(message, bytes), message
            self.shown += message

    async def end(self) -> int:
        """The exit code."""
        while isinstance(message := await self.socket.recv(), bytes):
            self.shown += message
        told = json.loads(message)
        assert told["type"] == "exited"
        return int(told["exitCode"])

    async def say(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message))


async def connect(door: Door, path: str = "", headers: dict[str, str] | None = None, **query: str) -> Terminal:
    address = httpx.URL(f"{door.url.replace('http', 'ws', 1)}/v1/vms/{door.vm}/pty{path}", params=query)
    given = headers or {"Authorization": f"Bearer {door.key}"}
    return Terminal(await websockets.connect(str(address), additional_headers=given, proxy=None))


async def refusal(door: Door, status: int, path: str = "", **more: Any) -> str:
    with pytest.raises(InvalidStatus) as caught:
        await connect(door, path, **more)
    assert caught.value.response.status_code == status
    return str(json.loads(caught.value.response.body)["code"])


async def test_a_session_and_those_who_attach(door: Door, owner: httpx.AsyncClient) -> None:
    first = await connect(door, sessionId="mine", cols="100", rows="30")
    assert await first.info() == "mine"
    assert await refusal(door, 409, sessionId="mine") == "SESSION_ALREADY_EXISTS"
    await first.socket.send(b"stty size; echo o''ne\n")
    await first.until(b"one")
    assert b"30 100" in first.shown
    second = await connect(door, "/sessions/mine", cols="90", rows="40")
    assert await second.info() == "mine"
    await second.until(b"one")  # What was shown before.
    await second.socket.send(b"stty size; echo t''wo\n")
    await first.until(b"two")
    assert b"30 90" in first.shown  # The smallest of both.
    (session,) = (await owner.get(f"/v1/vms/{door.vm}/pty/sessions")).json()["sessions"]
    assert {name: session[name] for name in ("sessionId", "running", "cols", "rows", "attachedCount")} == {
        "sessionId": "mine",
        "running": True,
        "cols": 90,
        "rows": 30,
        "attachedCount": 2,
    }
    await second.socket.close()
    await first.say(type="resize", cols=120, rows=50)
    await first.say(type="nothing known")
    await first.socket.send(b"stty size; echo th''ree\n")
    await first.until(b"three")
    assert b"50 120" in first.shown
    closed = (await owner.delete(f"/v1/vms/{door.vm}/pty/sessions/mine")).json()
    assert closed["sessionId"] == "mine"
    assert await first.end() == 137
    assert await refusal(door, 404, "/sessions/mine") == "SESSION_NOT_FOUND"


async def test_a_command_and_its_end(door: Door, owner: httpx.AsyncClient) -> None:
    command = 'trap "echo caught; exit 7" INT; echo ready; while :; do sleep 0.1; done'
    terminal = await connect(door, exec=command)
    name = await terminal.info()
    await terminal.until(b"ready")
    (session,) = (await owner.get(f"/v1/vms/{door.vm}/pty/sessions")).json()["sessions"]
    assert session["exec"] == command
    await terminal.say(type="signal", signal="SIGINT")
    assert await terminal.end() == 7
    assert b"caught" in terminal.shown
    assert (await owner.delete(f"/v1/vms/{door.vm}/pty/sessions/{name}")).json()["exitCode"] == 7


async def test_what_cannot_be(door: Door, owner: httpx.AsyncClient) -> None:
    assert await refusal(door, 400, sessionId="a b") == "INVALID_SESSION_ID"
    assert await refusal(door, 400, rows="5000") == "BAD_REQUEST"
    assert await refusal(door, 401, headers={"Authorization": "Bearer wrong"}) == "UNAUTHORIZED"
    assert await code(owner, "DELETE", f"/v1/vms/{door.vm}/pty/sessions/none", 404) == "SESSION_NOT_FOUND"
    await owner.post(f"/v1/vms/{door.vm}/exec-await", json={"command": "true", "terminal": "told"})
    assert await refusal(door, 404, "/sessions/told") == "SESSION_NOT_FOUND"


async def test_guests_attach_as_themselves_until_they_may_no_longer(door: Door, owner: httpx.AsyncClient) -> None:
    made, token = await identity(owner, door.vm, ["nobody"])
    headers = {TOKEN: token, "X-Freestyle-Vm-Linux-User-Id": "nobody"}
    await (await connect(door, sessionId="of-root")).info()
    assert await refusal(door, 403, "/sessions/of-root", headers=headers) == "SESSION_USER_MISMATCH"
    terminal = await connect(door, headers=headers, exec="id -un; sleep 1000", sessionId="theirs")
    await terminal.info()
    await terminal.until(b"nobody")
    await owner.delete(f"{IDENTITIES}/{made}/permissions/vm/{door.vm}")
    await terminal.socket.wait_closed()
    assert terminal.socket.close_code == 1008 or terminal.socket.close_code == 1011
    for name in ("of-root", "theirs"):
        await owner.delete(f"/v1/vms/{door.vm}/pty/sessions/{name}")
