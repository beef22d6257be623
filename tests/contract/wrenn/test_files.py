"""Files in and out."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONTENTS = [b"", b"x", bytes(range(256)) * 10, b"\r\n--boundary\r\n", b"\r\n" * 70_000, os.urandom(5_000_000)]


def form(path: str, content: bytes) -> dict[str, Any]:
    return {"files": {"path": (None, path), "file": ("upload", content)}}


async def read(api: Any, capsule: str, path: str) -> bytes:
    answer = await api.call("downloadFile", 200, {"id": capsule}, json={"path": path})
    assert answer == await api.call("streamDownloadFile", 200, {"id": capsule}, json={"path": path})
    return answer


@pytest.mark.parametrize("content", CONTENTS, ids=len)
async def test_there_and_back(api: Any, capsule: str, content: bytes) -> None:
    for operation in ("uploadFile", "streamUploadFile"):
        await api.call(operation, 204, {"id": capsule}, **form(f"a folder/{operation} ü", content))
        assert await read(api, capsule, f"a folder/{operation} ü") == content


async def test_chunked_bodies_of_any_cut(api: Any, capsule: str) -> None:
    """Boundaries that look like one and are none, cut at every place."""
    content = b"\r\n--b\r" * 3 + b"\r\n--c--\r\n\r\n--"
    whole = (
        b'preamble\r\n--b\r\nContent-Disposition: form-data; name="other"\r\n\r\nignored\r\n'
        b'--b\r\ncontent-disposition: form-data; name="path"\r\nX-Unknown: y\r\n\r\ncut\r\n'
        b'--b\r\nContent-Type: text/plain\r\nContent-Disposition: form-data; name="file"; filename="a\\"b"\r\n\r\n'
        + content.replace(b"--b", b"--B")
        + b"\r\n--b--\r\nepilogue"
    ).removeprefix(b"preamble\r\n")

    async def pieces(size: int) -> Any:
        for start in range(0, len(whole), size):
            yield whole[start : start + size]

    for size in (1, 2, 3, 7, 64, len(whole)):
        headers = {"Content-Type": 'multipart/form-data; boundary="b"'}
        await api.call("streamUploadFile", 204, {"id": capsule}, content=pieces(size), headers=headers)
        assert await read(api, capsule, "cut") == content.replace(b"--b", b"--B")


async def test_many_at_once(api: Any, capsule: str) -> None:
    names = [f"file-{number}" for number in range(20)]
    await asyncio.gather(
        *(api.call("uploadFile", 204, {"id": capsule}, **form(name, name.encode() * 10_000)) for name in names)
    )
    assert await asyncio.gather(*(read(api, capsule, name) for name in names)) == [n.encode() * 10_000 for n in names]


async def test_files_belong_to_the_user_and_root_steps_in(api: Any, capsule: str, home: Path) -> None:
    """``home``'s parent belongs to root, so the user may not write there."""
    here = {"id": capsule}
    await api.call("uploadFile", 204, here, **form("mine", b"x"))
    assert (home / "mine").stat().st_uid == home.stat().st_uid
    big = os.urandom(3_000_000)
    for operation in ("uploadFile", "streamUploadFile"):
        await api.call(operation, 204, here, **form(f"{home.parent}/app/{operation}", big))
        assert (home.parent / "app" / operation).read_bytes() == big
        assert (home.parent / "app" / operation).stat().st_uid == 0
    secret = home.parent / "secret"
    secret.write_text("s")
    secret.chmod(0o600)
    assert await read(api, capsule, str(secret)) == b"s"
    assert (await api.call("makeDir", 200, here, json={"path": f"{home.parent}/made"}))["entry"]["owner"] == "root"
    await api.call("removePath", 204, here, json={"path": f"{home.parent}/app"})
    assert not (home.parent / "app").exists()


