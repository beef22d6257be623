"""A connection that leaves its socket and comes back by another: nothing that is in progress notices."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from moonpool.errors import AgentUnavailable
from moonpool.guest.client import AgentClient
from moonpool.guest.model import Identity, Output, ProcessEvent, ProcessSpec
from tests.unit.guest.conftest import RunningAgent

LIMIT = 60.0  # seconds that a test waits for anything
BYTES = 3_000_000  # more than both sides' buffers and windows hold


async def back(running: RunningAgent, client: AgentClient) -> None:
    await client.unpark("127.0.0.1", running.port, running.secret, timeout=10)


async def test_operations_begun_before_and_meanwhile_are_answered(running: RunningAgent, agent: AgentClient) -> None:
    async with asyncio.timeout(LIMIT):
        started = await agent.start(ProcessSpec(argv=("cat",), stdin=True, tag="cat"))
        before = asyncio.ensure_future(agent.wait("cat"))
        assert await agent.park() in (True, False)
        meanwhile = asyncio.ensure_future(agent.run(ProcessSpec(shell="echo hi")))
        await asyncio.sleep(0)  # It is asked.
        await back(running, agent)
        assert (await meanwhile).stdout == b"hi\n"
        await agent.close_stdin(started.pid)
        assert (await before).exit_code == 0


async def test_again_and_again_in_the_middle_of_a_flood(running: RunningAgent, agent: AgentClient) -> None:
    async with asyncio.timeout(LIMIT):
        command = f"head -c {BYTES} /dev/zero; echo end"
        flood = asyncio.ensure_future(agent.run(ProcessSpec(shell=command)))
        for _ in range(5):
            await agent.park()
            await back(running, agent)
        result = await flood
        assert result.stdout == bytes(BYTES) + b"end\n"


async def test_a_file_that_is_being_written(running: RunningAgent, agent: AgentClient, tmp_path: Path) -> None:
    async with asyncio.timeout(LIMIT):
        async with agent.write(str(tmp_path / "file")) as writer:
            await writer.write(b"first ")
            await agent.park()
            rest = asyncio.ensure_future(writer.write(b"second"))
            await asyncio.sleep(0)  # It waits.
            await back(running, agent)
            await rest
        assert (tmp_path / "file").read_bytes() == b"first second"


async def test_who_reads_a_process_goes_on_reading(running: RunningAgent, agent: AgentClient) -> None:
    async with asyncio.timeout(LIMIT):
        await agent.start(ProcessSpec(argv=("cat",), stdin=True, tag="cat"))
        async with agent.attach("cat") as events:
            await agent.write_stdin("cat", b"one\n")
            seen = await _output(events, b"one\n")
            await agent.park()
            await back(running, agent)
            await agent.write_stdin("cat", b"two\n")
            assert await _output(events, seen + b"two\n", seen) == b"one\ntwo\n"


async def _output(events: AsyncIterator[ProcessEvent], wanted: bytes, seen: bytes = b"") -> bytes:
    while seen != wanted:
        event = await anext(events)
        if isinstance(event, Output):
            seen += event.data
    return seen


async def test_in_a_copy_nobody_is_connected(running: RunningAgent, agent: AgentClient) -> None:
    async with asyncio.timeout(LIMIT):
        program = asyncio.ensure_future(agent.run(ProcessSpec(shell="sleep 1000")))
        await agent.park()
        owner = await running.connect()
        await owner.thaw(Identity(secret=running.secret))
        with pytest.raises(AgentUnavailable):
            await back(running, agent)
        with pytest.raises(AgentUnavailable):
            await program
        assert agent.closed.is_set()
        await owner.wait_alone()  # Its program went with it.
        await owner.close()


async def test_an_agent_that_is_gone(running: RunningAgent, agent: AgentClient) -> None:
    async with asyncio.timeout(LIMIT):
        program = asyncio.ensure_future(agent.run(ProcessSpec(shell="sleep 1000")))
        await agent.park()
        await running.kill()
        with pytest.raises(AgentUnavailable):
            await agent.unpark("127.0.0.1", running.port, running.secret, timeout=0.2)
        with pytest.raises(AgentUnavailable):
            await program
