"""Operations on files, and whose rights they have."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from moonpool import errors
from moonpool.guest.client import AgentClient

from .conftest import RunningAgent

Call = Callable[[AgentClient, str], Awaitable[object]]
# Every operation with one path, for what all of them have in common.
OPERATIONS: dict[str, Call] = {
    "stat": lambda agent, path: agent.stat(path),
    "list": lambda agent, path: agent.list(path),
    "mkdir": lambda agent, path: agent.mkdir(path),
    "move from": lambda agent, path: agent.move(path, "/tmp/x"),
    "move to": lambda agent, path: agent.move("/tmp/x", path),
    "copy from": lambda agent, path: agent.copy(path, "/tmp/x"),
    "copy to": lambda agent, path: agent.copy("/tmp/x", path),
    "remove": lambda agent, path: agent.remove(path),
    "chmod": lambda agent, path: agent.chmod(path, 0o600),
    "chown": lambda agent, path: agent.chown(path, "root"),
    "glob": lambda agent, path: agent.glob(path, "*"),
    "grep": lambda agent, path: agent.grep(path, "x"),
    "replace": lambda agent, path: agent.replace([path], "a", "b"),
}


def names(infos: list[object]) -> list[str]:
    return [info.name for info in infos]  # type: ignore[attr-defined]


class TestPaths:
    @pytest.mark.parametrize("path", ["", "a\0b", "/\0", "/" + "x" * 5000, "/\ud800"])
    @pytest.mark.parametrize("operation", OPERATIONS)
    async def test_impossible(self, agent: AgentClient, operation: str, path: str) -> None:
        with pytest.raises((errors.InvalidPath, errors.InvalidInput)):
            await OPERATIONS[operation](agent, path)

    @pytest.mark.parametrize(
        "operation", ["stat", "list", "move from", "copy from", "remove", "chmod", "chown", "grep"]
    )
    async def test_missing(self, agent: AgentClient, tmp_path: Path, operation: str) -> None:
        with pytest.raises(errors.FileNotFound):
            await OPERATIONS[operation](agent, f"{tmp_path}/missing")

    async def test_name_too_long(self, agent: AgentClient, tmp_path: Path) -> None:
        with pytest.raises(errors.InvalidPath):
            await agent.mkdir(f"{tmp_path}/{'x' * 256}")

    async def test_loop_of_links(self, agent: AgentClient, tmp_path: Path) -> None:
        (tmp_path / "loop").symlink_to("loop")
        with pytest.raises(errors.InvalidPath):
            await agent.stat(f"{tmp_path}/loop")

    async def test_home(self, agent: AgentClient) -> None:
        assert (await agent.stat("~")).path == "/root"
        assert (await agent.stat("~/..")).path == "/root/.."
        assert (await agent.stat(".", user="daemon")).path == "/usr/sbin/."

    async def test_any_bytes_in_a_name(self, agent: AgentClient, tmp_path: Path) -> None:
        os.mkdir(os.fsencode(tmp_path) + b"/\xff\n")
        (found,) = await agent.list(str(tmp_path))
        assert os.fsencode(found.name) == b"\xff\n"
        await agent.remove(found.path)
        assert not list(tmp_path.iterdir())


class TestStat:
    async def test_file(self, agent: AgentClient, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_bytes(b"12345")
        path.chmod(0o4640)
        os.chown(path, 1, 65534)
        os.utime(path, (1, 1_000_000_000.5))
        info = await agent.stat(str(path))
        assert (info.path, info.name, info.kind, info.size) == (str(path), "file", "file", 5)
        assert (info.mode, info.uid, info.gid, info.owner, info.group) == (0o0640, 1, 65534, "daemon", "nogroup")
        assert (info.accessed_at, info.modified_at) == (1, 1_000_000_000.5)
        assert info.changed_at == pytest.approx(time.time(), abs=3600)
        assert (info.target, info.target_kind) == (None, None)

    async def test_kinds(self, agent: AgentClient, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "fifo")
        assert (await agent.stat(str(tmp_path))).kind == "directory"
        assert (await agent.stat(f"{tmp_path}/fifo")).kind == "other"
        assert (await agent.stat("/dev/null")).kind == "other"
        assert (await agent.stat("/")).name == "/"

    async def test_link(self, agent: AgentClient, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"123")
        (tmp_path / "link").symlink_to("file")
        itself = await agent.stat(f"{tmp_path}/link", follow=False)
        followed = await agent.stat(f"{tmp_path}/link")
        assert (itself.kind, itself.target, itself.target_kind) == ("symlink", "file", "file")
        assert (followed.kind, followed.target, followed.size) == ("file", "file", 3)

    async def test_broken_link(self, agent: AgentClient, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to("missing")
        itself = await agent.stat(f"{tmp_path}/link", follow=False)
        assert (itself.kind, itself.target, itself.target_kind) == ("symlink", "missing", None)
        with pytest.raises(errors.FileNotFound):
            await agent.stat(f"{tmp_path}/link")

    async def test_size_beyond_32_bits(self, agent: AgentClient, tmp_path: Path) -> None:
        os.truncate(os.open(tmp_path / "big", os.O_CREAT | os.O_WRONLY), 5 << 40)
        assert (await agent.stat(f"{tmp_path}/big")).size == 5 << 40


class TestList:
    @pytest.fixture
    def tree(self, tmp_path: Path) -> str:
        (tmp_path / "a/b/c").mkdir(parents=True)
        (tmp_path / "a/file").touch()
        (tmp_path / "z").touch()
        (tmp_path / "link").symlink_to("a")
        return str(tmp_path)

    async def test_depth(self, agent: AgentClient, tree: str) -> None:
        def below(infos: list[object]) -> list[str]:
            return [info.path.removeprefix(tree) for info in infos]  # type: ignore[attr-defined]

        assert below(await agent.list(tree)) == ["/a", "/link", "/z"]
        assert below(await agent.list(tree, 2)) == ["/a", "/a/b", "/a/file", "/link", "/z"]
        assert below(await agent.list(tree, 3)) == ["/a", "/a/b", "/a/b/c", "/a/file", "/link", "/z"]

    async def test_of_a_file(self, agent: AgentClient, tree: str) -> None:
        with pytest.raises(errors.NotADirectory):
            await agent.list(f"{tree}/z")

    @pytest.mark.parametrize("depth", [0, -1, 65, 10**20])
    async def test_impossible_depth(self, agent: AgentClient, tree: str, depth: int) -> None:
        with pytest.raises(errors.InvalidInput):
            await agent.list(tree, depth)

    async def test_what_may_not_be_read(self, agent: AgentClient, everyones: Path) -> None:
        (everyones / "open/closed/inside").mkdir(parents=True)
        (everyones / "open/closed").chmod(0o700)
        found = await agent.list(str(everyones), 5, user="nobody")
        assert [info.name for info in found] == ["open", "closed"]
        with pytest.raises(errors.AccessDenied):
            await agent.list(f"{everyones}/open/closed", user="nobody")

    async def test_long_answers(self, agent: AgentClient, tmp_path: Path) -> None:
        for number in range(8000):
            (tmp_path / f"{number:08}-{'x' * 150}").touch()
        found = await agent.list(str(tmp_path))
        assert len(found) == 8000
        assert found[5000].name.startswith("00005000-")


class TestChange:
    async def test_mkdir(self, agent: AgentClient, tmp_path: Path) -> None:
        info = await agent.mkdir(f"{tmp_path}/a/b", 0o2775)
        assert (info.kind, info.mode) == ("directory", 0o2775)
        await agent.mkdir(f"{tmp_path}/a/b", 0o700)
        assert (tmp_path / "a/b").stat().st_mode & 0o7777 == 0o2775
        with pytest.raises(errors.FileExists):
            await agent.mkdir(f"{tmp_path}/a/b", exist_ok=False)
        with pytest.raises(errors.FileNotFound):
            await agent.mkdir(f"{tmp_path}/c/d", parents=False)
        (tmp_path / "file").touch()
        with pytest.raises(errors.FileExists):
            await agent.mkdir(f"{tmp_path}/file")
        with pytest.raises(errors.NotADirectory):
            await agent.mkdir(f"{tmp_path}/file/below")

    async def test_move(self, agent: AgentClient, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("a")
        (tmp_path / "b").write_text("b")
        with pytest.raises(errors.FileExists):
            await agent.move(f"{tmp_path}/a", f"{tmp_path}/b", overwrite=False)
        assert (await agent.move(f"{tmp_path}/a", f"{tmp_path}/b")).path == f"{tmp_path}/b"
        assert (tmp_path / "b").read_text() == "a"
        assert not (tmp_path / "a").exists()

    async def test_move_to_another_file_system(self, agent: AgentClient, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder/file").write_text("text")
        target = f"/dev/shm/{tmp_path.parent.name}-{tmp_path.name}"
        try:
            await agent.move(f"{tmp_path}/folder", target)
            assert Path(f"{target}/file").read_text() == "text"
            assert not (tmp_path / "folder").exists()
        finally:
            await agent.remove(target, recursive=True)

    async def test_copy(self, agent: AgentClient, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("text")
        (tmp_path / "file").chmod(0o751)
        info = await agent.copy(f"{tmp_path}/file", f"{tmp_path}/other")
        assert (info.mode, (tmp_path / "other").read_text()) == (0o751, "text")

    @pytest.mark.parametrize("target", ["f", "folder", "dangling"])
    async def test_copy_over_nothing(self, agent: AgentClient, tmp_path: Path, target: str) -> None:
        (tmp_path / "source").write_text("new")
        (tmp_path / "f").write_text("old")
        (tmp_path / "folder").mkdir()
        (tmp_path / "dangling").symlink_to("nowhere")
        with pytest.raises(errors.FileExists):
            await agent.copy(str(tmp_path / "source"), str(tmp_path / target), overwrite=False)
        await agent.copy(str(tmp_path / "source"), str(tmp_path / "free"), overwrite=False)
        assert ((tmp_path / "f").read_text(), (tmp_path / "free").read_text()) == ("old", "new")
        assert not list((tmp_path / "folder").iterdir())

    async def test_copy_tree(self, agent: AgentClient, tmp_path: Path) -> None:
        (tmp_path / "a/b").mkdir(parents=True)
        (tmp_path / "a/b/file").write_text("text")
        (tmp_path / "a/link").symlink_to("b/file")
        (tmp_path / "a/loop").symlink_to("..")
        os.mkfifo(tmp_path / "a/fifo")
        with pytest.raises(errors.IsADirectory):
            await agent.copy(f"{tmp_path}/a", f"{tmp_path}/c")
        await agent.copy(f"{tmp_path}/a", f"{tmp_path}/c", recursive=True)
        assert (tmp_path / "c/b/file").read_text() == "text"
        assert os.readlink(tmp_path / "c/link") == "b/file"
        assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["b", "link", "loop"]

    async def test_copy_into_itself(self, agent: AgentClient, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "file").touch()
        for target in ("a", "a/b", "a/../a/c"):
            with pytest.raises(errors.InvalidPath):
                await agent.copy(f"{tmp_path}/a", f"{tmp_path}/{target}", recursive=True)
        with pytest.raises(errors.InvalidPath):
            await agent.copy(f"{tmp_path}/file", f"{tmp_path}/file")

    async def test_copy_of_what_is_no_file(self, agent: AgentClient, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "fifo")
        for path in (f"{tmp_path}/fifo", "/dev/zero"):
            with pytest.raises(errors.InvalidPath):
                await agent.copy(path, f"{tmp_path}/copy")

    async def test_remove(self, agent: AgentClient, tmp_path: Path) -> None:
        (tmp_path / "a/b").mkdir(parents=True)
        (tmp_path / "kept").mkdir()
        (tmp_path / "kept/file").touch()
        (tmp_path / "a/link").symlink_to("../kept")
        with pytest.raises(errors.DirectoryNotEmpty):
            await agent.remove(f"{tmp_path}/a")
        await agent.remove(f"{tmp_path}/a/b")
        await agent.remove(f"{tmp_path}/a", recursive=True)
        assert [path.name for path in tmp_path.rglob("*")] == ["kept", "file"]

    async def test_remove_link_to_folder(self, agent: AgentClient, tmp_path: Path) -> None:
        (tmp_path / "kept").mkdir()
        (tmp_path / "link").symlink_to("kept")
        await agent.remove(f"{tmp_path}/link", recursive=True)
        assert [path.name for path in tmp_path.iterdir()] == ["kept"]

    async def test_mode_and_owner(self, agent: AgentClient, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.touch()
        await agent.chmod(str(path), 0o4711)
        await agent.chown(str(path), "daemon", "nogroup")
        info = await agent.stat(str(path))
        assert (info.owner, info.group, info.mode & 0o777) == ("daemon", "nogroup", 0o711)
        await agent.chown(str(path), owner="4711")
        assert (await agent.stat(str(path))).uid == 4711
        for owner, group in (("nosuchuser", None), (None, "nosuchgroup"), ("-1", None)):
            with pytest.raises(errors.UserNotFound):
                await agent.chown(str(path), owner, group)

    @pytest.mark.parametrize("mode", [-1, 0o10000, 1 << 40])
    async def test_impossible_mode(self, agent: AgentClient, tmp_path: Path, mode: int) -> None:
        with pytest.raises(errors.InvalidInput):
            await agent.chmod(str(tmp_path), mode)


class TestUser:
    async def test_makes_files_of_their_own(self, agent: AgentClient, everyones: Path) -> None:
        info = await agent.mkdir(f"{everyones}/mine", user="nobody")
        assert (info.owner, info.group) == ("nobody", "nogroup")

    @pytest.mark.parametrize("operation", ["mkdir", "remove", "chmod", "chown", "move", "list"])
    async def test_may_not_what_is_not_theirs(self, agent: AgentClient, everyones: Path, operation: str) -> None:
        closed = everyones / "closed"
        closed.mkdir(mode=0o700)
        (closed / "file").touch()
        calls: dict[str, Awaitable[object]] = {
            "mkdir": agent.mkdir(f"{closed}/new", user="nobody"),
            "remove": agent.remove(f"{closed}/file", user="nobody"),
            "chmod": agent.chmod(str(closed), 0o777, user="nobody"),
            "chown": agent.chown(str(closed), "nobody", user="nobody"),
            "move": agent.move(str(closed), f"{everyones}/other", user="nobody"),
            "list": agent.list(str(closed), user="nobody"),
        }
        wanted = calls.pop(operation)
        for other in calls.values():
            other.close()  # type: ignore[attr-defined]
        with pytest.raises(errors.AccessDenied):
            await wanted

    async def test_rights_do_not_mix(self, agent: AgentClient, everyones: Path) -> None:
        """Many operations of several users at once, each with its own rights."""
        users = ["root", "nobody", "daemon", "bin", None] * 20
        infos = await asyncio.gather(
            *(agent.mkdir(f"{everyones}/{number}", user=user) for number, user in enumerate(users))
        )
        assert [info.owner for info in infos] == [user or "root" for user in users]

    async def test_unknown(self, agent: AgentClient, tmp_path: Path) -> None:
        with pytest.raises(errors.UserNotFound):
            await agent.stat(str(tmp_path), user="nosuchuser")


class TestSearch:
    @pytest.fixture
    def tree(self, tmp_path: Path) -> Path:
        (tmp_path / "src/deep/er").mkdir(parents=True)
        (tmp_path / "src/a.py").write_text("first\nneedle one\n")
        (tmp_path / "src/deep/b.py").write_text("needle two\r\nlast needle")
        (tmp_path / "src/deep/er/c.txt").write_text("nothing")
        (tmp_path / "binary").write_bytes(b"needle\0needle")
        (tmp_path / "link").symlink_to("src")
        return tmp_path

    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [
            ("*.py", ["src/a.py", "src/deep/b.py"]),
            ("a.*", ["src/a.py"]),
            ("src/*.py", ["src/a.py"]),
            ("src/**/*.py", ["src/a.py", "src/deep/b.py"]),
            ("**/c.txt", ["src/deep/er/c.txt"]),
            ("src/**", ["src/a.py", "src/deep", "src/deep/b.py", "src/deep/er", "src/deep/er/c.txt"]),
            ("[ab].py", ["src/a.py", "src/deep/b.py"]),
            ("nothing*", []),
            ("*/../*", []),
        ],
    )
    async def test_glob(self, agent: AgentClient, tree: Path, pattern: str, expected: list[str]) -> None:
        found = [path.removeprefix(f"{tree}/") for path in await agent.glob(str(tree), pattern)]
        assert sorted(path for path in found if path != "src" or pattern == "src") == sorted(expected)

    async def test_glob_limit_and_start(self, agent: AgentClient, tree: Path) -> None:
        assert len(await agent.glob(str(tree), "*", limit=2)) == 2
        with pytest.raises(errors.NotADirectory):
            await agent.glob(f"{tree}/src/a.py", "*")

    async def test_hostile_pattern_is_quick(self, agent: AgentClient, tree: Path) -> None:
        (tree / ("a" * 200)).touch()
        await asyncio.wait_for(agent.glob(str(tree), "*a" * 60 + "b"), 10)
        await asyncio.wait_for(agent.glob(str(tree), "**/" * 60 + "x"), 10)

    async def test_grep(self, agent: AgentClient, tree: Path) -> None:
        found = [
            (match.file.removeprefix(f"{tree}/"), match.line, match.content)
            for match in await agent.grep(str(tree), "needle")
        ]
        assert found == [
            ("src/a.py", 2, "needle one"),
            ("src/deep/b.py", 1, "needle two"),
            ("src/deep/b.py", 2, "last needle"),
        ]

    async def test_grep_one_file_and_limit(self, agent: AgentClient, tree: Path) -> None:
        assert [match.line for match in await agent.grep(f"{tree}/src/deep/b.py", "needle", limit=1)] == [1]
        assert await agent.grep(str(tree), ".*") == []

    async def test_grep_of_very_many_lines(self, agent: AgentClient, tmp_path: Path) -> None:
        (tmp_path / "many").write_bytes(b"a\n" * 5_000_000)
        (tmp_path / "long").write_bytes(b"a" * 5_000_000)
        assert len(await agent.grep(str(tmp_path), "a", limit=100_000)) < 100_000
        (match,) = await agent.grep(f"{tmp_path}/long", "a")
        assert len(match.content) == 4096

    async def test_grep_passes_over_what_it_may_not_read(self, agent: AgentClient, everyones: Path) -> None:
        (everyones / "secret").write_text("needle")
        (everyones / "secret").chmod(0o600)
        (everyones / "open").write_text("needle")
        (everyones / "open").chmod(0o644)
        os.mkfifo(everyones / "fifo")
        assert [match.file for match in await agent.grep(str(everyones), "needle", user="nobody")] == [
            f"{everyones}/open"
        ]

    async def test_replace(self, agent: AgentClient, tree: Path) -> None:
        (tree / "src/a.py").chmod(0o755)
        files = [f"{tree}/{name}" for name in ("src/a.py", "src/deep/b.py", "binary", "missing", "src")]
        results = await agent.replace(files, "needle", "pin")
        assert [(result.file, result.success) for result in results] == list(
            zip(files, [True, True, False, False, False], strict=True)
        )
        assert all((result.error is None) == result.success for result in results)
        assert (tree / "src/a.py").read_text() == "first\npin one\n"
        assert (tree / "src/deep/b.py").read_bytes() == b"pin two\r\nlast pin"
        assert (tree / "src/a.py").stat().st_mode & 0o777 == 0o755

    async def test_no_descriptor_is_left_open(self, agent: AgentClient, running: RunningAgent, tree: Path) -> None:
        before = len(os.listdir(f"/proc/{running.pid}/fd"))
        await agent.replace([f"{tree}/src", f"{tree}/binary", f"{tree}/src/a.py"], "needle", "pin")
        await agent.grep(str(tree), "needle")
        assert len(os.listdir(f"/proc/{running.pid}/fd")) == before

    async def test_replace_nothing(self, agent: AgentClient, tree: Path) -> None:
        with pytest.raises(errors.InvalidInput):
            await agent.replace([f"{tree}/src/a.py"], "", "x")
