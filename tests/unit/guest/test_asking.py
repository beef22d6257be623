"""A question to a process in one round trip."""

import asyncio
import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from moonpool import errors
from moonpool.guest.client import AgentClient
from moonpool.guest.model import FileInfo, Output, ProcessEvent, ProcessInfo, ProcessSpec, SeenFile

ECHO = ProcessSpec(argv=("cat",), stdin=True, tag="echo")
LIMIT = 20.0  # seconds


@asynccontextmanager
async def asking(
    agent: AgentClient, question: bytes, seen: SeenFile | None = None
) -> AsyncIterator[tuple[ProcessInfo, AsyncIterator[ProcessEvent], bool]]:
    async with asyncio.timeout(LIMIT), agent.ask("echo", question, seen) as answer:
        yield answer


async def answer_of(events: AsyncIterator[ProcessEvent]) -> bytes:
    event = await anext(events)
    assert isinstance(event, Output)
    return event.data


def as_seen(info: FileInfo, user: str | None = None) -> SeenFile:
    return SeenFile(info.path, (info.changed_at, info.modified_at, info.size), user)


async def test_the_answer_alone_is_heard(agent: AgentClient) -> None:
    await agent.start(ECHO)
    for question in (b"first\n", b"second\n"):
        async with asking(agent, question) as (info, events, asked):
            assert (info.running, info.tag, asked) == (True, "echo", True)
            assert await answer_of(events) == question


async def test_only_while_a_file_is_as_it_was(agent: AgentClient, tmp_path: Path) -> None:
    await agent.start(ECHO)
    file = tmp_path / "file"
    file.write_text("one")
    seen = as_seen(await agent.stat(str(file)))
    async with asking(agent, b"asked\n", seen) as (_, events, asked):
        assert asked
        assert await answer_of(events) == b"asked\n"
    file.write_text("two more")
    async with asking(agent, b"not asked\n", seen) as (info, events, asked):
        assert not asked
        await agent.write_stdin(info.pid, b"told\n")
        assert await answer_of(events) == b"told\n"
    file.unlink()
    async with asking(agent, b"not asked\n", seen) as (_, _, asked):
        assert not asked


async def test_a_file_is_looked_at_with_its_users_rights(agent: AgentClient, tmp_path: Path) -> None:
    await agent.start(ECHO)
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o700)
    (folder / "file").write_text("one")
    info = await agent.stat(str(folder / "file"))
    for user, expected in (("root", True), ("nobody", False)):
        async with asking(agent, b"asked\n", as_seen(info, user)) as (_, _, asked):
            assert asked is expected


async def test_nothing_is_written_in_part(agent: AgentClient) -> None:
    """What does not fit into a pipe in one piece, or into a full one, is not begun."""
    await agent.start(ECHO)
    async with asking(agent, bytes(select.PIPE_BUF + 1)) as (_, events, asked):
        assert not asked
        await agent.write_stdin("echo", b"told\n")
        assert await answer_of(events) == b"told\n"
    await agent.start(ProcessSpec(argv=("sleep", "1000"), stdin=True, tag="deaf"))
    writing = asyncio.ensure_future(agent.write_stdin("deaf", bytes(1 << 20)))
    while True:
        async with asyncio.timeout(LIMIT), agent.ask("deaf", b"x" * select.PIPE_BUF) as (_, _, asked):
            if not asked:
                break
    await agent.forget("deaf")
    with pytest.raises(errors.ProcessEnded):
        await writing


async def test_who_has_ended_is_asked_nothing(agent: AgentClient) -> None:
    await agent.start(ProcessSpec(argv=("true",), stdin=True, tag="echo"))
    await agent.wait("echo", LIMIT)
    async with asking(agent, b"question\n") as (info, _, asked):
        assert (info.running, asked) == (False, False)
    with pytest.raises(errors.ProcessNotFound):
        async with agent.ask("nobody", b"question\n"):
            pytest.fail("somebody was asked")
