"""Lists of sandboxes: filters, orders, both kinds of pages."""

import json
from collections.abc import Callable
from typing import Any

import daytona_api_client as sdk
import httpx
import pytest

Conforms = Callable[[str, Any], Any]


@pytest.fixture
async def three(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    """``alpha`` (small, stopped), ``beta`` (medium, public, labelled), ``beta-2`` (large, labelled)."""
    bodies = [
        {"name": "alpha", "labels": {"team": "a"}},
        {"name": "beta", "snapshot": "daytona-medium", "public": True, "labels": {"team": "b", "tier": "x"}},
        {"name": "beta-2", "snapshot": "daytona-large", "labels": {"team": "b"}, "ttlMinutes": 60},
    ]
    made = [(await client.post("/api/sandbox", json=body)).json() for body in bodies]
    await client.post("/api/sandbox/alpha/stop")
    return made


async def names(client: httpx.AsyncClient, **query: Any) -> list[str]:
    answer = await client.get("/api/sandbox", params=query)
    assert answer.status_code == 200, answer.text
    return [item["name"] for item in answer.json()["items"]]


async def test_shape(client: httpx.AsyncClient, three: list[dict[str, Any]]) -> None:
    answer = (await client.get("/api/sandbox")).json()
    assert answer["nextCursor"] is None
    listed = sdk.ListSandboxesResponse.from_dict(answer)
    assert listed is not None
    assert [item.name for item in listed.items] == ["beta-2", "beta", "alpha"]
    assert all("env" not in item for item in answer["items"])


FILTERS: list[tuple[dict[str, Any], set[str]]] = [
    ({"name": "BET"}, {"beta", "beta-2"}),
    ({"name": "%"}, set()),
    ({"labels": json.dumps({"team": "b"})}, {"beta", "beta-2"}),
    ({"labels": json.dumps({"team": "b", "tier": "x"})}, {"beta"}),
    ({"labels": "{}"}, {"alpha", "beta", "beta-2"}),
    ({"states": "stopped"}, {"alpha"}),
    ({"states": ["stopped", "started"]}, {"alpha", "beta", "beta-2"}),
    ({"states": ["build_failed"]}, set()),
    ({"snapshots": ["daytona-small", "daytona-large"]}, {"alpha", "beta-2"}),
    ({"isPublic": "true"}, {"beta"}),
    ({"isRecoverable": "true"}, set()),
    ({"minCpu": 2}, {"beta", "beta-2"}),
    ({"maxCpu": 2}, {"alpha", "beta"}),
    ({"minMemoryGiB": 4, "maxMemoryGiB": 4}, {"beta"}),
    ({"minDiskGiB": 9}, {"beta-2"}),
    ({"minGpu": 1}, set()),
    ({"minGpu": 0}, {"alpha", "beta", "beta-2"}),
    ({"regionIds": "local"}, {"alpha", "beta", "beta-2"}),
    ({"regionIds": "us"}, set()),
    ({"sandboxClasses": ["container", "linux-vm"]}, {"alpha", "beta", "beta-2"}),
    ({"sandboxClasses": "windows"}, set()),
    ({"createdAtAfter": "2000-01-01T00:00:00Z", "createdAtBefore": "2999-01-01"}, {"alpha", "beta", "beta-2"}),
    ({"createdAtBefore": "2000-01-01T00:00:00.000000+0000"}, set()),
    ({"lastEventBefore": "2000-01-01T00:00:00Z"}, set()),
    ({"autoDestroyAtAfter": "2000-01-01T00:00:00Z"}, {"beta-2"}),
    ({"includeErroredDeleted": "true", "includeWarm": "true"}, {"alpha", "beta", "beta-2"}),
]


async def test_filters(client: httpx.AsyncClient, three: list[dict[str, Any]]) -> None:
    for query, expected in FILTERS:
        assert set(await names(client, **query)) == expected, query


async def test_by_id_prefix(client: httpx.AsyncClient, three: list[dict[str, Any]]) -> None:
    assert await names(client, id=three[1]["id"][:12].upper()) == ["beta"]


async def test_orders(client: httpx.AsyncClient, three: list[dict[str, Any]]) -> None:
    for field in ("name", "cpu", "memoryGib", "diskGib", "createdAt", "lastActivityAt"):
        ascending = await names(client, sort=field, order="asc")
        assert ascending == list(reversed(await names(client, sort=field, order="desc"))), field
        if field != "lastActivityAt":
            assert ascending == ["alpha", "beta", "beta-2"], field


async def test_cursor(client: httpx.AsyncClient, three: list[dict[str, Any]]) -> None:
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 1, "sort": "name", "order": "asc"}
    while True:
        answer = (await client.get("/api/sandbox", params=query)).json()
        seen += [item["name"] for item in answer["items"]]
        if answer["nextCursor"] is None:
            break
        query["cursor"] = answer["nextCursor"]
    assert seen == ["alpha", "beta", "beta-2"]


async def old_list(client: httpx.AsyncClient, version: str, **query: str) -> Any:
    """The answer to an SDK of before the document, which is not held against it."""
    hooks, client.event_hooks = client.event_hooks, {}
    try:
        answer = await client.get("/api/sandbox", params=query, headers={"X-Daytona-SDK-Version": version})
    finally:
        client.event_hooks = hooks
    return answer.json()


@pytest.mark.parametrize("query", [{"limit": "1"}, {"labels": "null"}, {}])
async def test_sdks_before_pages_get_a_whole_list(
    client: httpx.AsyncClient, conforms: Conforms, three: list[dict[str, Any]], query: dict[str, str]
) -> None:
    listed = await old_list(client, "0.103.0", **query)
    assert [conforms("Sandbox", item)["name"] for item in listed] == ["beta-2", "beta", "alpha"]
    assert await old_list(client, "0.27.1", labels='{"no": "such"}') == []


async def test_pages(client: httpx.AsyncClient, conforms: Conforms, three: list[dict[str, Any]]) -> None:
    first = conforms("PaginatedSandboxes", (await client.get("/api/sandbox/paginated?limit=2")).json())
    second = conforms("PaginatedSandboxes", (await client.get("/api/sandbox/paginated?limit=2&page=2")).json())
    assert [item["name"] for item in first["items"] + second["items"]] == ["beta-2", "beta", "alpha"]
    assert (first["total"], first["page"], first["totalPages"]) == (3, 1, 2)
    assert second["page"] == 2
    assert (await client.get("/api/sandbox/paginated?states=stopped&sort=updatedAt")).json()["total"] == 1
    assert (await client.get("/api/sandbox/paginated?regions=us")).json()["total"] == 0
    assert (await client.get("/api/sandbox/paginated?labels=null")).json()["total"] == 3


async def test_other_teams_see_nothing(stranger: httpx.AsyncClient, three: list[dict[str, Any]]) -> None:
    assert await names(stranger) == []
    assert (await stranger.get("/api/sandbox/paginated")).json()["total"] == 0
