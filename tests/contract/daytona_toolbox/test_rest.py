"""Information, environment, ports, figures; who may call."""

from typing import Any

import daytona_toolbox_api_client as sdk
import httpx
import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_folders(client: httpx.AsyncClient) -> None:
    for path in ("/user-home-dir", "/work-dir", "/project-dir"):
        assert (await client.get(path)).json() == {"dir": "/mnt"}
    assert (await client.get("/version")).json()["version"]


async def test_environment(client: httpx.AsyncClient) -> None:
    async def show() -> str:
        answer = await client.post("/process/execute", json={"command": 'echo "$FROM_SANDBOX,$A,$B"'})
        return str(answer.json()["result"])

    assert (await client.post("/env", json={"set": {"A": "secret-1", "B": "b"}})).status_code == 200
    assert await show() == "yes,secret-1,b\n"
    await client.post("/env", json={"unset": ["B"], "unsetValuePrefix": "secret-"})
    assert await show() == "yes,,\n"
    for body in ({"set": {"A=B": "c"}}, {"set": {"A": 1}}, {"unset": "A"}, {"set": {"": "x"}}):
        assert (await client.post("/env", json=body)).status_code == 400
    assert (await client.post("/init", json={"token": "x"})).status_code == 200


async def test_figures(client: httpx.AsyncClient) -> None:
    known = sdk.SystemMetrics.from_dict((await client.get("/system/metrics")).json())
    assert known is not None
    assert known.cpu_count is not None
    assert known.cpu_count >= 1
    for figure in (known.mem_total, known.mem_used, known.disk_total, known.disk_used, known.disk_free):
        assert figure is not None
        assert figure >= 0
    assert known.timestamp


async def test_ports(client: httpx.AsyncClient) -> None:
    server = (
        "import socket, sys, time; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True)"
    )
    await client.post("/process/session", json={"sessionId": "server"})
    body = {"command": f'python3 -c "{server}; time.sleep(60)" & sleep 1', "runAsync": False}
    port = (await client.post("/process/session/server/exec", json=body)).json()["stdout"].strip()
    assert (await client.get(f"/port/{port}/in-use")).json() == {"isInUse": True}
    assert (await client.get("/port/1/in-use")).json() == {"isInUse": False}
    known = sdk.PortList.from_dict((await client.get("/port")).json())
    assert known is not None
    assert isinstance(known.ports, list)
    for text in ("0", "65536", "x", "-1", "999999999999"):
        assert (await client.get(f"/port/{text}/in-use")).status_code == 400


@pytest.mark.parametrize(
    "path", ["/", "/nothing", "/files/nothing", "/process/session/a/b", "/files/", "/port//in-use"]
)
async def test_unknown_paths(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 404
    assert (answer.json()["source"], answer.json()["code"]) == ("DAYTONA_DAEMON", "NOT_FOUND")


async def test_wrong_methods(client: httpx.AsyncClient) -> None:
    answer = await client.put("/files")
    assert (answer.status_code, answer.json()["message"]) == (405, "PUT is not allowed here, only DELETE, GET")


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer wrong-key-altogether"}, {"Authorization": "Basic x"}]
)
async def test_no_key(url: str, sandbox: str, headers: dict[str, str]) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{url}/toolbox/{sandbox}/work-dir", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "UNAUTHORIZED")


async def test_a_key_that_may_only_look(client: httpx.AsyncClient, reader_key: str) -> None:
    answer = await client.post(
        "/process/execute", json={"command": "id"}, headers={"Authorization": f"Bearer {reader_key}"}
    )
    assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")


async def test_unknown_sandboxes(url: str, client: httpx.AsyncClient) -> None:
    for path in ("/work-dir", "/files", "/process/session"):
        answer = await client.get(f"{url}/toolbox/nosuchsandbox{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


async def test_a_stopped_sandbox(client: httpx.AsyncClient, world: Any, sandbox: str) -> None:
    await world.core.sandboxes.stop(world.principal, sandbox)
    answer = await client.post("/process/execute", json={"command": "id"})
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST")
    assert "stopped. Is the Sandbox started?" in answer.json()["message"]


async def test_a_sandbox_by_its_name(url: str, client: httpx.AsyncClient, world: Any, sandbox: str) -> None:
    name = (await world.core.sandboxes.get(world.principal, sandbox)).name
    assert (await client.get(f"{url}/toolbox/{name}/work-dir")).status_code == 200
