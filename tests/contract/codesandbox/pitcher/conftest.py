"""The agent protocol over the real core, a real HTTP server and real agents, spoken by a plain websocket client."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgpack
import pytest
import pytest_asyncio
import uvicorn
import websockets
from jsonschema import ValidationError
from pydantic import SecretStr

from moonpool.access.model import Principal
from moonpool.app import Core
from moonpool.clock import SystemClock
from moonpool.config import Settings
from moonpool.dialects import codesandbox
from moonpool.dialects.codesandbox.pitcher.tokens import Grant, Permission, Tokens
from moonpool.dialects.common.protocol import BoundedHttpProtocol
from moonpool.dialects.common.sockets import MAX_MESSAGE_BYTES, PatientWebSocketProtocol
from moonpool.sandboxes.model import NewSandbox, SandboxState
from tests.contract import record
from tests.contract.codesandbox.machines import AgentMachines
from tests.contract.codesandbox.pitcher import shapes
from tests.databases import open_store

KEY = "a-key-of-these-tests"
WORKSPACE = "/project/workspace"
PATIENCE = 60  # seconds for anything to happen

# One server for the tests of a file; each test has sandboxes of its own.
shared = pytest_asyncio.fixture(scope="module", loop_scope="module")
each = pytest_asyncio.fixture(loop_scope="module")


class Refused(Exception):
    """An error of the protocol: ``args`` are its code and its message."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(error["code"], error["message"])
        self.code: int = error["code"]
        self.data = error.get("data")


@dataclass
class Peer:
    """A client: requests by name, notifications as they come."""

    socket: websockets.ClientConnection
    answers: dict[int, "asyncio.Future[Any]"] = field(default_factory=dict)
    told: list[tuple[str, Any]] = field(default_factory=list)
    order: list[str] = field(default_factory=list)
    next_id: int = 0
    news: asyncio.Condition = field(default_factory=asyncio.Condition)
    reading: "asyncio.Task[None] | None" = None

    async def read(self) -> None:
        with contextlib.suppress(websockets.ConnectionClosed):
            async for frame in self.socket:
                if isinstance(frame, str):
                    await self.note("pong", frame)
                    continue
                message = msgpack.unpackb(frame)
                if "id" not in message:
                    assert set(message) == {"method", "params"}
                    shapes.check(shapes.NOTIFICATIONS[message["method"]], message["params"])
                    await self.note(message["method"], message["params"])
                    continue
                self.order.append(f"answer {message['method']}")
                answer = self.answers.pop(message["id"])
                try:
                    answer.set_result(result_of(message))
                except (AssertionError, ValidationError, Refused) as error:
                    answer.set_exception(error)
        await self.note("closed", None)

    async def note(self, method: str, params: Any) -> None:
        async with self.news:
            self.told.append((method, params))
            self.order.append(method)
            self.news.notify_all()

    async def call(self, method: str, /, **params: Any) -> Any:
        return await self.ask(method, params)

    async def ask(self, method: str, params: Any) -> Any:
        number, self.next_id = self.next_id, self.next_id + 1
        answer = self.answers[number] = asyncio.get_running_loop().create_future()
        await self.socket.send(msgpack.packb({"method": method, "params": params, "id": number}))
        async with asyncio.timeout(PATIENCE):
            return await answer

    async def heard(self, method: str, **fields: Any) -> Any:
        """The first notification of that name with those fields, whether it has come already or not."""

        def found() -> list[Any]:
            return [
                params
                for name, params in self.told
                if name == method and all(params[name] == value for name, value in fields.items())
            ]

        async with asyncio.timeout(PATIENCE), self.news:
            await self.news.wait_for(found)
            return found()[0]

    async def output(self, shell: str, text: str) -> str:
        """What a shell has written, once ``text`` is in it."""

        def written() -> str:
            return "".join(told["out"] for name, told in self.told if name == "shell/out" and told["shellId"] == shell)

        async with asyncio.timeout(PATIENCE), self.news:
            await self.news.wait_for(lambda: text in written())
            return written()

    async def run(self, command: str, **options: Any) -> tuple[int, str]:
        """As the SDK's ``commands.run`` does it: the exit code, and the pieces joined by line breaks."""
        wrapped = f"source $HOME/.private/.env 2>/dev/null || true && bash -c '{command}'"
        made = await self.call("shell/create", command=wrapped, type="TERMINAL", isSystemShell=True, **options)
        await self.call("shell/rename", shellId=made["shellId"], name='{"type":"command","command":"it"}')
        exited = await self.heard("shell/exit", shellId=made["shellId"])
        pieces = [told["out"] for name, told in self.told if name == "shell/out" and told["shellId"] == made["shellId"]]
        return exited["exitCode"], "\n".join(pieces)

    async def close(self) -> None:
        await self.socket.close()
        if self.reading is not None:
            await self.reading


