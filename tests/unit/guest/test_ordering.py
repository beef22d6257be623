"""The order in which files of a folder grow."""

import asyncio
import os
from pathlib import Path

import pytest

from moonpool.errors import AccessDenied, FileNotFound, InvalidInput
from moonpool.guest.client import AgentClient
from moonpool.guest.model import GrowthRound, ProcessSpec

NAMES = ("stdout", "stderr")


async def ordered(agent: AgentClient, folder: Path, script: str) -> list[GrowthRound]:
    await agent.keep_order(str(folder), NAMES)
    await agent.run(ProcessSpec(argv=("sh", "-c", script), cwd=str(folder)))
    return await agent.order(str(folder))


async def test_files_written_one_after_the_other(agent: AgentClient, everyones: Path) -> None:
    found = await ordered(agent, everyones, "echo a >>stdout; echo b >>stderr; echo c >>stdout; echo other >>other")
    order = [index for one in found for index in one.order]
    assert [index for place, index in enumerate(order) if order[place - 1 : place] != [index]] == [0, 1, 0]
    assert [sum(one.grown[index] for one in found) for index in (0, 1)] == [4, 2]


async def test_what_was_there_before_does_not_count(agent: AgentClient, everyones: Path) -> None:
    (everyones / "stderr").write_text("old")
    assert sum(one.grown[1] for one in await ordered(agent, everyones, "echo new >>stderr")) == 4


async def test_a_file_that_shrinks_or_is_none_changes_nothing(agent: AgentClient, everyones: Path) -> None:
    (everyones / "stdout").write_text("0123456789")
    os.mkfifo(everyones / "stderr")
    assert await ordered(agent, everyones, "echo 1 >stdout; echo pipe 1<>stderr >&1") == []


async def test_a_folder_that_was_removed_is_forgotten(agent: AgentClient, everyones: Path) -> None:
    folder = everyones / "command"
    folder.mkdir()
    assert await ordered(agent, folder, "echo a >>stdout")
    await agent.remove(str(folder), recursive=True)
    folder.mkdir()
    assert await agent.order(str(folder)) == []


async def test_floods_of_both_are_bounded_and_whole(agent: AgentClient, everyones: Path) -> None:
    async with asyncio.timeout(60):
        script = "i=0; while [ $i -lt 20000 ]; do echo o >>stdout; echo e >>stderr; i=$((i+1)); done"
        found = await ordered(agent, everyones, script)
    assert [sum(one.grown[index] for one in found) for index in (0, 1)] == [40000, 40000]
    assert len(found) < 20000


async def test_refused_where_it_makes_no_sense(agent: AgentClient, everyones: Path) -> None:
    with pytest.raises(FileNotFound):
        await agent.keep_order(str(everyones / "none"), NAMES)
    with pytest.raises(InvalidInput):
        await agent.keep_order(str(everyones), ("../stdout",))
    closed = everyones / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(AccessDenied):
        await agent.keep_order(str(closed), NAMES, user="nobody")
