"""Configuration, health, regions, snapshots and keys."""

import json
from collections.abc import Callable
from typing import Any

import daytona_api_client as sdk
import httpx
import pytest

Conforms = Callable[[str, Any], Any]


async def test_config(client: httpx.AsyncClient, conforms: Conforms) -> None:
    body = conforms("DaytonaConfiguration", (await client.get("/api/config")).json())
    known = sdk.DaytonaConfiguration.from_dict(body)
    assert known is not None
    assert known.default_snapshot == "daytona-small"
    assert known.proxy_toolbox_url == "http://daytona.test/toolbox"
    assert known.analytics_api_url is None
    assert known.max_auto_archive_interval == 43200


async def test_health_needs_no_key(client: httpx.AsyncClient) -> None:
    nobody = {"Authorization": ""}
    assert (await client.get("/api/health", headers=nobody)).json() == {"status": "ok"}
    ready = (await client.get("/api/health/ready", headers=nobody)).json()
    assert ready["info"] == {"database": {"status": "up"}}
    assert sdk.HealthControllerCheck200Response.from_dict(ready) is not None
    assert (await client.get("/api/config", headers=nobody)).status_code == 401


async def test_regions(client: httpx.AsyncClient, conforms: Conforms) -> None:
    for url in ("/api/regions", "/api/shared-regions"):
        (region,) = (await client.get(url)).json()
        assert conforms("Region", region)["id"] == "local"
        assert sdk.Region.from_dict(region) is not None
    assert (await client.get("/api/regions/local")).json() == region
    assert (await client.get("/api/regions/us")).status_code == 404


async def test_snapshots(client: httpx.AsyncClient, conforms: Conforms) -> None:
    body = conforms("PaginatedSnapshots", (await client.get("/api/snapshots")).json())
    listed = sdk.PaginatedSnapshots.from_dict(body)
    assert listed is not None
    sizes = {item.name: (item.cpu, item.mem, item.disk) for item in listed.items}
    assert sizes["daytona-small"] == (1, 1, 3)
    assert sizes["daytona-medium"] == (2, 4, 8)
    assert sizes["daytona-large"] == (4, 8, 10)
    assert all(item.general and item.state is sdk.SnapshotState.ACTIVE for item in listed.items)
    assert (listed.total, listed.page, listed.total_pages) == (len(sizes), 1, 1)


async def test_snapshot_pages_orders_and_names(client: httpx.AsyncClient) -> None:
    query = {"sort": "name", "order": "asc", "limit": 2, "page": 2}
    page = (await client.get("/api/snapshots", params=query)).json()
    assert page["page"] == 2
    assert page["totalPages"] == -(-page["total"] // 2)
    everything = (await client.get("/api/snapshots?sort=name&order=asc")).json()["items"]
    assert page["items"] == everything[2:4]
    (large,) = (await client.get("/api/snapshots?name=LARGE")).json()["items"]
    assert large["name"] == "daytona-large"
    assert (await client.get("/api/snapshots?sourceSandboxId=x")).json()["items"] == []


async def test_one_snapshot(client: httpx.AsyncClient, conforms: Conforms) -> None:
    by_name = conforms("SnapshotDto", (await client.get("/api/snapshots/daytona-small")).json())
    assert (await client.get(f"/api/snapshots/{by_name['id']}")).json() == by_name
    assert sdk.SnapshotDto.from_dict(by_name) is not None
    assert (await client.get("/api/snapshots/nowhere")).status_code == 404


async def test_keys(client: httpx.AsyncClient, conforms: Conforms) -> None:
    wanted = {
        "name": "ci",
        "permissions": ["write:registries", "write:sandboxes", "delete:sandboxes"],
        "expiresAt": "2999-01-01T00:00:00.000Z",
    }
    answer = await client.post("/api/api-keys", json=wanted)
    assert answer.status_code == 201
    made = conforms("ApiKeyResponse", answer.json())
    assert sdk.ApiKeyResponse.from_dict(made) is not None
    assert made["permissions"] == wanted["permissions"]
    assert made["expiresAt"] == wanted["expiresAt"]

    headers = {"Authorization": f"Bearer {made['value']}"}
    assert (await client.post("/api/sandbox", json={}, headers=headers)).status_code == 200
    current = conforms("ApiKeyList", (await client.get("/api/api-keys/current", headers=headers)).json())
    assert current["name"] == "ci"
    listed = (await client.get("/api/api-keys")).json()
    assert {conforms("ApiKeyList", key)["name"] for key in listed} >= {"ci"}
    assert made["value"] not in json.dumps([listed, current])
    one = conforms("ApiKeyList", (await client.get("/api/api-keys/ci")).json())
    assert sdk.ApiKeyList.from_dict(one) is not None

    assert (await client.delete("/api/api-keys/ci")).status_code == 204
    assert (await client.get("/api/sandbox", headers=headers)).status_code == 401
    assert (await client.get("/api/api-keys/ci")).status_code == 404


async def test_keys_of_a_user(client: httpx.AsyncClient) -> None:
    await client.post("/api/api-keys", json={"name": "ci", "permissions": []})
    owner = (await client.get("/api/api-keys/ci")).json()["userId"]
    assert (await client.delete("/api/api-keys/somebody/ci")).status_code == 404
    assert (await client.delete(f"/api/api-keys/{owner}/ci")).status_code == 204


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "x"}, 400),
        ({"name": "", "permissions": []}, 400),
        ({"name": "x", "permissions": ["rule:world"]}, 400),
        ({"name": "x", "permissions": [], "expiresAt": "soon"}, 400),
        ({"name": "x", "permissions": [], "expiresAt": "2000-01-01T00:00:00Z"}, 400),
        ({"name": "taken", "permissions": []}, 409),
    ],
)
async def test_bad_keys(client: httpx.AsyncClient, body: dict[str, Any], status: int) -> None:
    await client.post("/api/api-keys", json={"name": "taken", "permissions": []})
    answer = await client.post("/api/api-keys", json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["statusCode"] == status
