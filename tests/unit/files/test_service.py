"""Files through their service: whose they are, as whom, and for how long they are watched."""

import asyncio
import io
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from moonpool import errors
from moonpool.access.model import Scope
from moonpool.files.service import FileService
from tests.unit.inside import Inside
from tests.unit.sandboxes.conftest import STRANGER

LIMIT = 60.0  # seconds that a test waits for anything


@pytest.fixture
def files(inside: Inside) -> FileService:
    return FileService(inside.sandboxes)


class TestWatch:
    async def test_changes(self, inside: Inside, files: FileService, everyones: Path) -> None:
        watch = files.watch(inside.owner, inside.sandbox.name, str(everyones), recursive=True, excludes=["*.log"])
        async with watch as events, asyncio.timeout(LIMIT):
            (everyones / "new.log").touch()
            (everyones / "new").touch()
            event = await anext(events)
            assert (event.kind, event.path) == ("created", f"{everyones}/new")

    async def test_is_no_use_of_the_sandbox(
        self, inside: Inside, files: FileService, everyones: Path, clock: object
    ) -> None:
        before = (await inside.sandboxes.get(inside.owner, inside.sandbox.id)).last_activity_at
        clock.advance(60)  # type: ignore[attr-defined]
        async with files.watch(inside.owner, inside.sandbox.id, str(everyones)):
            assert (await inside.sandboxes.get(inside.owner, inside.sandbox.id)).last_activity_at == before

    async def test_goes_on_while_the_sandbox_is_copied(
        self, inside: Inside, files: FileService, everyones: Path
    ) -> None:
        async with files.watch(inside.owner, inside.sandbox.id, str(everyones)) as events, asyncio.timeout(LIMIT):
            (everyones / "before").touch()
            assert (await anext(events)).path.endswith("/before")
            await inside.machines.disconnect()
            while (event := await anext(events)).kind != "overflow":
                pass
            assert event.path == str(everyones)
            (everyones / "after").touch()
            assert (await anext(events)).path.endswith("/after")

    async def test_ends_when_the_sandbox_does(self, inside: Inside, files: FileService, everyones: Path) -> None:
        async with files.watch(inside.owner, inside.sandbox.id, str(everyones)) as events, asyncio.timeout(LIMIT):
            await inside.sandboxes.pause(inside.owner, inside.sandbox.id)
            with pytest.raises(errors.InvalidState):
                await anext(events)

    async def test_ends_with_its_folder(self, inside: Inside, files: FileService, everyones: Path) -> None:
        (everyones / "folder").mkdir()
        async with files.watch(inside.owner, inside.sandbox.id, f"{everyones}/folder") as events:
            (everyones / "folder").rmdir()
            async with asyncio.timeout(LIMIT):
                assert [event.kind async for event in events][-1] == "deleted"

    async def test_as_the_sandboxes_user(self, inside: Inside, files: FileService, everyones: Path) -> None:
        (everyones / "closed").mkdir(mode=0o700)
        with pytest.raises(errors.AccessDenied):
            async with files.watch(inside.owner, inside.sandbox.id, f"{everyones}/closed"):
                pass
        async with files.watch(inside.owner, inside.sandbox.id, f"{everyones}/closed", user="root"):
            pass

    @pytest.mark.parametrize(
        ("path", "excludes", "error"),
        [
            ("/missing", (), errors.FileNotFound),
            ("", (), errors.InvalidPath),
            ("a\0", (), errors.InvalidPath),
            ("/", ("",), errors.InvalidInput),
            ("/", ("x",) * 257, errors.InvalidInput),
        ],
    )
    async def test_nonsense(
        self, inside: Inside, files: FileService, path: str, excludes: tuple[str, ...], error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            async with files.watch(inside.owner, inside.sandbox.id, path, excludes=excludes):
                pass


class TestWho:
    async def test_another_team_finds_nothing(self, inside: Inside, files: FileService) -> None:
        with pytest.raises(errors.SandboxNotFound):
            async with files.watch(STRANGER, inside.sandbox.id, "/"):
                pass
        with pytest.raises(errors.SandboxNotFound):
            async with files.open(STRANGER, inside.sandbox.id):
                pass

    async def test_a_key_that_may_only_look(self, inside: Inside, files: FileService) -> None:
        reader = replace(inside.owner, scopes=frozenset({Scope.SANDBOXES_READ}))
        with pytest.raises(errors.Forbidden):
            async with files.watch(reader, inside.sandbox.id, "/"):
                pass


class TestOpen:
    async def test_copy_and_move(self, inside: Inside, files: FileService, everyones: Path) -> None:
        async with files.open(inside.owner, inside.sandbox.id) as opened:
            await opened.mkdir(f"{everyones}/a/b")
            with pytest.raises(errors.FileNotFound):
                await opened.mkdir(f"{everyones}/x/y", parents=False)
            await opened.copy(f"{everyones}/a", f"{everyones}/c")
            with pytest.raises(errors.FileExists):
                await opened.copy(f"{everyones}/a", f"{everyones}/c", overwrite=False)
            with pytest.raises(errors.FileExists):
                await opened.move(f"{everyones}/a", f"{everyones}/c", overwrite=False)
            with pytest.raises(errors.IsADirectory):
                await opened.copy(f"{everyones}/a", f"{everyones}/d", recursive=False)
        assert (everyones / "c/b").stat().st_uid == 65534

    async def test_archive(self, inside: Inside, files: FileService, everyones: Path) -> None:
        (everyones / "tree").mkdir()
        (everyones / "tree/f").write_text("text")
        (everyones / "tree/closed").touch(mode=0o600)
        async with (
            files.open(inside.owner, inside.sandbox.id) as opened,
            opened.archive(f"{everyones}/tree", excludes=["x"]) as reader,
        ):
            content = b"".join([piece async for piece in reader])
        assert zipfile.ZipFile(io.BytesIO(content)).namelist() == ["f"]
