"""Processes with a terminal."""

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest

from moonpool import errors
from moonpool.guest.client import AgentClient
from moonpool.guest.model import Exited, Output, ProcessEvent, ProcessSpec, TerminalSize

LIMIT = 30.0  # seconds that a test waits for anything
SHELL = ProcessSpec(
    argv=("bash", "--norc", "--noprofile", "-i"),
    env={"PS1": "$ ", "TERM": "dumb"},
    tag="shell",
    terminal=TerminalSize(24, 80),
)


async def until(events: AsyncIterator[ProcessEvent], wanted: bytes) -> bytes:
    """Read until the output contains something."""
    seen = b""
    async with asyncio.timeout(LIMIT):
        async for event in events:
            if isinstance(event, Output):
                assert event.stream == "terminal"
                seen += event.data
                if wanted in seen:
                    return seen
    raise AssertionError(f"the process ended without it: {seen!r}")


async def test_controlling_terminal(agent: AgentClient) -> None:
    text = "tty; ps -o tty= -p $$; test -t 0 -a -t 1 -a -t 2 && echo all three; echo > /dev/tty; echo $TERM"
    result = await agent.run(ProcessSpec(shell=text, terminal=TerminalSize()))
    lines = result.stdout.decode().split("\r\n")
    assert lines[0] == f"/dev/{lines[1].strip()}"
    assert lines[2:] == ["all three", "", "xterm-256color", ""]


@pytest.mark.parametrize("user", ["root", "nobody"])
async def test_belongs_to_its_user(agent: AgentClient, user: str) -> None:
    result = await agent.run(ProcessSpec(shell="stat -c %U $(tty)", terminal=TerminalSize(), user=user))
    assert result.stdout.decode().strip() == user


async def test_size_and_resize(agent: AgentClient) -> None:
    await agent.start(SHELL)
    async with agent.attach("shell") as events:
        await agent.write_stdin("shell", b"stty size\n")
        await until(events, b"24 80")
        await agent.resize("shell", 50, 120)
        await agent.write_stdin("shell", b"stty size\n")
        await until(events, b"50 120")
    described = await agent.process("shell")
    assert (described.terminal, described.rows, described.cols) == (True, 50, 120)


@pytest.mark.parametrize(("rows", "cols"), [(0, 80), (24, 0), (-1, 80), (65536, 80), (24, 10**12)])
async def test_impossible_size(agent: AgentClient, rows: int, cols: int) -> None:
    await agent.start(SHELL)
    with pytest.raises(errors.InvalidInput):
        await agent.resize("shell", rows, cols)


async def test_resize_without_a_terminal(agent: AgentClient) -> None:
    started = await agent.start(ProcessSpec(argv=("sleep", "1000")))
    with pytest.raises(errors.InvalidInput):
        await agent.resize(started.pid, 10, 10)


async def test_interrupt_reaches_the_foreground(agent: AgentClient) -> None:
    await agent.start(SHELL)
    async with agent.attach("shell") as events:
        await agent.write_stdin("shell", b"echo go; sleep 1000; echo code=$?\n")
        await until(events, b"\r\ngo\r\n")
        await agent.write_stdin("shell", b"\x03echo code=$?\n")
        await until(events, b"code=130\r\n")


async def test_reattach_shows_what_was_there(agent: AgentClient) -> None:
    await agent.start(SHELL)
    async with agent.attach("shell") as events:
        await agent.write_stdin("shell", b"X=kept; echo first-$X\n")
        await until(events, b"\r\nfirst-kept")
    async with agent.attach("shell") as events:
        await until(events, b"\r\nfirst-kept")
        await agent.write_stdin("shell", b"echo again-$X\n")
        await until(events, b"\r\nagain-kept")


async def test_several_readers_see_the_same(agent: AgentClient) -> None:
    await agent.start(SHELL)
    async with agent.attach("shell") as one, agent.attach("shell") as two:
        await agent.write_stdin("shell", b"echo both-$((1 + 1))\n")
        await until(one, b"both-2")
        await until(two, b"both-2")


async def test_end_of_input_ends_the_shell(agent: AgentClient) -> None:
    await agent.start(SHELL)
    async with agent.attach("shell") as events:
        await until(events, b"$ ")
        await agent.close_stdin("shell")
        async with asyncio.timeout(LIMIT):
            last = [event async for event in events][-1]
    assert isinstance(last, Exited)


async def test_forgetting_hangs_up(agent: AgentClient) -> None:
    await agent.start(SHELL)
    async with agent.attach("shell") as events:
        await agent.write_stdin("shell", b"sleep 1000 & echo pid=$!.\n")
        text = await until(events, b".\r\n")
        pid = text.rsplit(b"pid=", 1)[1].split(b".")[0].decode()
    await agent.forget("shell")
    probe = ("tail", "--pid", pid, "-s", "0.05", "-f", "/dev/null")
    await agent.run(ProcessSpec(shell=f"kill -HUP {pid} 2> /dev/null; :"))
    await asyncio.wait_for(agent.run(ProcessSpec(argv=probe)), LIMIT)


async def test_flood_is_held_back_and_interruptible(agent: AgentClient) -> None:
    await agent.start(ProcessSpec(argv=("yes",), tag="yes", terminal=TerminalSize()))
    async with agent.attach("yes") as events:
        await anext(events)
        await agent.write_stdin("yes", b"\x03")
        async with asyncio.timeout(LIMIT):
            last = [event async for event in events][-1]
    assert last == Exited(130, signal.SIGINT, False)


async def test_a_kill_ends_the_jobs_of_its_shell(agent: AgentClient) -> None:
    await agent.start(SHELL)
    async with agent.attach("shell") as events:
        await agent.write_stdin("shell", b"sleep 1000 & nohup sleep 1000 & (trap '' HUP; sleep 1000)\n")
        await until(events, b"[2]")
    await agent.signal("shell", signal.SIGKILL)
    async with asyncio.timeout(LIMIT):
        await agent.wait_alone()
    assert (await agent.process("shell")).signal == signal.SIGKILL


async def test_another_name(agent: AgentClient) -> None:
    started = await agent.start(SHELL)
    assert (await agent.retag("shell", "other")).tag == "other"
    assert (await agent.process("other")).pid == started.pid
    with pytest.raises(errors.ProcessNotFound):
        await agent.process("shell")
    await agent.start(SHELL)
    with pytest.raises(errors.NameTaken):
        await agent.retag("shell", "other")


async def test_what_was_written_is_counted(agent: AgentClient) -> None:
    await agent.run(ProcessSpec(argv=("true",)))
    await agent.start(ProcessSpec(shell="head -c 300000 /dev/zero; head -c 5 /dev/zero >&2", tag="zeros"))
    assert (await agent.wait("zeros", LIMIT)).written == 300_005