async def test_listings(api: Any, capsule: str, home: Path) -> None:
    here = {"id": capsule}
    await api.call("uploadFile", 204, here, **form("top/sub/deep/file", b"12345"))
    (home / "top" / "link").symlink_to("sub")
    (home / "top" / "script").write_text("#!")
    (home / "top" / "script").chmod(0o4755)
    os.mkfifo(home / "top" / "pipe", 0o640)
    (home / "top" / os.fsdecode(b"not-\xff-utf8")).write_text("")

    async def listed(path: str, **more: int) -> dict[str, Any]:
        entries = (await api.call("listDir", 200, here, json={"path": path, **more}))["entries"]
        return {entry["path"].removeprefix(f"{home}/"): entry for entry in entries}

    top = await listed("top")
    assert set(top) == {"top/link", "top/sub", "top/script", "top/pipe", "top/not-\ufffd-utf8"}
    assert (top["top/link"]["type"], top["top/link"]["symlink_target"]) == ("symlink", "sub")
    assert (top["top/sub"]["type"], top["top/sub"]["permissions"]) == ("directory", "drwxr-xr-x")
    assert (top["top/script"]["mode"], top["top/script"]["permissions"]) == (0o4755, "-rwsr-xr-x")
    assert top["top/pipe"]["type"] == "file"
    assert await listed("top", depth=0) == top
    assert "top/sub/deep" in await listed("top", depth=2)
    assert (await listed(f"{home}/top", depth=3))["top/sub/deep/file"]["size"] == 5
    assert "top" in await listed("")
    assert "top" in await listed("~")
    for path, status in (("top/script", 400), ("nothing", 404)):
        await api.call("listDir", status, here, json={"path": path})
    for depth in (-1, 1000, 2**62):
        await api.call("listDir", 400, here, json={"path": "top", "depth": depth})


async def test_folders_that_are_there(api: Any, capsule: str) -> None:
    here = {"id": capsule}
    made = (await api.call("makeDir", 200, here, json={"path": "one/two"}))["entry"]
    assert (made["name"], made["type"], made["owner"]) == ("two", "directory", "wrenn-user")
    await api.call("uploadFile", 204, here, **form("one/file", b""))
    for there in ("one/two", "one", "one/file"):
        assert (await api.call("makeDir", 409, here, json={"path": there}))["code"] == "already_exists"


async def test_removal(api: Any, capsule: str, home: Path) -> None:
    here = {"id": capsule}
    await api.call("uploadFile", 204, here, **form("tree/a/b/c", b"x"))
    (home / "link").symlink_to("tree")
    await api.call("removePath", 204, here, json={"path": "link"})
    assert (home / "tree" / "a").exists()
    await api.call("removePath", 204, here, json={"path": "tree"})
    await api.call("removePath", 404, here, json={"path": "tree"})
    assert list(home.iterdir()) == []


async def test_overwriting_keeps_mode_and_reading_keeps_up(api: Any, capsule: str, home: Path) -> None:
    here = {"id": capsule}
    await api.call("uploadFile", 204, here, **form("tool", b"1"))
    (home / "tool").chmod(0o755)
    await api.call("uploadFile", 204, here, **form("tool", b"22"))
    assert (home / "tool").stat().st_mode & 0o777 == 0o755
    assert await read(api, capsule, "tool") == b"22"
    assert b"wrenn-user" in await read(api, capsule, "/etc/passwd")
    assert await api.call("downloadFile", 200, here, json={"path": "/proc/self/status"}) != b""


async def test_a_reader_that_leaves_early(api: Any, capsule: str, machines: Any) -> None:
    await api.call("uploadFile", 204, {"id": capsule}, **form("big", bytes(30_000_000)))
    agent = machines.by_id[capsule.removeprefix("cl-")].agent
    async with api.http.stream("POST", f"/v1/capsules/{capsule}/files/read", json={"path": "big"}) as answer:
        async for _ in answer.aiter_bytes():
            assert agent.open_streams == 1
            break
    while agent.open_streams:
        await api.call("listDir", 200, {"id": capsule}, json={"path": "."})
