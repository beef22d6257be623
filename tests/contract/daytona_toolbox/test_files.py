"""Operations on files, but for their content."""

import os
from pathlib import Path
from typing import Any

import daytona_toolbox_api_client as sdk
import httpx
import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")

OTHER_USER = 65534


async def failure(answer: httpx.Response) -> tuple[int, str]:
    """Status and code, of an answer that must have the envelope."""
    known = sdk.ErrorResponse.from_dict(answer.json())
    assert known is not None
    assert known.source == "DAYTONA_DAEMON"
    assert known.status_code == answer.status_code
    assert known.path == answer.request.url.path
    assert known.method == answer.request.method
    assert known.message
    return answer.status_code, answer.json()["code"]


def write(path: Path, content: str = "", mode: int = 0o644) -> Path:
    """A file of the sandbox's user."""
    path.write_text(content)
    path.chmod(mode)
    os.chown(path, 61235, 61235)
    return path


async def test_information(client: httpx.AsyncClient, home: Path) -> None:
    write(home / "a.txt", "hello", 0o640)
    answer = (await client.get("/files/info", params={"path": "a.txt"})).json()
    known = sdk.FileInfo.from_dict(answer)
    assert known is not None
    assert (known.name, known.path, known.is_dir, known.size) == ("a.txt", "/mnt/a.txt", False, 5)
    assert (known.mode, known.permissions, known.owner, known.group) == ("-rw-r-----", "0640", "daytona", "daytona")
    assert known.modified_at is not None
    assert known.mod_time.endswith(" +0000 UTC")


async def test_information_of_a_folder(client: httpx.AsyncClient) -> None:
    answer = (await client.get("/files/info", params={"path": "~"})).json()
    assert (answer["path"], answer["isDir"], answer["mode"]) == ("/mnt", True, "drwxr-xr-x")


async def test_listing(client: httpx.AsyncClient, home: Path) -> None:
    (home / "b" / "c").mkdir(parents=True)
    write(home / "b" / "c" / "deep")
    write(home / "a")
    for path in ({}, {"path": "."}, {"path": "/mnt"}, {"path": "~"}, {"path": "/usr/../mnt/b/.."}):
        answer = (await client.get("/files", params=path)).json()
        assert [(sdk.FileInfo.from_dict(item) or {}).name for item in answer] == ["a", "b"]
    answer = (await client.get("/files", params={"depth": 3})).json()
    assert [item["path"] for item in answer] == ["/mnt/a", "/mnt/b", "/mnt/b/c", "/mnt/b/c/deep"]


@pytest.mark.parametrize("depth", ["0", "-1", "x", "1.5", "99999999999999999999", "٣"])
async def test_depths_that_are_none(client: httpx.AsyncClient, depth: str) -> None:
    assert await failure(await client.get("/files", params={"depth": depth})) == (400, "BAD_REQUEST")


async def test_folders(client: httpx.AsyncClient, home: Path) -> None:
    for _ in range(2):
        answer = await client.post("/files/folder", params={"path": "x/y", "mode": "750"})
        assert (answer.status_code, answer.content) == (201, b"")
    assert (home / "x" / "y").stat().st_mode & 0o777 == 0o750
    write(home / "file")
    refused = await client.post("/files/folder", params={"path": "file", "mode": "755"})
    assert await failure(refused) == (409, "CONFLICT")


@pytest.mark.parametrize("mode", ["9", "abc", "77777", "-1", "0o8"])
async def test_modes_that_are_none(client: httpx.AsyncClient, mode: str) -> None:
    answer = await client.post("/files/folder", params={"path": "x", "mode": mode})
    assert await failure(answer) == (400, "BAD_REQUEST")


async def test_delete(client: httpx.AsyncClient, home: Path) -> None:
    write(home / "file")
    (home / "folder" / "sub").mkdir(parents=True)
    for path in ("folder", "folder/sub"):
        os.chown(home / path, 61235, 61235)
    assert (await client.delete("/files", params={"path": "file"})).status_code == 204
    assert await failure(await client.delete("/files", params={"path": "folder"})) == (400, "INVALID_FILE_PATH")
    answer = await client.delete("/files", params={"path": "folder", "recursive": "true"})
    assert (answer.status_code, answer.content) == (204, b"")
    assert list(home.iterdir()) == []
    assert await failure(await client.delete("/files", params={"path": "file"})) == (404, "FILE_NOT_FOUND")


