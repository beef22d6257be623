"""What clients send by mistake or in malice: each has a clear answer, and the server goes on."""

import asyncio
import json
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import websockets

pytestmark = pytest.mark.asyncio(loop_scope="module")

HUGE = 2**62
LONG = 10**4000
UNKNOWN = {"id": "cl-" + "x" * 20}


async def test_no_key_and_wrong_keys(api: Any, capsule: str) -> None:
    for headers in ({"X-API-Key": ""}, {"X-API-Key": "wrn_" + "0" * 32}, {"X-API-Key": "", "Authorization": "Basic x"}):
        answer = await api.http.get("/v1/capsules", headers=headers)
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "unauthorized"
    assert (await api.http.get("/v1/capsules", headers={"X-API-Key": "k" * 100_000})).status_code in (401, 431)
    with pytest.raises(websockets.InvalidStatus) as refused:
        await api.connect("ptySession", {"id": capsule}, key="wrong-key")
    assert refused.value.response.status_code == 401
    assert json.loads(refused.value.response.body)["error"]["code"] == "unauthorized"


async def test_bearer_tokens_are_keys_too(api: Any) -> None:
    key = api.http.headers["X-API-Key"]
    answer = await api.http.get("/v1/capsules", headers={"X-API-Key": "", "Authorization": f"Bearer {key}"})
    assert answer.status_code == 200


async def test_a_key_without_the_scope(api: Any, capsule: str, reader_key: str) -> None:
    here = {"id": capsule}
    headers = {"X-API-Key": reader_key}
    await api.call("getCapsule", 200, here, headers=headers)
    await api.call("listCapsules", 200, headers=headers)
    for operation in ("createCapsule", "destroyCapsule", "pauseCapsule", "pingCapsule", "listProcesses", "execCommand"):
        body = {} if operation in ("destroyCapsule", "listProcesses") else {"json": {"cmd": "true"}}
        assert (await api.call(operation, 403, here, headers=headers, **body))["code"] == "forbidden"
    with pytest.raises(websockets.InvalidStatus) as refused:
        await api.connect("execStream", here, key=reader_key)
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b'{"vcpus": "1"}',
        b'{"vcpus": 1.5}',
        b'{"vcpus": true}',
        b'{"vcpus": 0}',
        b'{"vcpus": -1}',
        b'{"memory_mb": -512}',
        b'{"memory_mb": %d}' % HUGE,
        b'{"memory_mb": %d}' % LONG,
        b'{"vcpus": 1000000}',
        b'{"disk_size_mb": %d}' % HUGE,
        b'{"disk_size_mb": NaN}',
        b'{"timeout_sec": -1}',
        b'{"timeout_sec": %d}' % HUGE,
        b'{"template": 7}',
        b'{"template": "a\\u0000b"}',
        b'{"metadata": {"kernel_version": "1"}}',
        b'{"metadata": {"a b": "1"}}',
        b'{"metadata": {"a": 1}}',
        b'{"metadata": {"a": "%s"}}' % (b"x" * 65),
        b'{"metadata": %s}' % json.dumps({f"key{n}": "v" for n in range(21)}).encode(),
        b"[" * 100_000,
    ],
    ids=lambda body: body[:40].decode(errors="replace"),
)
async def test_malformed_creations(api: Any, body: bytes) -> None:
    assert (await api.call("createCapsule", 400, content=body))["code"] == "invalid_request"
    assert await api.call("listCapsules", 200) == []


async def test_unknown_templates(api: Any) -> None:
    for template in ("nonsense", "../base", "x" * 10_000, "🌙"):
        assert (await api.call("createCapsule", 404, json={"template": template}))["code"] == "not_found"


