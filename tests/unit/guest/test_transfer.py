"""Files in and out."""

import asyncio
import hashlib
import os
import shutil
from pathlib import Path

import pytest

from moonpool import errors
from moonpool.guest.client import AgentClient
from moonpool.guest.model import ProcessSpec

from .conftest import RunningAgent

BINARY = bytes(range(256)) * 1000


async def fetch(agent: AgentClient, path: str, **more: object) -> bytes:
    async with agent.read(path, **more) as reader:  # type: ignore[arg-type]
        return b"".join([piece async for piece in reader])


async def store(agent: AgentClient, path: str, content: bytes, **more: object) -> None:
    async with agent.write(path, **more) as writer:  # type: ignore[arg-type]
        await writer.write(content)


async def small_disk(agent: AgentClient, folder: Path, size: str) -> None:
    """A file system of that size, seen by the agent only."""
    result = await agent.run(ProcessSpec(argv=("mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder))))
    assert result.exit_code == 0, result.stderr


class TestRead:
    async def test_whole(self, agent: AgentClient, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(BINARY)
        async with agent.read(f"{tmp_path}/file") as reader:
            assert (reader.info.size, reader.info.kind) == (len(BINARY), "file")
            assert b"".join([piece async for piece in reader]) == BINARY

    @pytest.mark.parametrize(
        ("offset", "length"),
        [(0, 0), (0, 1), (100, None), (100, 50), (len(BINARY), None), (1 << 60, 10), (len(BINARY) - 5, 100)],
    )
    async def test_part(self, agent: AgentClient, tmp_path: Path, offset: int, length: int | None) -> None:
        (tmp_path / "file").write_bytes(BINARY)
        expected = BINARY[offset:] if length is None else BINARY[offset : offset + length]
        assert await fetch(agent, f"{tmp_path}/file", offset=offset, length=length) == expected

    async def test_files_of_the_kernel(self, agent: AgentClient) -> None:
        """They say that they are empty and are not."""
        assert b"model name" in await fetch(agent, "/proc/cpuinfo") or os.uname().machine != "x86_64"

    async def test_device_without_an_end(self, agent: AgentClient) -> None:
        assert await fetch(agent, "/dev/zero", length=3_000_000) == bytes(3_000_000)
        async with agent.read("/dev/zero") as reader:
            async for piece in reader:
                assert piece
                break
        await agent.ping()
        assert agent.open_streams == 0

    async def test_pipe_that_nobody_writes_to(self, agent: AgentClient, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "fifo")
        assert await asyncio.wait_for(fetch(agent, f"{tmp_path}/fifo"), 10) == b""

    async def test_refusals(self, agent: AgentClient, everyones: Path) -> None:
        (everyones / "closed").write_text("x")
        (everyones / "closed").chmod(0o600)
        with pytest.raises(errors.FileNotFound):
            await fetch(agent, f"{everyones}/missing")
        with pytest.raises(errors.IsADirectory):
            await fetch(agent, str(everyones))
        with pytest.raises(errors.AccessDenied):
            await fetch(agent, f"{everyones}/closed", user="nobody")
        with pytest.raises(errors.InvalidPath):
            await fetch(agent, "a\0b")

    async def test_slow_reader_holds_the_agent_back(
        self, agent: AgentClient, running: RunningAgent, tmp_path: Path
    ) -> None:
        os.truncate(os.open(tmp_path / "big", os.O_CREAT | os.O_WRONLY), 1 << 30)
        before = _moved(running.pid)
        async with agent.read(f"{tmp_path}/big") as reader:
            async for _ in reader:
                for _ in range(20):
                    await agent.ping()
                break
        assert _moved(running.pid) - before < 16 << 20


class TestWrite:
    async def test_new_file(self, agent: AgentClient, tmp_path: Path) -> None:
        await store(agent, f"{tmp_path}/a/b/file", BINARY)
        assert (tmp_path / "a/b/file").read_bytes() == BINARY
        assert (tmp_path / "a/b/file").stat().st_mode & 0o7777 == 0o644

    async def test_empty_file(self, agent: AgentClient, tmp_path: Path) -> None:
        async with agent.write(f"{tmp_path}/file"):
            pass
        assert (tmp_path / "file").read_bytes() == b""

    async def test_large_file_in_pieces_of_any_size(self, agent: AgentClient, tmp_path: Path) -> None:
        digest = hashlib.sha256()
        async with agent.write(f"{tmp_path}/file") as writer:
            for size in (1, 9, 100_000, 1 << 20, 5_000_000, 0, 262_144, 3):
                piece = os.urandom(size)
                digest.update(piece)
                await writer.write(piece)
        assert writer.written == (tmp_path / "file").stat().st_size
        assert hashlib.sha256((tmp_path / "file").read_bytes()).digest() == digest.digest()

    async def test_mode(self, agent: AgentClient, tmp_path: Path) -> None:
        await store(agent, f"{tmp_path}/file", b"x", mode=0o4751)
        assert (tmp_path / "file").stat().st_mode & 0o777 == 0o751

    async def test_existing_file_keeps_mode_and_owner(self, agent: AgentClient, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_text("a much longer text than before")
        path.chmod(0o640)
        os.chown(path, 1, 2)
        await store(agent, str(path), b"new")
        found = path.stat()
        assert (path.read_text(), found.st_mode & 0o7777, found.st_uid, found.st_gid) == ("new", 0o640, 1, 2)

    async def test_nothing_is_seen_before_the_end(self, agent: AgentClient, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_text("old")
        async with agent.write(str(path)) as writer:
            await writer.write(BINARY)
            await agent.ping()
            assert path.read_text() == "old"
        assert path.read_bytes() == BINARY
        assert list(tmp_path.iterdir()) == [path]

    async def test_failing_caller_leaves_no_trace(self, agent: AgentClient, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("old")

        async def fail() -> None:
            async with agent.write(f"{tmp_path}/file") as writer:
                await writer.write(BINARY)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        await _settled(agent, tmp_path, ["file"])
        assert (tmp_path / "file").read_text() == "old"

    async def test_lost_connection_leaves_no_trace(self, running: RunningAgent, tmp_path: Path) -> None:
        lost, witness = await running.connect(), await running.connect()

        async def lose() -> None:
            async with lost.write(f"{tmp_path}/file") as writer:
                await writer.write(BINARY)
                await lost.ping()
                await lost.close()
                await writer.write(BINARY)

        with pytest.raises(errors.AgentUnavailable):
            await lose()
        await _settled(witness, tmp_path, [])
        await witness.close()

    async def test_cut_off(self, agent: AgentClient, tmp_path: Path) -> None:
        for size in (len(BINARY) + 1, len(BINARY) - 1, 0):
            with pytest.raises(errors.InvalidInput):
                await store(agent, f"{tmp_path}/file", BINARY, size=size)
        assert list(tmp_path.iterdir()) == []
        await store(agent, f"{tmp_path}/file", BINARY, size=len(BINARY))
        assert (tmp_path / "file").read_bytes() == BINARY

    async def test_append(self, agent: AgentClient, tmp_path: Path) -> None:
        for piece in (b"one", b"two"):
            await store(agent, f"{tmp_path}/file", piece, append=True)
        assert (tmp_path / "file").read_bytes() == b"onetwo"

    async def test_through_a_link(self, agent: AgentClient, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("old")
        (tmp_path / "link").symlink_to("file")
        await store(agent, f"{tmp_path}/link", b"new")
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "file").read_text() == "new"

    async def test_to_a_device(self, agent: AgentClient) -> None:
        await store(agent, "/dev/null", BINARY)
        assert not os.path.isfile("/dev/null")

    async def test_refusals(self, agent: AgentClient, everyones: Path) -> None:
        (everyones / "folder").mkdir()
        (everyones / "file").write_text("root's")
        os.mkfifo(everyones / "fifo")
        with pytest.raises(errors.IsADirectory):
            await store(agent, f"{everyones}/folder", b"x")
        with pytest.raises(errors.FileNotFound):
            await store(agent, f"{everyones}/none/file", b"x", parents=False)
        with pytest.raises(errors.NotADirectory):
            await store(agent, f"{everyones}/file/below", b"x")
        with pytest.raises(errors.AccessDenied):
            await store(agent, f"{everyones}/file", b"x", user="nobody")
        with pytest.raises(errors.AccessDenied):
            await store(agent, f"{everyones}/folder/new", b"x", user="nobody")
        with pytest.raises(errors.FileOperationFailed):
            await asyncio.wait_for(store(agent, f"{everyones}/fifo", b"x"), 10)
        assert (everyones / "file").read_text() == "root's"

    async def test_own_file_in_a_folder_of_others(self, agent: AgentClient, everyones: Path) -> None:
        (everyones / "folder").mkdir()
        path = everyones / "folder/file"
        path.write_text("a longer text")
        os.chown(path, 65534, 65534)
        await store(agent, str(path), b"mine", user="nobody")
        assert (path.read_text(), path.stat().st_uid) == ("mine", 65534)

    async def test_running_program_is_replaced(self, agent: AgentClient, tmp_path: Path) -> None:
        program = tmp_path / "program"
        shutil.copy("/bin/sleep", program)
        started = await agent.start(ProcessSpec(argv=(str(program), "1000")))
        await store(agent, str(program), b"new")
        assert program.read_bytes() == b"new"
        assert program.stat().st_mode & 0o777 == 0o755
        assert (await agent.process(started.pid)).running

    async def test_belongs_to_the_user(self, agent: AgentClient, everyones: Path) -> None:
        await store(agent, f"{everyones}/a/b", b"x", user="nobody")
        assert {(everyones / "a").stat().st_uid, (everyones / "a/b").stat().st_uid} == {65534}

    async def test_many_at_once(self, agent: AgentClient, tmp_path: Path) -> None:
        contents = [os.urandom(300_000) for _ in range(30)]
        await asyncio.gather(*(store(agent, f"{tmp_path}/{at}", content) for at, content in enumerate(contents)))
        assert await asyncio.gather(*(fetch(agent, f"{tmp_path}/{at}") for at in range(30))) == contents


class TestFullDisk:
    async def test_upload_is_refused_and_leaves_nothing(self, agent: AgentClient, tmp_path: Path) -> None:
        await small_disk(agent, tmp_path, "1M")
        await store(agent, f"{tmp_path}/file", b"old")
        with pytest.raises(errors.DiskFull):
            await store(agent, f"{tmp_path}/file", bytes(20 << 20))
        assert [info.name for info in await agent.list(str(tmp_path))] == ["file"]
        assert await fetch(agent, f"{tmp_path}/file") == b"old"

    async def test_everything_else_goes_on(self, agent: AgentClient, tmp_path: Path) -> None:
        await small_disk(agent, tmp_path, "64k")
        result = await agent.run(ProcessSpec(shell=f"head -c 1000000 /dev/zero > {tmp_path}/full"))
        assert result.exit_code != 0
        with pytest.raises(errors.DiskFull):
            await agent.copy("/bin/bash", f"{tmp_path}/copy")
        long_text = f"cd {tmp_path}; : {'x' * 200_000}; echo ran"
        assert (await agent.run(ProcessSpec(shell=long_text))).stdout == b"ran\n"
        await agent.remove(f"{tmp_path}/full")
        await store(agent, f"{tmp_path}/small", b"fits")


async def _settled(agent: AgentClient, folder: Path, expected: list[str]) -> None:
    """The agent's clean-up is not answered, so look until it is done."""
    async with asyncio.timeout(20):
        while sorted(info.name for info in await agent.list(str(folder))) != expected:
            pass


def _moved(pid: int) -> int:
    """Bytes a process has read, and written to sockets, so far."""
    with open(f"/proc/{pid}/io", encoding="ascii") as file:
        return int(file.readline().split()[1])
