"""A folder as an archive."""

import io
import os
import stat
import zipfile
from pathlib import Path

import pytest

from moonpool import errors
from moonpool.guest.client import AgentClient

from .conftest import RunningAgent


async def fetch(agent: AgentClient, path: Path, **options: object) -> zipfile.ZipFile:
    async with agent.archive(str(path), **options) as reader:  # type: ignore[arg-type]
        assert (reader.info.path, reader.info.kind) == (str(path), "directory")
        return zipfile.ZipFile(io.BytesIO(b"".join([piece async for piece in reader])))


@pytest.fixture
def tree(everyones: Path) -> Path:
    tree = everyones / "tree"
    (tree / "a/node_modules/b").mkdir(parents=True)
    (tree / "a/node_modules/b/x").write_text("x")
    (tree / "a/run").write_text("#!/bin/sh\n")
    (tree / "a/run").chmod(0o755)
    (tree / "a/link").symlink_to("../missing")
    (tree / "empty").mkdir()
    (tree / "big").write_bytes(os.urandom(3 << 20) + bytes(3 << 20))
    os.mkfifo(tree / "fifo")
    return tree


async def test_everything_in_it(agent: AgentClient, tree: Path) -> None:
    archive = await fetch(agent, tree)
    assert archive.testzip() is None
    assert archive.namelist() == [
        "a/",
        "a/link",
        "a/node_modules/",
        "a/node_modules/b/",
        "a/node_modules/b/x",
        "a/run",
        "big",
        "empty/",
    ]
    assert archive.read("big") == (tree / "big").read_bytes()
    assert stat.S_IMODE(archive.getinfo("a/run").external_attr >> 16) == 0o755
    assert stat.S_ISLNK(archive.getinfo("a/link").external_attr >> 16)
    assert archive.read("a/link") == b"../missing"


async def test_excludes(agent: AgentClient, tree: Path) -> None:
    archive = await fetch(agent, tree, excludes=("node_modules", "a/l*", f"{tree}/big", "/empty"))
    assert archive.namelist() == ["a/", "a/run", "empty/"]


async def test_odd_names_and_times(agent: AgentClient, everyones: Path) -> None:
    for name, when in ((b"a\xff", 0), ("ü".encode(), 2**33), (b"future", 2**40)):
        path = os.fsencode(everyones) + b"/" + name
        Path(os.fsdecode(path)).touch()
        os.utime(path, (when, when))
    archive = await fetch(agent, everyones)
    assert sorted(archive.namelist()) == ["a\ufffd", "future", "ü"]
    assert archive.getinfo("a\ufffd").date_time[0] == 1980
    assert archive.getinfo("future").date_time[0] == 2107


async def test_rights_of_the_user(agent: AgentClient, tree: Path) -> None:
    (tree / "a").chmod(0o700)
    (tree / "big").chmod(0o600)
    assert (await fetch(agent, tree, user="nobody")).namelist() == ["a/", "empty/"]
    tree.chmod(0o700)
    with pytest.raises(errors.AccessDenied):
        await fetch(agent, tree, user="nobody")


async def test_what_is_no_folder(agent: AgentClient, tree: Path) -> None:
    with pytest.raises(errors.NotADirectory):
        await fetch(agent, tree / "big")
    with pytest.raises(errors.FileNotFound):
        await fetch(agent, tree / "missing")


async def test_neither_side_keeps_it(agent: AgentClient, running: RunningAgent, everyones: Path) -> None:
    """A reader who takes his time holds the agent back."""
    for number in range(4):
        (everyones / str(number)).write_bytes(os.urandom(1 << 20) * 16)
    before = memory(running)
    async with agent.archive(str(everyones)) as reader:
        pieces = aiter(reader)
        total = len(await anext(pieces))
        await agent.ping()
        async for piece in pieces:
            total += len(piece)
            assert len(piece) <= 1 << 20
    assert total > 60 << 20
    assert memory(running) - before < 24 << 20


def memory(running: RunningAgent) -> int:
    """The most that the agent has had so far, in bytes."""
    status = Path(f"/proc/{running.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10