async def test_move(client: httpx.AsyncClient, home: Path) -> None:
    write(home / "a", "content")
    write(home / "taken")
    answer = await client.post("/files/move", params={"source": "a", "destination": "b"})
    assert answer.status_code == 200
    assert (home / "b").read_text() == "content"
    missing = await client.post("/files/move", params={"source": "a", "destination": "c"})
    assert await failure(missing) == (404, "FILE_NOT_FOUND")
    taken = await client.post("/files/move", params={"source": "b", "destination": "taken"})
    assert await failure(taken) == (409, "CONFLICT")


async def test_permissions(client: httpx.AsyncClient, home: Path) -> None:
    file = write(home / "file")
    answer = await client.post("/files/permissions", params={"path": "file", "mode": "600", "owner": "daytona"})
    assert answer.status_code == 200
    assert file.stat().st_mode & 0o777 == 0o600
    refused = await client.post("/files/permissions", params={"path": "file", "owner": "root"})
    assert await failure(refused) == (403, "FILE_ACCESS_DENIED")
    unknown = await client.post("/files/permissions", params={"path": "file", "owner": "nobody-at-all"})
    assert (await failure(unknown))[0] == 400
    nothing = await client.post("/files/permissions", params={"path": "file"})
    assert await failure(nothing) == (400, "BAD_REQUEST")


async def test_search_and_find_and_replace(client: httpx.AsyncClient, home: Path) -> None:
    (home / "sub").mkdir()
    os.chown(home / "sub", 61235, 61235)
    write(home / "a.py", "first\nneedle here\n")
    write(home / "sub" / "b.py", "needle (x) [y]*\n")
    write(home / "c.txt", "nothing")
    found = sdk.SearchFilesResponse.from_dict(
        (await client.get("/files/search", params={"path": ".", "pattern": "*.py"})).json()
    )
    assert found is not None
    assert found.files == ["/mnt/a.py", "/mnt/sub/b.py"]
    matches = (await client.get("/files/find", params={"path": "/mnt", "pattern": "needle"})).json()
    assert [sdk.Match.from_dict(item) is not None for item in matches] == [True, True]
    assert matches[0] == {"file": "/mnt/a.py", "line": 2, "content": "needle here"}
    body = {"files": ["sub/b.py", "missing"], "pattern": "(x) [y]*", "newValue": "\\1"}
    results = (await client.post("/files/replace", json=body)).json()
    assert [item["success"] for item in results] == [True, False]
    assert "error" not in results[0]
    assert results[1]["error"]
    assert (home / "sub" / "b.py").read_text() == "needle \\1\n"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("missing", (404, "FILE_NOT_FOUND")),
        ("a/b", (400, "INVALID_FILE_PATH")),
        ("/root/x", (403, "FILE_ACCESS_DENIED")),
        ("x\0y", (400, "INVALID_FILE_PATH")),
        ("x" * 5000, (400, "INVALID_FILE_PATH")),
        ("x" * 300, (400, "INVALID_FILE_PATH")),
        ("", (400, "BAD_REQUEST")),
    ],
)
async def test_paths_that_are_none(client: httpx.AsyncClient, home: Path, path: str, expected: tuple[int, str]) -> None:
    write(home / "a")
    assert await failure(await client.get("/files/info", params={"path": path})) == expected


async def test_paths_are_required(client: httpx.AsyncClient) -> None:
    for method, operation in (
        ("GET", "/files/info"),
        ("POST", "/files/folder"),
        ("DELETE", "/files"),
        ("POST", "/files/move"),
        ("POST", "/files/permissions"),
        ("GET", "/files/search"),
        ("GET", "/files/find"),
        ("GET", "/files/download"),
        ("POST", "/files/upload"),
    ):
        assert (await failure(await client.request(method, operation, params={"mode": "755"})))[0] == 400


@pytest.mark.parametrize("body", [{}, {"files": "a", "pattern": "x", "newValue": ""}, {"files": [], "pattern": 1}])
async def test_replacements_that_are_none(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    assert await failure(await client.post("/files/replace", json=body)) == (400, "INVALID_REQUEST_BODY")
