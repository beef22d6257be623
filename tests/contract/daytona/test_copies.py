"""Forks, and snapshots of sandboxes."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import daytona_api_client as sdk
import httpx
import pytest

from moonpool.errors import EngineError

Conforms = Callable[[str, Any], Any]
Environment = Callable[[str], Mapping[str, str]]


async def fork(client: httpx.AsyncClient, sandbox: str, **body: object) -> dict[str, Any]:
    answer = await client.post(f"/api/sandbox/{sandbox}/fork", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_fork_is_its_own_sandbox(
    client: httpx.AsyncClient, conforms: Conforms, environment_of: Environment
) -> None:
    wanted = {"name": "source", "env": {"A": "b"}, "labels": {"l": "v"}, "autoStopInterval": 7}
    source = (await client.post("/api/sandbox", json=wanted)).json()
    copy = conforms("Sandbox", await fork(client, "source", name="copy"))
    assert sdk.Sandbox.from_dict(copy) is not None
    assert (copy["name"], copy["state"]) == ("copy", "started")
    for field in ("env", "labels", "autoStopInterval", "cpu", "memory", "disk", "user", "snapshot"):
        assert copy[field] == source[field], field
    inside = environment_of(copy["id"])
    assert (inside["A"], inside["DAYTONA_SANDBOX_ID"]) == ("b", copy["id"])
    assert (await client.get("/api/sandbox/source")).json()["state"] == "started"


async def test_who_descends_from_whom(
    client: httpx.AsyncClient, sandbox: dict[str, Any], settled: Callable[[str], Awaitable[None]]
) -> None:
    child = await fork(client, sandbox["id"], name="child")
    grandchild = await fork(client, "child", name="grandchild")

    async def ids(path: str) -> list[str]:
        return [item["id"] for item in (await client.get(f"/api/sandbox/{path}")).json()]

    assert await ids(f"{sandbox['name']}/forks") == [child["id"]]
    assert await ids("grandchild/ancestors") == [child["id"], sandbox["id"]]
    assert (await client.get("/api/sandbox/grandchild/parent")).json()["id"] == child["id"]
    assert (await client.get(f"/api/sandbox/{sandbox['id']}/parent")).status_code == 404
    assert await ids(f"{sandbox['id']}/ancestors") == []

    await client.delete("/api/sandbox/child")
    await settled(child["id"])
    assert (await client.get("/api/sandbox/grandchild")).json()["id"] == grandchild["id"]
    assert (await client.get("/api/sandbox/grandchild/parent")).status_code == 404


async def test_snapshots_of_sandboxes(client: httpx.AsyncClient, conforms: Conforms) -> None:
    source = (await client.post("/api/sandbox", json={"cpu": 2, "memory": 3})).json()
    answer = await client.post(f"/api/sandbox/{source['id']}/snapshot", json={"name": "mine"})
    assert (answer.status_code, conforms("Sandbox", answer.json())["state"]) == (200, "started")
    mine = conforms("SnapshotDto", (await client.get("/api/snapshots/mine")).json())
    assert (mine["general"], mine["state"], mine["cpu"], mine["mem"]) == (False, "active", 2, 3)
    assert (mine["sourceSandboxId"], mine["organizationId"]) == (source["id"], source["organizationId"])
    for key in (source["id"], source["name"]):
        listed = (await client.get("/api/snapshots", params={"sourceSandboxId": key})).json()
        assert ([item["name"] for item in listed["items"]], listed["total"], listed["totalPages"]) == (["mine"], 1, 1)
    beyond = (await client.get("/api/snapshots", params={"sourceSandboxId": source["id"], "page": 2})).json()
    assert (beyond["items"], beyond["total"]) == ([], 1)

    made = (await client.post("/api/sandbox", json={"snapshot": "mine"})).json()
    assert (made["snapshot"], made["cpu"], made["state"]) == ("mine", 2, "started")
    assert (await client.delete("/api/snapshots/mine")).status_code == 200
    assert (await client.get("/api/snapshots/mine")).status_code == 404
    assert (await client.get(f"/api/sandbox/{made['id']}")).json()["state"] == "started"


async def test_an_inactive_snapshot(client: httpx.AsyncClient, conforms: Conforms, sandbox: dict[str, Any]) -> None:
    await client.post(f"/api/sandbox/{sandbox['id']}/snapshot", json={"name": "mine"})
    assert (await client.post("/api/snapshots/mine/deactivate")).status_code == 204
    inactive = conforms("SnapshotDto", (await client.get("/api/snapshots/mine")).json())
    assert (inactive["state"], inactive["enabled"]) == ("inactive", False)
    refused = await client.post("/api/sandbox", json={"snapshot": "mine"})
    assert (refused.status_code, refused.json()["message"]) == (400, "Snapshot mine is inactive. Activate it first.")
    assert (await client.post("/api/snapshots/mine/deactivate")).status_code == 400
    activated = await client.post("/api/snapshots/mine/activate")
    assert (activated.status_code, conforms("SnapshotDto", activated.json())["state"]) == (200, "active")
    assert activated.json()["enabled"] is True
    assert (await client.post("/api/sandbox", json={"snapshot": "mine"})).json()["state"] == "started"
    assert (await client.post("/api/snapshots/minimal/deactivate")).status_code == 403
    assert (await client.post("/api/snapshots/nowhere/activate")).status_code == 404


async def test_a_snapshot_that_could_not_be_made_says_why(
    client: httpx.AsyncClient, conforms: Conforms, sandbox: dict[str, Any], machines: Any
) -> None:
    machines.capture_failure = EngineError("The disk is full")
    answer = await client.post(f"/api/sandbox/{sandbox['id']}/snapshot", json={"name": "mine"})
    assert answer.status_code == 500
    failed = conforms("SnapshotDto", (await client.get("/api/snapshots/mine")).json())
    assert (failed["state"], failed["errorReason"]) == ("error", "The disk is full")
    machines.capture_failure = None
    assert (await client.post(f"/api/sandbox/{sandbox['id']}/snapshot", json={"name": "mine"})).status_code == 200
    assert (await client.get("/api/snapshots/mine")).json()["state"] == "active"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("fork", {"name": "taken"}, 409),
        ("fork", {"name": ""}, 400),
        ("fork", {"name": 5}, 400),
        ("snapshot", {}, 400),
        ("snapshot", {"name": "taken"}, 409),
        ("snapshot", {"name": "a\0b"}, 400),
        ("snapshot", {"name": "x", "includeMemory": "yes"}, 400),
    ],
)
async def test_bad_copies(
    client: httpx.AsyncClient, sandbox: dict[str, Any], path: str, body: dict[str, Any], status: int
) -> None:
    await client.post("/api/sandbox", json={"name": "taken"})
    assert (await client.post("/api/sandbox/taken/snapshot", json={"name": "taken"})).status_code == 200
    answer = await client.post(f"/api/sandbox/{sandbox['id']}/{path}", json=body)
    assert (answer.status_code, answer.json()["statusCode"]) == (status, status), answer.text


async def test_who_may_not(client: httpx.AsyncClient, stranger: httpx.AsyncClient, sandbox: dict[str, Any]) -> None:
    one = f"/api/sandbox/{sandbox['id']}"
    await client.post(f"{one}/snapshot", json={"name": "mine"})
    for method, path in (
        ("POST", f"{one}/fork"),
        ("POST", f"{one}/snapshot"),
        ("GET", f"{one}/forks"),
        ("GET", f"{one}/parent"),
        ("GET", f"{one}/ancestors"),
        ("DELETE", "/api/snapshots/mine"),
    ):
        assert (await stranger.request(method, path, json={"name": "x"})).status_code == 404, path
    assert (await stranger.get("/api/snapshots", params={"sourceSandboxId": sandbox["id"]})).json()["items"] == []
    assert (await client.delete("/api/snapshots/daytona-small")).status_code == 403
    made = (await client.post("/api/api-keys", json={"name": "few", "permissions": ["write:sandboxes"]})).json()
    few = {"Authorization": f"Bearer {made['value']}"}
    assert (await client.post(f"{one}/snapshot", json={"name": "x"}, headers=few)).status_code == 403
    assert (await client.delete("/api/snapshots/mine", headers=few)).status_code == 403
