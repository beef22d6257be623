"""``fs/*``: reading, writing, watching, downloading."""

import asyncio
import errno
import io
import os
import zipfile
from pathlib import Path

import httpx
import pytest

from tests.contract.codesandbox.pitcher.conftest import WORKSPACE, Peer, Refused, World, each, shared

pytestmark = pytest.mark.asyncio(loop_scope="module")

RAWFS, INVALID_PATH, CRITICAL = 102, 101, 0


@shared
async def sandbox(world: World) -> str:
    """One for all tests of this file; see ``workspace``."""
    return await world.sandbox()


@each
async def workspace(world: World, sandbox: str, peer: Peer) -> Path:
    """As seen from here; empty."""
    await peer.call("fs/remove", path=WORKSPACE, recursive=True)
    await peer.call("fs/mkdir", path=WORKSPACE)
    return world.root(sandbox) / WORKSPACE.strip("/")


async def write(peer: Peer, path: str, content: bytes, *, create: bool = True, overwrite: bool = True) -> None:
    assert await peer.call("fs/writeFile", path=path, content=content, create=create, overwrite=overwrite) == {}


async def fails(peer: Peer, number: int | None, method: str, **params: object) -> None:
    with pytest.raises(Refused) as failure:
        await peer.call(method, **params)
    assert (failure.value.code, failure.value.data) == (RAWFS, {"errno": number})
    if number is not None:
        assert failure.value.args[1].startswith(f"{errno.errorcode[number]}: ")


async def test_write_and_read(peer: Peer, workspace: Path) -> None:
    content = bytes(range(256)) * 4000
    await write(peer, "deep/er/data.bin", content)
    assert (workspace / "deep/er/data.bin").read_bytes() == content
    assert (await peer.call("fs/readFile", path=f"{WORKSPACE}/deep/er/data.bin"))["content"] == content
    await write(peer, "/top.txt", b"")
    assert await peer.call("fs/readFile", path="/top.txt") == {"content": b""}
    assert (await peer.call("fs/readFile", path="/proc/self/status"))["content"].startswith(b"Name:")


async def test_create_and_overwrite(peer: Peer, workspace: Path) -> None:
    await fails(peer, errno.ENOENT, "fs/writeFile", path="new", content=b"x", create=False, overwrite=True)
    await write(peer, "new", b"one")
    await fails(peer, errno.EEXIST, "fs/writeFile", path="new", content=b"x", create=True, overwrite=False)
    await write(peer, "new", b"two", create=False)
    assert (workspace / "new").read_text() == "two"
    await fails(peer, errno.EISDIR, "fs/writeFile", path="/tmp", content=b"x", create=True, overwrite=True)


async def test_folders(peer: Peer, workspace: Path) -> None:
    await fails(peer, errno.ENOENT, "fs/mkdir", path="a/b")
    await peer.call("fs/mkdir", path="a/b", recursive=True)
    await peer.call("fs/mkdir", path="a/b", recursive=True)
    await fails(peer, errno.EEXIST, "fs/mkdir", path="a")
    await write(peer, "a/file", b"four")
    (workspace / "a/link").symlink_to("b")
    (workspace / "a/lost").symlink_to("nowhere")
    entries = (await peer.call("fs/readdir", path="a"))["entries"]
    assert sorted(entries, key=lambda entry: entry["name"]) == [
        {"name": "b", "type": 1, "isSymlink": False},
        {"name": "file", "type": 0, "isSymlink": False},
        {"name": "link", "type": 1, "isSymlink": True},
        {"name": "lost", "type": 0, "isSymlink": True},
    ]
    assert {entry["name"] for entry in (await peer.call("fs/readdir", path="/"))["entries"]} >= {"project", "proc"}
    await fails(peer, errno.ENOTDIR, "fs/readdir", path="a/file")
    await fails(peer, errno.ENOTEMPTY, "fs/remove", path="a", recursive=False)
    await peer.call("fs/remove", path="a", recursive=True)
    await fails(peer, errno.ENOENT, "fs/remove", path="a", recursive=True)


async def test_stat(peer: Peer, workspace: Path) -> None:
    await write(peer, "file", b"four")
    os.utime(workspace / "file", (1_600_000_000, 1_700_000_000.25))
    (workspace / "link").symlink_to("file")
    told = await peer.call("fs/stat", path="file")
    assert (told["type"], told["isSymlink"], told["size"], told["mtime"]) == (0, False, 4, 1_700_000_000_250)
    assert {"atime", "ctime"} < set(told)
    assert (await peer.call("fs/stat", path="link"))["isSymlink"] is True
    assert (await peer.call("fs/stat", path="."))["type"] == 1
    await fails(peer, errno.ENOENT, "fs/stat", path="nothing")


async def test_rename_and_copy(peer: Peer, workspace: Path) -> None:
    await write(peer, "one", b"1")
    await write(peer, "two", b"2")
    await fails(peer, errno.EEXIST, "fs/rename", **{"from": "one", "to": "two"})
    await peer.ask("fs/rename", {"from": "one", "to": "two", "overwrite": True})
    assert sorted(path.name for path in workspace.iterdir()) == ["two"]
    await peer.ask("fs/copy", {"from": "two", "to": "three", "recursive": False, "overwrite": False})
    await fails(peer, errno.EEXIST, "fs/copy", **{"from": "two", "to": "three"})
    await peer.ask("fs/copy", {"from": "two", "to": "three", "overwrite": True})
    await peer.call("fs/mkdir", path="folder")
    await fails(peer, errno.EISDIR, "fs/copy", **{"from": "folder", "to": "other", "recursive": False})
    await peer.ask("fs/copy", {"from": "folder", "to": "other", "recursive": True})
    assert sorted(path.name for path in workspace.iterdir()) == ["folder", "other", "three", "two"]


