"""State events over Socket.IO, heard by a client like the SDK's."""

import asyncio
from typing import Any

import httpx
import pytest
import socketio
import websockets

from moonpool.access.service import AccessService
from moonpool.dialects.daytona import patience

EVENT_TIMEOUT = 10.0  # seconds


class Heard:
    """A connected client and what it hears, in order."""

    def __init__(self) -> None:
        self.client = socketio.AsyncClient(reconnection=False)
        self.events: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self.closed = asyncio.Event()
        for name in ("sandbox.created", "sandbox.state.updated"):
            self.client.on(name, self._keep(name))
        self.client.on("disconnect", self._close)

    def _keep(self, name: str) -> Any:
        async def keep(data: Any) -> None:
            self.events.put_nowait((name, data))

        return keep

    async def _close(self, *_reason: object) -> None:
        self.closed.set()

    async def connect(self, url: str, token: object) -> None:
        await self.client.connect(
            f"{url}?source=sdk-python&sdkVersion=0.226.1",
            socketio_path="/api/socket.io/",
            auth={"token": token},
            transports=["websocket"],
        )

    async def next(self) -> tuple[str, Any]:
        async with asyncio.timeout(EVENT_TIMEOUT):
            return await self.events.get()


@pytest.fixture
async def heard() -> Any:
    made = Heard()
    yield made
    await made.client.disconnect()


async def test_a_life_is_heard(live_url: str, api_key: str, heard: Heard, conforms: Any) -> None:
    await heard.connect(live_url, api_key)
    async with httpx.AsyncClient(base_url=live_url, headers={"Authorization": f"Bearer {api_key}"}) as client:
        made = (await client.post("/api/sandbox", json={"name": "heard"})).json()
        name, created = await heard.next()
        assert name == "sandbox.created"
        assert conforms("Sandbox", created)["id"] == made["id"]
        assert created["toolboxProxyUrl"] == f"{live_url}/toolbox"
        assert await states(heard, made["id"], "started") == [("starting", "started")]
        await client.post("/api/sandbox/heard/stop")
        assert await states(heard, made["id"], "stopped") == [("started", "stopping"), ("stopping", "stopped")]
        await client.delete("/api/sandbox/heard")
        assert await states(heard, made["id"], "destroyed") == [("stopped", "destroying"), ("destroying", "destroyed")]


async def states(heard: Heard, sandbox: str, last: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    while not found or found[-1][1] != last:
        name, data = await heard.next()
        assert name == "sandbox.state.updated"
        assert data["sandbox"]["id"] == sandbox
        assert data["sandbox"]["state"] == data["newState"]
        found.append((data["oldState"], data["newState"]))
    return found


@pytest.mark.parametrize("token", ["", "wrong", None, 5, {"a": 1}])
async def test_strangers_are_refused(live_url: str, heard: Heard, token: object) -> None:
    with pytest.raises(socketio.exceptions.ConnectionError):
        await heard.connect(live_url, token)


async def to_the_end(client: websockets.ClientConnection) -> None:
    while True:
        await client.recv()


@pytest.mark.parametrize("said", [[], ['40{"token": "wrong"}']], ids=["nothing", "a wrong key"])
async def test_who_does_not_say_who_it_is_does_not_stay(
    live_url: str, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    monkeypatch.setattr(patience, "LOGIN_TIMEOUT", 0.2)
    address = live_url.replace("http", "ws", 1) + "/api/socket.io/?EIO=4&transport=websocket"
    async with asyncio.timeout(EVENT_TIMEOUT), websockets.connect(address, proxy=None) as client:
        for message in said:
            await client.send(message)
        with pytest.raises(websockets.ConnectionClosed, match="policy violation"):
            await to_the_end(client)


async def test_a_stranger_s_message_is_not_unpacked_to_any_length(live_url: str) -> None:
    address = live_url.replace("http", "ws", 1) + "/api/socket.io/?EIO=4&transport=websocket"
    async with asyncio.timeout(EVENT_TIMEOUT), websockets.connect(address, proxy=None) as client:
        assert client.protocol.extensions  # A million zeros are a thousand bytes on the way.
        await client.send("0" * 1_000_000)
        with pytest.raises(websockets.ConnectionClosed, match="message too big"):
            await to_the_end(client)


async def test_other_teams_hear_nothing(live_url: str, api_key: str, stranger_key: str, heard: Heard) -> None:
    await heard.connect(live_url, stranger_key)
    async with httpx.AsyncClient(base_url=live_url) as client:
        await client.post("/api/sandbox", json={}, headers={"Authorization": f"Bearer {api_key}"})
        own = await client.post("/api/sandbox", json={}, headers={"Authorization": f"Bearer {stranger_key}"})
        _, created = await heard.next()
        assert created["id"] == own.json()["id"]


async def test_polling_is_not_offered(live_url: str) -> None:
    async with httpx.AsyncClient(base_url=live_url) as client:
        assert (await client.get("/api/socket.io/?EIO=4&transport=polling")).status_code == 400


async def test_a_revoked_key_hears_no_more(
    live_url: str, api_key: str, heard: Heard, access: AccessService, clock: Any
) -> None:
    principal = await access.authenticate(api_key)
    made = await access.create_key(principal, "short")
    await heard.connect(live_url, made.secret)
    await access.revoke_key(principal, "short")
    clock.advance(60)
    async with httpx.AsyncClient(base_url=live_url, headers={"Authorization": f"Bearer {api_key}"}) as client:
        await client.post("/api/sandbox", json={})
        async with asyncio.timeout(EVENT_TIMEOUT):
            await heard.closed.wait()
    assert heard.events.empty()
