"""A server whose sandboxes' ports are this machine's own, and an app on one of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
import uvicorn

from moonpool.access.model import Principal
from moonpool.app import Application, Core, build
from moonpool.clock import Clock
from moonpool.config import Settings
from moonpool.sandboxes.model import NewSandbox, Sandbox
from tests.conftest import LOOPBACK, ManualClock
from tests.ports import free_port
from tests.unit.app.conftest import KEY, AnnouncedServer
from tests.unit.previews.apps import Answer, App, Client, ReachableMachines, connected, running_app

DOMAIN = "previews.test"


@dataclass
class Previews:
    """``sandbox`` is public."""

    application: Application
    core: Core
    machines: ReachableMachines
    admin: Principal
    port: int
    clock: ManualClock
    app: App
    sandbox: Sandbox

    def host(self, port: int | None = None, sandbox: Sandbox | None = None) -> str:
        return f"{port or self.app.port}-{(sandbox or self.sandbox).id}.{DOMAIN}"

    async def create(self, new: NewSandbox | None = None) -> Sandbox:
        return await self.core.sandboxes.create(self.admin, new or NewSandbox())

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        async with connected(self.port) as client:
            yield client

    async def ask(
        self, path: str = "/", *headers: str, host: str = "", method: str = "GET", body: str | bytes = ""
    ) -> Answer:
        """One request by a connection of its own; ``headers`` are whole lines."""
        content = body.encode() if isinstance(body, str) else body
        length = [f"Content-Length: {len(content)}"] if content else []
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host or self.host()}", *headers, *length, "", ""]
        async with self.client() as client:
            client.send("\r\n".join(lines).encode("latin-1") + content)
            return await client.answer()


@asynccontextmanager
async def serving(
    data: Path, clock: Clock, *, certificate: tuple[Path, Path] | None = None, **given: object
) -> AsyncIterator[tuple[Application, ReachableMachines, int]]:
    port, machines = free_port(), ReachableMachines()

    async def open_host(_settings: object) -> ReachableMachines:
        return machines

    settings = Settings(
        **{"data": data, "listen": f"{LOOPBACK}:{port}", "api_key": KEY, "log_level": "error", "domain": DOMAIN} | given
    )
    application = build(settings, open_host=open_host, clock=clock)
    config = uvicorn.Config(
        application.app,
        host=LOOPBACK,
        port=port,
        http=application.http_protocol,
        ws=application.websocket_protocol,
        lifespan="on",
        log_config=None,
        timeout_graceful_shutdown=1,
        ssl_certfile=certificate and certificate[0],
        ssl_keyfile=certificate and certificate[1],
    )
    server = AnnouncedServer(config)
    running = asyncio.create_task(server.serve())
    await server.listening.wait()
    try:
        yield application, machines, port
    finally:
        server.should_exit = True
        await running


@dataclass
class Served:
    """A server that the tests of a module share."""

    application: Application
    machines: ReachableMachines
    port: int
    clock: ManualClock


@asynccontextmanager
async def previewing(served: Served) -> AsyncIterator[Previews]:
    core = served.application.core
    assert core is not None
    async with running_app() as app:
        admin = await core.access.local_principal()
        sandbox = await core.sandboxes.create(admin, NewSandbox(public=True))
        yield Previews(served.application, core, served.machines, admin, served.port, served.clock, app, sandbox)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    clock = ManualClock()
    async with serving(tmp_path_factory.mktemp("data"), clock) as (application, machines, port):
        yield Served(application, machines, port, clock)


@pytest_asyncio.fixture(loop_scope="module")
async def previews(served: Served) -> AsyncIterator[Previews]:
    async with previewing(served) as previews:
        yield previews
