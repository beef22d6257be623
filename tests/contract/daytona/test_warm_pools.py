"""Warm pools: machines kept ready beyond the server's own number."""

from typing import Any

import daytona_api_client as sdk
import httpx
import pytest
from daytona import AsyncDaytona, DaytonaConfig

from tests.contract.daytona.conftest import KEY, MemoryMachines


async def test_the_life_of_a_pool(client: httpx.AsyncClient, machines: MemoryMachines) -> None:
    answer = await client.post("/api/warm-pools", json={"snapshot": "daytona-medium", "pool": 3, "target": "local"})
    assert answer.status_code == 201
    made = sdk.WarmPool.from_dict(answer.json())
    assert made is not None
    assert (made.snapshot, made.pool, made.cpu, made.mem) == ("daytona-medium", 3, 2, 4)
    assert machines.warm == 3
    await client.post("/api/warm-pools", json={"snapshot": "daytona-small", "pool": 2})
    assert machines.warm == 5
    listed = (await client.get("/api/warm-pools")).json()
    assert [pool["snapshot"] for pool in listed] == ["daytona-medium", "daytona-small"]
    assert (await client.patch(f"/api/warm-pools/{made.id}", json={"pool": 0})).json()["pool"] == 0
    assert machines.warm == 2
    assert (await client.delete(f"/api/warm-pools/{listed[1]['id']}")).status_code == 204
    assert machines.warm == 0
    assert (await client.delete(f"/api/warm-pools/{listed[1]['id']}")).status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"snapshot": "daytona-small"}, 400),
        ({"snapshot": "daytona-small", "pool": 0}, 400),
        ({"snapshot": "daytona-small", "pool": 1, "target": "mars"}, 400),
        ({"snapshot": "daytona-small", "pool": 11}, 400),
        ({"snapshot": "none", "pool": 1}, 404),
        ({"snapshot": "daytona-large", "pool": 1}, 409),
    ],
)
async def test_what_is_refused(client: httpx.AsyncClient, body: Any, status: int, machines: MemoryMachines) -> None:
    await client.post("/api/warm-pools", json={"snapshot": "daytona-large", "pool": 1})
    answer = await client.post("/api/warm-pools", json=body)
    assert (answer.status_code, answer.json()["statusCode"]) == (status, status), answer.text
    assert machines.warm == 1


async def test_a_snapshot_with_memory_needs_none(client: httpx.AsyncClient, sandbox: Any) -> None:
    body = {"name": "kept", "includeMemory": True}
    await client.post(f"/api/sandbox/{sandbox['id']}/snapshot", json=body)
    if (await client.get("/api/snapshots/kept")).json().get("state") != "active":
        pytest.fail("the snapshot was not taken")
    answer = await client.post("/api/warm-pools", json={"snapshot": "kept", "pool": 1})
    assert (answer.status_code, "memory" in answer.json()["message"]) == (400, True)


async def test_one_whose_snapshot_is_gone_says_so(client: httpx.AsyncClient, sandbox: Any) -> None:
    await client.post(f"/api/sandbox/{sandbox['id']}/snapshot", json={"name": "kept", "includeMemory": False})
    await client.post("/api/warm-pools", json={"snapshot": "kept", "pool": 1})
    await client.delete("/api/snapshots/kept")
    (pool,) = (await client.get("/api/warm-pools")).json()
    assert (pool["snapshot"], "gone" in pool["errorReason"]) == ("kept", True)


async def test_another_teams(client: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
    made = (await client.post("/api/warm-pools", json={"snapshot": "daytona-small", "pool": 1})).json()
    assert (await stranger.get("/api/warm-pools")).json() == []
    assert (await stranger.patch(f"/api/warm-pools/{made['id']}", json={"pool": 0})).status_code == 404
    assert (await stranger.delete(f"/api/warm-pools/{made['id']}")).status_code == 404


async def test_by_the_sdk(live_url: str, machines: MemoryMachines) -> None:
    async with AsyncDaytona(DaytonaConfig(api_key=KEY, api_url=f"{live_url}/api")) as daytona:
        made = await daytona.warm_pool.create("daytona-small", pool=2)
        assert (machines.warm, made.target) == (2, "local")
        assert (await daytona.warm_pool.update(made.id, pool=1)).pool == 1
        assert [pool.id for pool in await daytona.warm_pool.list()] == [made.id]
        await daytona.warm_pool.delete(made.id)
        assert await daytona.warm_pool.list() == []
    assert machines.warm == 0