async def test_wrong_paths_and_contents(peer: Peer) -> None:
    await fails(peer, errno.ENOENT, "fs/readFile", path="nothing")
    await fails(peer, errno.EISDIR, "fs/readFile", path="/tmp")
    for path, code in (("a\0b", INVALID_PATH), ("x" * 5000, INVALID_PATH), (7, CRITICAL), (None, CRITICAL)):
        with pytest.raises(Refused, match=str(code)):
            await peer.call("fs/readFile", path=path)
    with pytest.raises(Refused, match="content"):
        await peer.call("fs/writeFile", path="x", content=7, create=True)


async def test_a_file_of_more_than_a_hundred_megabytes(world: World, sandbox: str) -> None:
    content = os.urandom(1 << 20) * 110
    # What this client compresses, as the SDK does, is read as well; but here it would only take time.
    async with world.connected(sandbox, compression=None) as peer:
        await write(peer, "large", content)
    async with world.connected(sandbox) as peer:
        assert (world.root(sandbox) / WORKSPACE.strip("/") / "large").stat().st_size == len(content)
        assert (await peer.call("fs/readFile", path="large"))["content"] == content


async def test_client_gone_in_the_middle_of_an_upload(world: World, sandbox: str, workspace: Path) -> None:
    async with world.connected(sandbox, compression=None) as other:
        transport = other.socket.transport
        # The beginning of a frame of 50 MB: its head, its mask, and a little of it.
        transport.write(b"\x82\xff" + (50_000_000).to_bytes(8, "big") + bytes(4) + bytes(1000))
        transport.abort()
    async with world.connected(sandbox) as another:
        assert (await another.call("fs/readdir", path="."))["entries"] == []


async def events(peer: Peer, watch: str, *wanted: tuple[str, str]) -> None:
    def told() -> set[tuple[str, str]]:
        return {
            (event["type"], path)
            for name, params in peer.told
            if name == "fs/watchEvent" and params["watchId"] == watch
            for event in params["events"]
            for path in event["paths"]
        }

    async with asyncio.timeout(60), peer.news:
        await peer.news.wait_for(lambda: set(wanted) <= told())


async def test_watch(peer: Peer, workspace: Path) -> None:
    for folder in ("watched/deep", "watched/node_modules"):
        (workspace / folder).mkdir(parents=True)
    params = {"path": "watched", "recursive": True, "excludes": ["node_modules", "**/*.{log,tmp}"]}
    watch = (await peer.ask("fs/watch", params))["watchId"]
    at = f"{WORKSPACE}/watched"
    for name in ("node_modules/hidden", "deep/noise.log", "deep/one", "last"):
        (workspace / "watched" / name).write_text("x")
    await events(peer, watch, ("add", f"{at}/deep/one"), ("change", f"{at}/deep/one"), ("add", f"{at}/last"))
    (workspace / "watched/deep/one").rename(workspace / "watched/deep/two")
    (workspace / "watched/last").unlink()
    await events(peer, watch, ("remove", f"{at}/deep/one"), ("add", f"{at}/deep/two"), ("remove", f"{at}/last"))
    assert not any("hidden" in repr(params) or "noise" in repr(params) for _, params in peer.told)
    assert await peer.call("fs/unwatch", watchId=watch) == {}
    assert await peer.call("fs/unwatch", watchId=watch) == {}
    await fails(peer, errno.ENOENT, "fs/watch", path="nothing")


async def test_download_of_a_file(world: World, peer: Peer, workspace: Path) -> None:
    (workspace / "ä b.txt").write_bytes(b"content" * 100_000)
    address = (await peer.call("fs/download", path="ä b.txt"))["downloadUrl"]
    assert address.startswith(f"{world.base}/pitcher/")
    async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
        answer = await http.get(address)
        assert (answer.status_code, answer.content) == (200, b"content" * 100_000)
        assert answer.headers["content-length"] == "700000"
        assert "%C3%A4%20b.txt" in answer.headers["content-disposition"]
        assert (await http.get(address[:-3] + "abc")).status_code == 403
        (workspace / "ä b.txt").unlink()
        assert (await http.get(address)).json()["success"] is False
    await fails(peer, errno.ENOENT, "fs/download", path="nothing")


async def test_download_of_a_folder(peer: Peer, workspace: Path) -> None:
    (workspace / "node_modules").mkdir()
    (workspace / "node_modules/left-out").write_text("x")
    (workspace / "sub").mkdir()
    (workspace / "sub/program.sh").write_text("echo hi\n")
    (workspace / "sub/program.sh").chmod(0o755)
    (workspace / "link").symlink_to("sub")
    address = (await peer.call("fs/download", path=WORKSPACE))["downloadUrl"]
    async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
        archive = zipfile.ZipFile(io.BytesIO((await http.get(address)).content))
    assert sorted(archive.namelist()) == ["link", "sub/", "sub/program.sh"]
    assert archive.testzip() is None
    assert archive.read("sub/program.sh") == b"echo hi\n"
    assert archive.getinfo("sub/program.sh").external_attr >> 16 == 0o100755
    assert archive.read("link") == b"sub"


async def test_a_download_expires(world: World, sandbox: str, peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moonpool.dialects.codesandbox.pitcher.tokens.DOWNLOAD_LIFETIME", -1.0)
    address = (await peer.call("fs/download", path="/etc/passwd"))["downloadUrl"]
    async with httpx.AsyncClient(trust_env=False) as http:
        assert (await http.get(address)).status_code == 403
