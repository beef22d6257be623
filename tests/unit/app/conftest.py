"""A whole server on a free port, its host in memory."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import uvicorn

from moonpool.app import Application, build
from moonpool.config import Settings
from tests.conftest import LOOPBACK
from tests.ports import free_port
from tests.unit.sandboxes.machines import MemoryMachines

KEY = "the-key-of-this-test"


@dataclass
class Running:
    application: Application
    machines: MemoryMachines
    port: int
    client: httpx.AsyncClient


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    port, machines = free_port(), MemoryMachines()

    async def open_host(_settings: object) -> MemoryMachines:
        return machines

    settings = Settings(data=tmp_path, listen=f"{LOOPBACK}:{port}", api_key=KEY, log_level="error")
    application = build(settings, open_host=open_host)
    config = uvicorn.Config(
        application.app, host=LOOPBACK, port=port, http=application.http_protocol, lifespan="on", log_config=None
    )
    server = AnnouncedServer(config)
    serving = asyncio.create_task(server.serve())
    await server.listening.wait()
    async with httpx.AsyncClient(base_url=f"http://{LOOPBACK}:{port}", trust_env=False, verify=False) as client:
        yield Running(application, machines, port, client)
    server.should_exit = True
    await serving


class AnnouncedServer(uvicorn.Server):
    """Tells when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: object = None) -> None:
        await super().startup()
        self.listening.set()
