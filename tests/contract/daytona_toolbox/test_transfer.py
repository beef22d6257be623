"""The content of files, in and out."""

import asyncio
import hashlib
import io
import json
import os
import random
from collections.abc import AsyncIterator
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import Any

import daytona_toolbox_api_client as sdk
import httpx
import pytest
from daytona.common.file_transfer import parse_content_disposition

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = "a-key-of-these-tests"
PATIENCE = 60  # seconds
LARGE = random.Random(1).randbytes(12_345_678)


def parts_of(answer: httpx.Response) -> dict[str, Any]:
    """Parts of a bulk download by file name, as (kind, headers, content)."""
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = BytesParser(policy=HTTP).parsebytes(head + answer.content)
    found = {}
    for part in message.iter_parts():
        name, path = parse_content_disposition(part["content-disposition"])
        assert path is not None
        found[path] = (name, dict(part.items()), part.get_payload(decode=True))
    return found


@pytest.mark.parametrize(
    "content", [b"", b"x", bytes(range(256)) * 1000, LARGE], ids=["empty", "one", "binary", "large"]
)
async def test_there_and_back(client: httpx.AsyncClient, content: bytes, home: Path) -> None:
    raw = await client.post("/files/upload-v2", params={"path": "raw.bin"}, content=content)
    assert (raw.status_code, raw.json()) == (200, {"name": "raw.bin", "path": "/mnt/raw.bin", "type": "file"})
    assert sdk.UploadedFile.from_dict(raw.json()) is not None
    form = await client.post("/files/upload", params={"path": "new/form.bin"}, files={"file": io.BytesIO(content)})
    assert form.status_code == 200
    for name in ("raw.bin", "new/form.bin"):
        assert hashlib.sha256((home / name).read_bytes()).digest() == hashlib.sha256(content).digest()
        answer = await client.get("/files/download", params={"path": name})
        assert answer.status_code == 200
        assert answer.content == content
        assert answer.headers["content-length"] == str(len(content))


async def test_bulk_upload_as_the_sdk_sends_it(client: httpx.AsyncClient, home: Path) -> None:
    paths = {"files[0].path": "a/x.bin", "files[1].path": "/mnt/b ü\"'\\.txt"}
    files = {"files[0].file": ("a/x.bin", LARGE), "files[1].file": ("ignored", b"two")}
    answer = await client.post("/files/bulk-upload", data=paths, files=files)
    assert answer.status_code == 200
    assert sdk.UploadFilesResponse.from_dict(answer.json()) is not None
    assert answer.json()["files"] == [
        {"path": "a/x.bin", "bytes": len(LARGE)},
        {"path": "/mnt/b ü\"'\\.txt", "bytes": 3},
    ]
    assert (home / "a" / "x.bin").read_bytes() == LARGE
    assert (home / "b ü\"'\\.txt").read_bytes() == b"two"


async def test_bulk_upload_with_paths_between_the_files(client: httpx.AsyncClient, home: Path) -> None:
    form = [
        ("files[0].path", (None, b"one")),
        ("files[0].file", ("x", b"1")),
        ("files[1].path", (None, b"two")),
        ("files[1].file", ("y", b"2")),
    ]
    assert (await client.post("/files/bulk-upload", files=form)).status_code == 200
    assert ((home / "one").read_bytes(), (home / "two").read_bytes()) == (b"1", b"2")


async def test_one_bad_file_does_not_keep_the_others_from_being_stored(client: httpx.AsyncClient, home: Path) -> None:
    form = [
        ("files[0].path", (None, b"/root/x")),
        ("files[0].file", ("x", LARGE)),
        ("files[1].path", (None, b"fine")),
        ("files[1].file", ("y", b"2")),
        ("files[2].file", ("z", b"no path")),
        ("files[3].path", (None, b"no file")),
    ]
    answer = await client.post("/files/bulk-upload", files=form)
    assert answer.status_code == 400
    assert answer.json()["files"] == [{"path": "fine", "bytes": 1}]
    assert [error.split(":")[0] for error in answer.json()["errors"]] == [
        "/root/x",
        "files[2].file",
        "files[3].file is missing",
    ]
    assert (home / "fine").read_bytes() == b"2"


async def test_an_upload_replaces_a_file_and_keeps_its_mode(client: httpx.AsyncClient, home: Path) -> None:
    (home / "script").write_text("old")
    (home / "script").chmod(0o755)
    os.chown(home / "script", 61235, 61235)
    await client.post("/files/upload", params={"path": "script"}, content=b"new")
    assert (home / "script").read_text() == "new"
    assert (home / "script").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/plain", b"x"),
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b"no boundary at all"),
        ("multipart/form-data; boundary=b", b"--b\r\nno header\r\n\r\n"),
        ("multipart/form-data; boundary=b", b"--b--\r\n"),
        ("multipart/form-data; boundary=b", b"--b\r\nX: " + b"y" * 100_000 + b"\r\n\r\nz\r\n--b--\r\n"),
        ("multipart/form-data; boundary=b", b""),
    ],
)
async def test_forms_that_are_none(client: httpx.AsyncClient, content_type: str, body: bytes) -> None:
    answer = await client.post("/files/bulk-upload", headers={"Content-Type": content_type}, content=body)
    assert answer.status_code == 400, answer.text


