"""Every operation of the contract is answered on purpose: those that take a key in the life of one capsule."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
import websockets

from moonpool.dialects.wrenn import ROUTERS, account, administration, auth, keys, oauth, teams
from moonpool.dialects.wrenn.operation import Access
from moonpool.dialects.wrenn.operations import OPERATIONS
from tests.contract.wrenn.conftest import KEY

OF_PEOPLE = (auth, account, oauth, keys, teams, administration)

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_every_operation_with_a_key(api: Any) -> None:
    listed = await api.call("listSnapshots", 200, params={"type": "base"})
    assert "minimal" in [template["name"] for template in listed]
    made = await api.call("createCapsule", 202, json={"template": "minimal", "vcpus": 1, "timeout_sec": 30})
    here = {"id": made["id"]}
    assert [item["id"] for item in await api.call("listCapsules", 200)] == [made["id"]]
    assert (await api.call("getCapsule", 200, here))["timeout_sec"] == 60
    await api.call("pingCapsule", 204, here)

    ran = await api.call("execCommand", 200, here, json={"cmd": "echo", "args": ["hi"]})
    assert (ran["stdout"], ran["exit_code"], ran["encoding"], ran["sandbox_id"]) == ("hi\n", 0, "utf-8", made["id"])
    background = await api.call("execCommand", 202, here, json={"cmd": "sleep", "args": ["9"], "background": True})
    listed = (await api.call("listProcesses", 200, here))["processes"]
    expected = {"pid": background["pid"], "tag": background["tag"], "cmd": "sleep", "args": ["9"]}
    assert expected in listed
    async with await api.connect("connectProcess", {**here, "selector": background["tag"]}) as socket:
        assert json.loads(await socket.recv()) == {"type": "start", "pid": background["pid"]}
        await api.call("killProcess", 204, {**here, "selector": background["tag"]}, params={"signal": "SIGTERM"})
        assert json.loads(await socket.recv()) == {"type": "exit", "exit_code": 143}
    async with await api.connect("execStream", here) as socket:
        await socket.send(json.dumps({"type": "start", "cmd": "echo", "args": ["streamed"]}))
        kinds = [json.loads(message)["type"] async for message in socket]
        assert kinds == ["start", "stdout", "exit"]
    async with await api.connect("ptySession", here) as socket:
        await socket.send(json.dumps({"type": "start", "cmd": "/bin/true"}))
        assert json.loads(await socket.recv())["type"] == "started"

    parts = {"path": (None, "folder/file.txt"), "file": ("upload", b"text")}
    await api.call("uploadFile", 204, here, files=parts)
    await api.call("streamUploadFile", 204, here, files=parts)
    assert await api.call("downloadFile", 200, here, json={"path": "folder/file.txt"}) == b"text"
    assert await api.call("streamDownloadFile", 200, here, json={"path": "folder/file.txt"}) == b"text"
    (entry,) = (await api.call("listDir", 200, here, json={"path": "folder"}))["entries"]
    assert (entry["name"], entry["type"], entry["size"], entry["permissions"]) == ("file.txt", "file", 4, "-rw-r--r--")
    assert entry["owner"] == "wrenn-user"
    assert (await api.call("makeDir", 200, here, json={"path": "a/b/c"}))["entry"]["type"] == "directory"
    assert (await api.call("makeDir", 409, here, json={"path": "a/b/c"}))["code"] == "already_exists"
    await api.call("removePath", 204, here, json={"path": "a"})

    (point,) = (await api.call("getCapsuleMetrics", 200, here, params={"range": "24h"}))["points"]
    assert point["mem_bytes"] > 0
    assert (await api.call("getCapsuleStats", 200))["current"]["running_count"] == 1
    async with api.http.stream("GET", "/v1/events/stream", headers={"Last-Event-ID": "0"}) as stream:
        async for line in stream.aiter_lines():
            if line == "event: capsule.create":
                break
    assert (await api.call("pauseCapsule", 202, here))["status"] == "paused"
    assert (await api.call("resumeCapsule", 202, here))["status"] == "running"
    kept = await api.call("createSnapshot", 201, json={"sandbox_id": made["id"], "name": "mine"})
    assert (kept["name"], kept["type"], kept["vcpus"]) == ("mine", "snapshot", 1)
    await api.call("deleteSnapshot", 204, {"name": "mine"})
    assert len((await api.call("getCapsuleUsage", 200))["points"]) == 31
    await api.call("destroyCapsule", 202, here)
    assert (await api.call("getCapsule", 200, here))["status"] == "stopped"
    assert await api.call("listCapsules", 200) == []


def offered(modules: Iterable[Any] = ROUTERS) -> set[tuple[str, str]]:
    """Methods and paths that these modules of the dialect answer."""
    routes = [route for module in modules for route in module.router.routes]
    return {(method, route.path) for route in routes for method in getattr(route, "methods", ())}


async def test_what_is_not_offered_says_so(api: Any) -> None:
    for operation in OPERATIONS:
        if operation.socket or (operation.method, operation.path) in offered():
            continue
        path = operation.path.replace("{", "").replace("}", "")
        answer = await api.http.request(operation.method, path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (501, "not_implemented"), operation
        assert operation.id in answer.json()["error"]["message"]
        without_key = await api.http.request(operation.method, path, headers={"X-API-Key": ""})
        assert without_key.status_code == (501 if operation.access is Access.PUBLIC else 401), operation


async def test_what_takes_a_browser_takes_no_key(api: Any) -> None:
    for operation in OPERATIONS:
        if operation.access is not Access.SESSION or (operation.method, operation.path) not in offered(OF_PEOPLE):
            continue
        path = operation.path.replace("{", "").replace("}", "")
        answer = await api.http.request(operation.method, path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized"), operation


async def test_without_mail_and_leave_nobody_makes_an_account(api: Any) -> None:
    """As a server is that nobody set up for it. Nothing says 200 and does nothing."""
    new = {"email": "new@example.com", "password": "correct horse battery", "name": "New"}
    assert (await api.call("signup", 403, json=new))["code"] == "forbidden"
    assert (await api.call("requestPasswordReset", 501, json={"email": "new@example.com"}))["code"] == "not_implemented"
    assert (await api.call("oauthRedirect", 404, {"provider": "github"}))["code"] == "not_found"


async def test_every_socket_asks_who_comes(api: Any) -> None:
    for operation in OPERATIONS:
        if not operation.socket:
            continue
        for key, status, code in (("mp_wrong", 401, "unauthorized"), (KEY, 404, "not_found")):
            with pytest.raises(websockets.InvalidStatus) as refused:
                await api.connect(operation.id, {"id": "cl-x", "selector": "1"}, key)
            assert refused.value.response.status_code == status
            assert json.loads(refused.value.response.body)["error"]["code"] == code


async def test_a_socket_path_without_an_upgrade(api: Any) -> None:
    answer = await api.http.get("/v1/capsules/cl-x/pty")
    assert answer.status_code == 426
    assert answer.headers["upgrade"] == "websocket"
