"""The dialect over the real core and a real HTTP server; every VM is the same real agent, an ordinary process."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
import pytest_asyncio
import uvicorn

from moonpool.app import serve
from tests.conftest import ManualClock
from tests.unit.inside import Inside, running_inside


@dataclass
class Door:
    """The server's address, what stands behind it, and a key."""

    url: str
    inside: Inside
    key: str

    @property
    def vm(self) -> str:
        return self.inside.sandbox.id

    def client(self, **headers: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, headers=headers, trust_env=False, verify=False, timeout=60)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def door(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Door]:
    async with running_inside(ManualClock(), tmp_path_factory.mktemp("freestyle")) as inside:
        key = (await inside.core.access.create_key(inside.owner, "owner")).secret
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
            listener.bind(("127.0.0.1", 0))
            app = serve(inside.core, inside.machines)
            config = uvicorn.Config(
                app, ws="websockets-sansio", log_level="warning", lifespan="off", timeout_graceful_shutdown=5
            )
            server = uvicorn.Server(config)
            serving = asyncio.create_task(server.serve([listener]))
            yield Door(f"http://127.0.0.1:{listener.getsockname()[1]}", inside, key)
            server.should_exit = True
            await serving


@pytest_asyncio.fixture(loop_scope="module")
async def owner(door: Door) -> AsyncIterator[httpx.AsyncClient]:
    async with door.client(Authorization=f"Bearer {door.key}") as client:
        yield client