async def test_too_large_bodies(api: Any, capsule: str) -> None:
    body = b'{"cmd": "%s"}' % (b"x" * (33 * 1024 * 1024))
    assert (await api.call("execCommand", 413, {"id": capsule}, content=body))["code"] == "too_large"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"cmd": ""}, 400),
        ({"cmd": 5}, 400),
        ({"cmd": "true", "args": "x"}, 400),
        ({"cmd": "true", "args": [None]}, 400),
        ({"cmd": "a\0b"}, 400),
        ({"cmd": "true", "args": ["a\0b"]}, 400),
        ({"cmd": "true", "envs": {"A=B": "c"}}, 400),
        ({"cmd": "true", "envs": {"": "c"}}, 400),
        ({"cmd": "true", "envs": {"A": 1}}, 400),
        ({"cmd": "true", "cwd": "/no/such/folder"}, 400),
        ({"cmd": "true", "cwd": "a\0b"}, 400),
        ({"cmd": "/no/such/command"}, 400),
        ({"cmd": "true", "timeout_sec": -1}, 400),
        ({"cmd": "true", "timeout_sec": HUGE}, 400),
        ({"cmd": "true", "timeout_sec": LONG}, 400),
        ({"cmd": "true", "timeout_sec": "30"}, 400),
        ({"cmd": "true", "background": "yes"}, 400),
    ],
)
async def test_malformed_commands(api: Any, capsule: str, body: Mapping[str, Any], status: int) -> None:
    content = (
        json.dumps(body)
        if body.get("timeout_sec") != LONG
        else json.dumps({**body, "timeout_sec": 0}).replace('"timeout_sec": 0', f'"timeout_sec": 1{"0" * 4000}')
    )
    assert (await api.call("execCommand", status, {"id": capsule}, content=content))["code"] == "invalid_request"


@pytest.mark.parametrize("operation", ["execCommand", "downloadFile", "listDir", "makeDir", "removePath", "uploadFile"])
async def test_unknown_capsules(api: Any, operation: str) -> None:
    requests = {
        "execCommand": {"json": {"cmd": "true"}},
        "uploadFile": {"files": {"path": (None, "/tmp/x"), "file": ("x", b"")}},
    }
    request = requests.get(operation, {"json": {"path": "/tmp"}})
    assert (await api.call(operation, 404, UNKNOWN, **request))["code"] == "not_found"


@pytest.mark.parametrize("operation", ["execStream", "ptySession", "connectProcess"])
async def test_sockets_of_capsules_that_cannot_be_used(api: Any, capsule: str, operation: str) -> None:
    await api.call("pauseCapsule", 202, {"id": capsule})
    for path, status in ((UNKNOWN, 404), ({"id": capsule}, 409)):
        with pytest.raises(websockets.InvalidStatus) as refused:
            await api.connect(operation, {**path, "selector": "1"})
        assert refused.value.response.status_code == status
        assert set(json.loads(refused.value.response.body)["error"]) == {"code", "message"}


async def test_queries_that_are_not_known(api: Any, capsule: str) -> None:
    here = {"id": capsule}
    await api.call("getCapsuleMetrics", 400, here, params={"range": "1y"})
    await api.call("getCapsuleStats", 400, params={"range": "10m"})
    await api.call("listSnapshots", 400, params={"type": "nonsense"})
    await api.call("killProcess", 400, {**here, "selector": "1"}, params={"signal": "SIGSTOP"})
    for selector in ("999999", "no-such-tag", "-1", "9" * 30, "%F0%9F%98%80"):
        assert (await api.call("killProcess", 404, {**here, "selector": selector}))["code"] == "not_found"
    answer = await api.http.get("/v1/events/stream", headers={"Last-Event-ID": "x"})
    assert answer.status_code == 400


async def test_unknown_paths_and_methods(api: Any) -> None:
    for method, path, status in (
        ("GET", "/v1/nonsense", 404),
        ("GET", "/v1", 404),
        ("GET", "/v1/capsules/", 404),
        ("GET", "/auth/nonsense", 404),
        ("PUT", "/v1/capsules", 405),
        ("DELETE", "/v1/capsules", 405),
    ):
        answer = await api.http.request(method, path)
        assert answer.status_code == status
        assert set(answer.json()["error"]) == {"code", "message"}


