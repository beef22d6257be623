"""The order in which files of a folder grow."""

import asyncio
import os
from pathlib import Path

import pytest

from moonpool.errors import AccessDenied, FileNotFound, InvalidInput
from moonpool.guest.agent.ordering import Kept
from moonpool.guest.client import AgentClient
from moonpool.guest.model import GrowthRound, ProcessSpec
from moonpool.processes.interleaving import interleaved

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


@pytest.mark.parametrize(
    "looks",
    [
        [("e1 o1 e2", "eo"), ("o2", "eo")],
        [("e1 o1", "e"), ("e2 o2", "oeo")],
        [("e1 o1 e2", "eo"), ("", "e"), ("o2", "o")],
        [("e1 o1 e2 o2", "eoe"), ("", "o")],
        [("e1 o1 e2 o2", "eoe"), ("e3", "oe")],
        [("o1 o2 e1", "oe"), ("o3", "o")],
    ],
)
def test_writers_that_were_stopped_before_the_kernel_told_of_their_last_line(
    tmp_path: Path, looks: list[tuple[str, str]]
) -> None:
    kept = Kept(str(tmp_path), ("o", "e"), [0, 0])
    written: list[bytes] = []
    for lines, told in looks:
        for line in lines.split():
            written.append(f"{line}\n".encode())
            with (tmp_path / line[0]).open("ab") as file:
                file.write(written[-1])
        kept.measure()
        kept.grow(["oe".index(name) for name in told])
    outputs = [(tmp_path / name).read_bytes() for name in "oe"]
    rounds = [GrowthRound(order, grown) for order, grown in kept.rounds]
    assert b"".join(piece for _, piece in interleaved(outputs, (0, 0), rounds)) == b"".join(written)


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
