"""The client on the event loop that the server runs on."""

import asyncio
import os
from pathlib import Path

import uvloop

from moonpool.guest.client import AgentClient
from moonpool.guest.model import Exited, ProcessSpec

from .conftest import RunningAgent


async def test_everything_that_touches_the_transport(running: RunningAgent, tmp_path: Path) -> None:
    await asyncio.to_thread(uvloop.run, _scenario(running.port, running.secret, tmp_path))


async def _scenario(port: int, secret: bytes, folder: Path) -> None:
    agent = await AgentClient.connect("127.0.0.1", port, secret, timeout=10)
    content = os.urandom(5_000_000)
    assert (await agent.run(ProcessSpec(argv=("cat",)), stdin=content)).stdout == content
    async with agent.write(f"{folder}/file") as writer:
        await writer.write(content)
    async with agent.read(f"{folder}/file") as reader:
        assert b"".join([piece async for piece in reader]) == content
    started = await agent.start(ProcessSpec(argv=("head", "-c", "5000000", "/dev/zero")))
    async with agent.attach(started.pid) as events:
        assert [event async for event in events][-1] == Exited(0, None, False)
    await agent.quiesce()
    assert agent.closed.is_set()
