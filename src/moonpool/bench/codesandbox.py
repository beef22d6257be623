"""What CodeSandbox's SDK asks for: its requests, and a connected client that runs commands in shells."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgpack
import websockets

from moonpool.bench.figures import Figure, milliseconds_since
from moonpool.bench.http import call, open_client
from moonpool.bench.server import RunningServer, wait_until_ready

TEMPLATE = "pcz35m"  # what the SDK makes sandboxes from unless told otherwise
SIZE = {"cols": 128, "rows": 24}
PATIENCE = 60.0  # seconds for one answer


class Client:
    """One connection of the agent protocol."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count()

    async def ask(self, method: str, params: object) -> Any:
        """The result of a request; notifications that come before it are passed over."""
        number = await self._tell(method, params)
        while True:
            message = await self._next()
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(str(message["error"]))
                return message["result"]

    async def heard(self, method: str, shell: str) -> Any:
        while True:
            message = await self._next()
            if message["method"] == method and "id" not in message and message["params"]["shellId"] == shell:
                return message["params"]

    async def join(self) -> None:
        await self.ask("client/join", {"clientInfo": {"appId": "sdk"}, "asyncProgress": True, "subscriptions": {}})
        await self.ask("setup/get", {})

    async def shell(self, command: str) -> str:
        params = {"command": command, "size": SIZE, "type": "TERMINAL", "isSystemShell": True}
        return str((await self.ask("shell/create", params))["shellId"])

    async def run(self, command: str) -> None:
        """As ``commands.run`` does it: the shell gets a name, and its end is waited for."""
        shell = await self.shell(f"bash -c '{command}'")
        await self._tell("shell/rename", {"shellId": shell, "name": "{}"})
        if (await self.heard("shell/exit", shell))["exitCode"]:
            raise RuntimeError("the command failed")

    async def echo(self, shell: str, text: str) -> float:
        """Milliseconds until what was typed comes back."""
        started = time.perf_counter()
        await self._socket.send(
            msgpack.packb(
                {"method": "shell/in", "params": {"shellId": shell, "input": text, "size": SIZE}, "id": 1 << 30}
            )
        )
        seen = ""
        while text not in seen:
            seen += (await self.heard("shell/out", shell))["out"]
        return milliseconds_since(started)

    async def _tell(self, method: str, params: object) -> int:
        number = next(self._numbers)
        await self._socket.send(msgpack.packb({"method": method, "params": params, "id": number}))
        return number

    async def _next(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            message: dict[str, Any] = msgpack.unpackb(await self._socket.recv())
            return message


@contextlib.asynccontextmanager
async def connected(started: dict[str, Any]) -> AsyncIterator[Client]:
    address = f"{started['pitcher_url']}/?token={started['pitcher_token']}".replace("http", "ws", 1)
    async with websockets.connect(address, proxy=None, max_size=None) as socket:
        client = Client(socket)
        await client.join()
        yield client


async def create(client: httpx.AsyncClient) -> dict[str, Any]:
    """The answer to the start, as the SDK keeps it."""
    body = {"privacy": 2, "tags": ["sdk"], "path": "/SDK", "private_preview": False}
    made = (await call(client, "POST", f"/sandbox/{TEMPLATE}/fork", json=body))["data"]
    started: dict[str, Any] = (await call(client, "POST", f"/vm/{made['id']}/start", json={}))["data"]
    return started | {"id": made["id"]}


async def codesandbox_figures(server: RunningServer, runs: int) -> list[Figure]:
    creates, hibernations, resumes = [], [], []
    async with open_client(server) as client:
        for _ in range(runs):
            await wait_until_ready(server)
            begun = time.perf_counter()
            started = await create(client)
            async with connected(started) as peer:
                await peer.run("echo hi")
                creates.append(milliseconds_since(begun))
            begun = time.perf_counter()
            await call(client, "POST", f"/vm/{started['id']}/hibernate")
            hibernations.append(milliseconds_since(begun))
            begun = time.perf_counter()
            await call(client, "POST", f"/vm/{started['id']}/start", json={})
            resumes.append(milliseconds_since(begun))
            await call(client, "DELETE", f"/vm/{started['id']}")
    return [
        Figure(
            "create + connect + first command, CodeSandbox's requests", "ms", tuple(creates), bar="p50 <= 1.5 x runsc"
        ),
        Figure("hibernate, CodeSandbox's requests", "ms", tuple(hibernations), bar="p50 <= 2 x runsc"),
        Figure("resume, CodeSandbox's requests", "ms", tuple(resumes), bar="p50 <= 2 x runsc"),
    ]
