"""A real agent, started as an ordinary process on loopback, and clients connected to it."""

import asyncio
import contextlib
import os
import secrets
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

import moonpool.guest.agent
from moonpool.guest.client import AgentClient

AGENT = Path(moonpool.guest.agent.__file__).parent


@dataclass
class RunningAgent:
    """An agent and the means to reach it."""

    process: asyncio.subprocess.Process
    port: int
    secret: bytes

    async def connect(self, secret: bytes | None = None) -> AgentClient:
        return await AgentClient.connect("127.0.0.1", self.port, secret or self.secret, timeout=10)


@contextlib.asynccontextmanager
async def running_agent(prefix: Sequence[str] = ()) -> AsyncIterator[RunningAgent]:
    secret = secrets.token_hex(16)
    process = await asyncio.create_subprocess_exec(
        *prefix,
        sys.executable,
        "-I",
        "-S",
        str(AGENT),
        env={"MOONPOOL_AGENT_SECRET": secret, "MOONPOOL_AGENT_LISTEN": "127.0.0.1:0", "PATH": os.environ["PATH"]},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), 20)
        yield RunningAgent(process, int(line.split()[-1]), secret.encode())
    finally:
        process.kill()
        await process.wait()


@pytest.fixture
async def running() -> AsyncIterator[RunningAgent]:
    async with running_agent() as agent:
        yield agent


@pytest.fixture
async def agent(running: RunningAgent) -> AsyncIterator[AgentClient]:
    client = await running.connect()
    yield client
    await client.close()
