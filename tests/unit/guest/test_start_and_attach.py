"""A process and its first reader in one step."""

import asyncio

import pytest

from moonpool import errors
from moonpool.guest.client import AgentClient
from moonpool.guest.model import Exited, Output, ProcessSpec

MUCH = 40 << 20  # bytes: more than is kept of an output that nobody reads
LIMIT = 60.0  # seconds


async def test_nothing_is_lost_however_much_comes_at_once(agent: AgentClient) -> None:
    spec = ProcessSpec(shell=f"head -c {MUCH} /dev/zero; echo end >&2", tag="much")
    total, last, dropped = 0, b"", 0
    async with asyncio.timeout(LIMIT), agent.start_and_attach(spec) as (info, events):
        assert (info.running, info.tag) == (True, "much")
        await agent.ping()  # meanwhile it writes
        async for event in events:
            if isinstance(event, Output):
                dropped += event.dropped
                total += len(event.data)
                last = event.data if event.stream == "stderr" else last
    assert (total, last, dropped) == (MUCH + len(b"end\n"), b"end\n", 0)
    assert (await agent.process("much")).exit_code == 0


async def test_a_quick_end_is_told(agent: AgentClient) -> None:
    async with asyncio.timeout(LIMIT), agent.start_and_attach(ProcessSpec(shell="echo hi; exit 3")) as (_, events):
        seen = [event async for event in events]
    assert [event.data for event in seen if isinstance(event, Output)] == [b"hi\n"]
    assert seen[-1] == Exited(3, None, False)


async def test_it_goes_on_without_its_reader(agent: AgentClient) -> None:
    async with agent.start_and_attach(ProcessSpec(shell="read line; echo $line", stdin=True, tag="on")) as (info, _):
        pass
    await agent.write_stdin(info.pid, b"later\n")
    assert (await agent.wait("on", LIMIT)).exit_code == 0


async def test_what_cannot_be_started(agent: AgentClient) -> None:
    with pytest.raises(errors.CommandNotFound):
        async with agent.start_and_attach(ProcessSpec(argv=("no-such-program",))):
            pytest.fail("it was started")
