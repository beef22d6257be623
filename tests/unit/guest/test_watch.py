"""Changes of files, as they happen."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from moonpool import errors
from moonpool.guest.client import AgentClient
from moonpool.guest.model import FileEvent, ProcessSpec

from .conftest import RunningAgent

LIMIT = 60.0  # seconds that a test waits for anything
Told = tuple[str, str]


class Watched:
    """Collects events; paths are told relative to the watched folder."""

    def __init__(self, agent: AgentClient, folder: Path, events: AsyncIterator[FileEvent]) -> None:
        self.agent, self.folder, self._events = agent, folder, events

    async def run(self, command: str, **fields: str) -> None:
        result = await self.agent.run(ProcessSpec(shell=command, cwd=str(self.folder), **fields))
        assert result.exit_code == 0, result.stderr

    async def until(self, *last: Told) -> list[Told]:
        """Every event until all of these have come."""
        told: list[Told] = []
        missing = set(last)
        async with asyncio.timeout(LIMIT):
            while missing:
                told.append(self.tell(await anext(self._events)))
                missing.discard(told[-1])
        return told

    async def until_below(self, start: str) -> None:
        async with asyncio.timeout(LIMIT):
            while not self.tell(await anext(self._events))[1].startswith(start):
                pass

    async def run_again(self, command: str) -> None:
        while True:
            await self.run(command)

    def tell(self, event: FileEvent) -> Told:
        path = os.path.relpath(event.path, self.folder)
        return event.kind, f"{os.path.relpath(event.old_path, self.folder)} > {path}" if event.old_path else path

    async def rest(self) -> list[Told]:
        """Every event until the watch ends by itself."""
        async with asyncio.timeout(LIMIT):
            return [self.tell(event) async for event in self._events]


@asynccontextmanager
async def watching(
    agent: AgentClient,
    folder: Path,
    *,
    path: Path | None = None,
    recursive: bool = True,
    excludes: Sequence[str] = (),
    user: str | None = None,
) -> AsyncIterator[Watched]:
    watch = agent.watch(str(path or folder), recursive=recursive, excludes=excludes, user=user)
    async with watch as events:
        yield Watched(agent, folder, events)


class TestFolder:
    async def test_files(self, agent: AgentClient, everyones: Path) -> None:
        async with watching(agent, everyones) as watched:
            await watched.run("echo 1 > f")
            assert await watched.until(("modified", "f")) == [("created", "f"), ("modified", "f")]
            await watched.run("chmod 600 f")
            assert ("attributes", "f") in await watched.until(("attributes", "f"))
            await watched.run("mv f g")
            assert await watched.until(("moved", "f > g")) == [("moved", "f > g")]
            await watched.run(": > g")
            assert await watched.until(("modified", "g")) == [("modified", "g")]
            await watched.run("rm g")
            assert ("deleted", "g") in await watched.until(("deleted", "g"))

    async def test_in_and_out(self, agent: AgentClient, everyones: Path) -> None:
        (everyones / "in").mkdir()
        (everyones / "out/new").mkdir(parents=True)
        (everyones / "out/new/f").touch()
        async with watching(agent, everyones / "in") as watched:
            await watched.run("mv ../out/new .")
            assert await watched.until(("created", "new/f")) == [("created", "new"), ("created", "new/f")]
            await watched.run("mv new ../out/")
            assert await watched.until(("deleted", "new")) == [("deleted", "new")]
            await watched.run("touch ../out/new/unseen seen")
            assert await watched.until(("created", "seen")) == [("created", "seen")]

    async def test_not_below_unless_asked(self, agent: AgentClient, everyones: Path) -> None:
        (everyones / "below").mkdir()
        async with watching(agent, everyones, recursive=False) as watched:
            await watched.run("touch below/unseen; mkdir new; touch new/unseen; touch seen")
            told = await watched.until(("created", "seen"))
        assert [path for kind, path in told if kind == "created"] == ["new", "seen"]

    async def test_many_writes_are_few_events(self, agent: AgentClient, everyones: Path) -> None:
        async with watching(agent, everyones) as watched:
            await watched.run("for n in $(seq 5000); do echo $n; echo $n >&2; done > a 2> b; touch end")
            told = await watched.until(("created", "end"))
        assert len(told) < 2000

    async def test_names_that_are_no_text(self, agent: AgentClient, everyones: Path) -> None:
        async with watching(agent, everyones) as watched:
            await watched.run(r"touch $'a\xff\nb'")
            assert await watched.until(("created", "a\udcff\nb"))

    async def test_its_end(self, agent: AgentClient, everyones: Path) -> None:
        folder = everyones / "folder"
        (folder / "below").mkdir(parents=True)
        async with watching(agent, folder) as watched:
            await agent.remove(str(folder), recursive=True)
            assert await watched.rest() == [("deleted", "below"), ("deleted", ".")]

    async def test_a_link_to_it(self, agent: AgentClient, everyones: Path) -> None:
        (everyones / "folder").mkdir()
        (everyones / "link").symlink_to("folder")
        async with watching(agent, everyones, path=everyones / "link") as watched:
            await watched.run("touch folder/f")
            assert await watched.until(("created", "link/f"))


class TestBelow:
    async def test_new_folders_and_what_is_in_them_already(self, agent: AgentClient, everyones: Path) -> None:
        names = [f"{n}/a/b" for n in range(40)]
        async with watching(agent, everyones) as watched:
            await watched.run(f"for n in {' '.join(names)}; do mkdir -p $n; touch $n/f; done; touch end")
            told = await watched.until(*(("created", f"{name}/f") for name in names), ("created", "end"))
        created = [path for kind, path in told if kind == "created"]
        assert len(created) == len(set(created)) == 4 * len(names) + 1

    async def test_renamed_folders(self, agent: AgentClient, everyones: Path) -> None:
        (everyones / "old/below").mkdir(parents=True)
        async with watching(agent, everyones) as watched:
            await watched.run("mv old new; touch new/below/f")
            assert await watched.until(("created", "new/below/f")) == [
                ("moved", "old > new"),
                ("created", "new/below/f"),
            ]

    async def test_made_removed_and_made_again(self, agent: AgentClient, everyones: Path) -> None:
        async with watching(agent, everyones) as watched:
            await watched.run("for n in $(seq 50); do mkdir -p $n/a; touch $n/f; rm -r $n; mkdir $n; touch $n/f; done")
            await watched.run("touch end")
            told = await watched.until(("created", "end"))
        for n in range(1, 51):
            about = [kind for kind, path in told if path == str(n)]
            assert about[-1] == "created", about
            assert about.count("created") - about.count("deleted") == 1, about
            assert ("created", f"{n}/f") in told

    async def test_renamed_as_soon_as_made(self, agent: AgentClient, everyones: Path) -> None:
        async with watching(agent, everyones) as watched:
            await watched.run("for n in $(seq 30); do mkdir a; mv a $n; touch $n/f; done")
            await watched.until(*(("created", f"{n}/f") for n in range(1, 31)))

    async def test_links_are_not_followed(self, agent: AgentClient, everyones: Path) -> None:
        (everyones / "in").mkdir()
        (everyones / "out").mkdir()
        async with watching(agent, everyones / "in") as watched:
            await watched.run("ln -s ../out link; touch ../out/unseen; touch seen")
            assert await watched.until(("created", "seen")) == [("created", "link"), ("created", "seen")]

    async def test_excluded(self, agent: AgentClient, everyones: Path) -> None:
        (everyones / "node_modules").mkdir()
        excludes = ("node_modules", "**/*.log", "build/**", f"{everyones}/whole", "/whole", "/seen")
        async with watching(agent, everyones, excludes=excludes) as watched:
            await watched.run(
                "touch node_modules/x; mkdir whole; mkdir -p a/node_modules/b build/c; touch a/node_modules/b/x a/y.log"
            )
            await watched.run("touch build/c/x z.log; mv z.log z.txt; mv z.txt a/z.log; touch seen")
            told = await watched.until(("created", "seen"))
        assert {path for _, path in told} == {"a", "z.txt", "seen"}
        assert ("deleted", "z.txt") in told


class TestOneFile:
    async def test_written_and_replaced(self, agent: AgentClient, everyones: Path) -> None:
        file = everyones / "f"
        file.touch()
        async with watching(agent, everyones, path=file) as watched:
            await watched.run("touch other; echo 1 >> f")
            assert await watched.until(("modified", "f")) == [("modified", "f")]
            await watched.run("echo 2 > other; mv other f")
            assert await watched.until(("modified", "f"))
            await watched.run("rm f")
            assert ("deleted", "f") in await watched.until(("deleted", "f"))
            await watched.run("touch f")
            assert ("created", "f") in await watched.until(("created", "f"))

    async def test_its_folder_goes(self, agent: AgentClient, everyones: Path) -> None:
        file = everyones / "folder/f"
        file.parent.mkdir()
        file.touch()
        async with watching(agent, everyones, path=file) as watched:
            await watched.run("rm -r folder")
            assert await watched.rest() == [("deleted", "folder/f")]


class TestOwnWrites:
    """What the agent itself writes looks as if it had been written in place."""

    async def test_upload(self, agent: AgentClient, everyones: Path) -> None:
        path = str(everyones / "f")
        async with watching(agent, everyones) as watched:
            async with agent.write(path) as file:
                await file.write(b"1")
            assert await watched.until(("created", "f")) == [("created", "f")]
            async with agent.write(path) as file:
                await file.write(b"2")
            assert await watched.until(("modified", "f")) == [("modified", "f")]
            await agent.move(path, str(everyones / "g"))
            assert await watched.until(("moved", "f > g")) == [("moved", "f > g")]


class TestRefused:
    async def test_missing(self, agent: AgentClient, everyones: Path) -> None:
        with pytest.raises(errors.FileNotFound):
            async with agent.watch(str(everyones / "missing"), recursive=True):
                pass

    async def test_rights_of_the_user(self, agent: AgentClient, everyones: Path) -> None:
        (everyones / "closed").mkdir(mode=0o700)
        with pytest.raises(errors.AccessDenied):
            async with agent.watch(str(everyones / "closed"), user="nobody"):
                pass
        async with watching(agent, everyones, user="nobody") as watched:
            await watched.run("touch closed/unseen; touch seen")
            assert await watched.until(("created", "seen")) == [("created", "seen")]


class TestClients:
    async def test_several(self, agent: AgentClient, running: RunningAgent, everyones: Path) -> None:
        other = await running.connect()
        async with watching(agent, everyones) as first, watching(other, everyones) as second:
            await first.run("touch f")
            await first.until(("created", "f"))
            await second.until(("created", "f"))
        await other.close()

    async def test_one_that_does_not_read_is_told_to_look_again(self, agent: AgentClient, everyones: Path) -> None:
        """And nothing grows meanwhile: neither side keeps more than its bound."""
        async with watching(agent, everyones) as watched:
            long = "x" * 150
            await watched.run(f"seq -f {long}%.0f 20000 | xargs touch; mkdir new")
            told = await watched.until(("overflow", "."))
            assert len(told) < 60_000
            writing = asyncio.ensure_future(watched.run_again("touch new/$(date +%N)"))
            await watched.until_below("new/")
            writing.cancel()

    async def test_goes_with_its_client(self, agent: AgentClient, running: RunningAgent, everyones: Path) -> None:
        other = await running.connect()
        async with watching(other, everyones):
            assert instances(running) == 1
        await other.ping()
        assert instances(running) == 0
        async with watching(other, everyones), asyncio.timeout(LIMIT):
            await other.close()
            while instances(running):
                await agent.ping()


def instances(running: RunningAgent) -> int:
    """Descriptors of inotify that the agent has open."""
    return sum("inotify" in link_of(entry) for entry in Path(f"/proc/{running.pid}/fd").iterdir())


def link_of(entry: Path) -> str:
    try:
        return os.readlink(entry)
    except FileNotFoundError:  # It was closed meanwhile.
        return ""