async def test_a_form_without_end_leaves_no_file(client: httpx.AsyncClient, home: Path) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n' + LARGE
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = await client.post("/files/upload", params={"path": "cut"}, headers=headers, content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST_BODY")
    await emptied(home)


@pytest.mark.parametrize("operation", ["upload?path=cut", "bulk-upload"])
async def test_an_upload_that_is_cut_off_leaves_no_file(
    client: httpx.AsyncClient, url: str, sandbox: str, home: Path, operation: str
) -> None:
    _, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"))
    form = (
        b'--b\r\nContent-Disposition: form-data; name="files[0].path"\r\n\r\ncut\r\n'
        b'--b\r\nContent-Disposition: form-data; name="files[0].file"; filename="x"\r\n\r\n'
    )
    head = (
        f"POST /toolbox/{sandbox}/files/{operation} HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\n"
        f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 99999999\r\n\r\n"
    ).replace("multipart/form-data; boundary=b", "text/plain" if operation != "bulk-upload" else "\\g<0>")
    writer.write(head.replace("\\g<0>", "multipart/form-data; boundary=b").encode())
    writer.write((form if operation == "bulk-upload" else b"") + LARGE)
    await writer.drain()
    async with asyncio.timeout(PATIENCE):
        while not list(home.iterdir()):
            await asyncio.sleep(0.01)  # Inside another process: its only sign is the file.
    writer.transport.abort()
    await emptied(home)


async def emptied(home: Path) -> None:
    """The agent removes what it was not to keep when it hears of it: its only sign is the file."""
    async with asyncio.timeout(PATIENCE):
        while list(home.iterdir()):
            await asyncio.sleep(0.01)


async def test_a_full_disk(client: httpx.AsyncClient) -> None:
    answer = await client.post("/files/upload", params={"path": "/dev/full"}, content=b"x" * 1000)
    assert answer.status_code == 400
    assert "No space left" in answer.json()["message"]


async def test_bulk_download(client: httpx.AsyncClient, home: Path) -> None:
    (home / "large").write_bytes(LARGE)
    (home / "empty").write_bytes(b"")
    (home / 'b ü"\\.txt').write_bytes(b"--boundary\r\n")
    paths = ["large", "missing", "/mnt/empty", 'b ü"\\.txt', "~", "x\0"]
    answer = await client.post("/files/bulk-download", json={"paths": paths[:-1]})
    assert answer.status_code == 200
    parts = parts_of(answer)
    assert list(parts) == paths[:-1]
    assert [part[0] for part in parts.values()] == ["file", "error", "file", "file", "error"]
    assert parts["large"][2] == LARGE
    assert parts["large"][1]["Content-Length"] == str(len(LARGE))
    assert (parts["/mnt/empty"][2], parts['b ü"\\.txt'][2]) == (b"", b"--boundary\r\n")
    error = sdk.ErrorResponse.from_dict(json.loads(parts["missing"][2]))
    assert error is not None
    assert (error.status_code, error.code, error.path) == (404, "FILE_NOT_FOUND", "missing")
    assert error.message.startswith("file not found: no such file or directory")  # words that clients look for
    assert json.loads(parts["~"][2])["code"] == "INVALID_FILE_PATH"


@pytest.mark.parametrize("body", [{}, {"paths": []}, {"paths": "a"}, {"paths": [1]}, {"paths": ["a\0"]}])
async def test_downloads_that_are_none(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    assert (await client.post("/files/bulk-download", json=body)).status_code == 400


@pytest.mark.parametrize(
    ("path", "status"), [("missing", 404), ("~", 400), ("/root/x", 403), ("x\0", 400), ("/proc/self/mem", 400)]
)
async def test_download_failures(client: httpx.AsyncClient, path: str, status: int) -> None:
    answer = await client.get("/files/download", params={"path": path})
    assert answer.status_code in (status, 403)
    assert answer.json()["source"] == "DAYTONA_DAEMON"


async def test_slow_readers_do_not_fill_the_server(client: httpx.AsyncClient, home: Path) -> None:
    (home / "large").write_bytes(LARGE)
    async with client.stream("GET", "/files/download", params={"path": "large"}) as answer:
        received = 0
        async for chunk in answer.aiter_raw(100_000):
            received += len(chunk)
    assert received == len(LARGE)


async def chunked() -> AsyncIterator[bytes]:
    for start in range(0, len(LARGE), 1_000_003):
        yield LARGE[start : start + 1_000_003]


async def test_an_upload_of_unknown_length(client: httpx.AsyncClient, home: Path) -> None:
    assert (await client.post("/files/upload", params={"path": "x"}, content=chunked())).status_code == 200
    assert (home / "x").read_bytes() == LARGE


async def test_the_old_address(url: str, sandbox: str, home: Path) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as client:
        path = f"/api/toolbox/{sandbox}/toolbox/files"
        answer = await client.post(f"{path}/upload", params={"path": "old"}, files={"file": b"content"})
        assert answer.status_code == 200
        assert (await client.get(f"{path}/download", params={"path": "old"})).content == b"content"