def result_of(message: Mapping[str, Any]) -> Any:
    """Once the answer has been found to be as the SDK wants it."""
    assert ("result" in message) != ("error" in message)
    assert message["status"] == ("error" in message)
    if "error" in message:
        shapes.check_error(message["error"])
    else:
        shapes.check(shapes.RESULTS[message["method"]], message["result"])
    if "error" in message:
        raise Refused(message["error"])
    record.add("pitcher", f"message {message['method']}")
    return message["result"]


@dataclass
class World:
    """A server with sandboxes: ``base`` is its address."""

    core: Core
    machines: AgentMachines
    principal: Principal
    base: str
    tokens: Tokens

    async def sandbox(self, **wanted: Any) -> str:
        return (await self.core.sandboxes.create(self.principal, NewSandbox(snapshot="pcz35m", **wanted))).id

    def token(self, sandbox: str, permission: Permission = "write", **changed: str) -> str:
        fields = {"team_id": self.principal.team_id, "user": "root", "home": "/root", "workspace": WORKSPACE, **changed}
        return self.tokens.mint(Grant(sandbox, permission=permission, **fields))

    def address(self, sandbox: str, token: str | None = None, slash: str = "/") -> str:
        return f"{self.base.replace('http', 'ws', 1)}/pitcher/{sandbox}{slash}?token={token or self.token(sandbox)}"

    @asynccontextmanager
    async def connected(self, sandbox: str, token: str | None = None, **options: Any) -> AsyncIterator[Peer]:
        address = self.address(sandbox, token, options.pop("slash", "/"))
        async with websockets.connect(address, proxy=None, max_size=MAX_MESSAGE_BYTES, **options) as connection:
            peer = Peer(connection)
            peer.reading = asyncio.create_task(peer.read())
            try:
                yield peer
            finally:
                await peer.close()

    async def state(self, sandbox: str) -> SandboxState:
        return (await self.core.sandboxes.get(self.principal, sandbox)).state

    def root(self, sandbox: str) -> Path:
        """The sandbox's root folder, as seen from here; there once anybody has connected."""
        return self.machines.root(sandbox)


@shared
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running_world(tmp_path_factory.mktemp("data")) as running:
        yield running


@asynccontextmanager
async def running_world(data: Path, machines: AgentMachines | None = None) -> AsyncIterator[World]:
    """``machines`` of an earlier one, to be taken over, are kept at the end."""
    settings = Settings(data=data, api_key=SecretStr(KEY), on_exit="keep", public_url="http://csb.test")
    async with AsyncExitStack() as stack:
        if machines is None:
            machines = AgentMachines()
            stack.push_async_callback(machines.close)
        store = await open_store(data)
        stack.push_async_callback(store.close)
        core = Core(settings, store, machines, SystemClock())
        stack.push_async_callback(core.stop)
        await core.start()
        services = core.services
        base = await stack.enter_async_context(serving(codesandbox.create_app(services)))
        tokens = Tokens(services.server.signing_key, services.clock)
        yield World(core, machines, await core.access.authenticate(KEY), base, tokens)


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            app,
            http=BoundedHttpProtocol,
            ws=PatientWebSocketProtocol,
            ws_max_size=MAX_MESSAGE_BYTES,
            log_level="warning",
            lifespan="off",
            timeout_graceful_shutdown=5,
        )
        server = uvicorn.Server(config)
        running = asyncio.create_task(server.serve([listener]))
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        await running


@each
async def sandbox(world: World) -> AsyncIterator[str]:
    made = await world.sandbox()
    yield made
    await world.core.sandboxes.destroy(world.principal, made)


@each
async def peer(world: World, sandbox: str) -> AsyncIterator[Peer]:
    async with world.connected(sandbox) as connected:
        yield connected