@pytest.mark.parametrize(
    ("path", "status"),
    [("", 400), ("a\0b", 400), ("x" * 5000, 400), ("/" + "y/" * 3000, 400), ("/etc", 400), ("/no/such/file", 404)],
)
async def test_paths_that_cannot_be_read(api: Any, capsule: str, path: str, status: int) -> None:
    await api.call("downloadFile", status, {"id": capsule}, json={"path": path})
    await api.call("streamDownloadFile", status, {"id": capsule}, json={"path": path})


FORM = "multipart/form-data; boundary=b"
PATH_PART = b'--b\r\nContent-Disposition: form-data; name="path"\r\n\r\n%s\r\n'
FILE_PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'{"path": "/tmp/x"}'),
        ("multipart/form-data", b"--b--"),
        (FORM, b""),
        (FORM, b"garbage"),
        (FORM, b"--b--\r\n"),
        (FORM, PATH_PART % b"no-file" + b"--b--\r\n"),
        (FORM, FILE_PART + b"no path\r\n--b--\r\n"),
        (FORM, PATH_PART % b"\xff\xfe" + FILE_PART + b"x\r\n--b--\r\n"),
        (FORM, PATH_PART % (b"x" * 20_000) + FILE_PART + b"x\r\n--b--\r\n"),
        (FORM, PATH_PART % b"nul\0byte" + FILE_PART + b"x\r\n--b--\r\n"),
        (FORM, PATH_PART % b"cut" + FILE_PART + b"half of it"),
        (FORM, PATH_PART % b"twice" + (FILE_PART + b"x\r\n") * 2 + b"--b--\r\n"),
    ],
)
async def test_malformed_uploads(api: Any, capsule: str, home: Path, content_type: str, body: bytes) -> None:
    for operation in ("uploadFile", "streamUploadFile"):
        error = await api.call(operation, 400, {"id": capsule}, content=body, headers={"Content-Type": content_type})
        assert error["code"] == "invalid_request"
    async with asyncio.timeout(60):
        while list(home.iterdir()):
            await asyncio.sleep(0.01)  # Inside another process: its only sign is the file.


async def test_an_upload_cut_off_leaves_nothing(api: Any, capsule: str, home: Path) -> None:
    host, port = api.url.removeprefix("http://").split(":")
    key = api.http.headers["X-API-Key"]
    head = (
        f"POST /v1/capsules/{capsule}/files/stream/write HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 10000000\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="path"\r\n\r\nfolder/file\r\n'
        '--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    )
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(head.encode() + b"x" * 3_000_000)
    await writer.drain()
    folder = home / "folder"
    async with asyncio.timeout(30):
        # The agent's own answers are what there is to wait for: it works on the upload between them.
        while not (folder.exists() and any(folder.iterdir())):
            await api.call("listDir", 200, {"id": capsule}, json={"path": "."})
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        while any(folder.iterdir()):
            await api.call("listDir", 200, {"id": capsule}, json={"path": "."})


async def test_a_client_gone_mid_command_ends_it(api: Any, capsule: str, home: Path) -> None:
    here = {"id": capsule}
    script = "echo $$ > pid; mkfifo wait; trap '' TERM; exec sleep 1000"
    asked = asyncio.ensure_future(
        api.http.post(f"/v1/capsules/{capsule}/exec", json={"cmd": "sh", "args": ["-c", script]})
    )
    async with asyncio.timeout(30):
        while not (home / "wait").exists():
            await api.call("listDir", 200, here, json={"path": "."})
    asked.cancel()
    await asyncio.wait({asked})
    alive = {"cmd": "sh", "args": ["-c", "kill -0 $(cat pid)"]}
    async with asyncio.timeout(30):
        while (await api.call("execCommand", 200, here, json=alive))["exit_code"] == 0:
            pass
