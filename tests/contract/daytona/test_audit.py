"""The audit log in Daytona's words, and what gets into it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from moonpool.access.model import Scope
from moonpool.audit.model import AuditQuery
from moonpool.dialects.common.auditing import Audited
from tests.contract.daytona.conftest import KEY, Running, asking


@pytest.fixture
async def client(running: Running) -> AsyncIterator[httpx.AsyncClient]:
    """As the server has it: with the log around the application."""
    app = Audited(running.app, "daytona", running.core.audit, running.core.clock)
    async with asking(app, KEY) as asker:
        asker.headers["User-Agent"] = "a test"
        yield asker


@pytest.fixture
async def path(client: httpx.AsyncClient) -> str:
    (organization,) = (await client.get("/api/organizations")).json()
    return f"/api/audit/organizations/{organization['id']}"


async def log(client: httpx.AsyncClient, path: str, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def test_changes_and_failures(client: httpx.AsyncClient, path: str) -> None:
    made = (await client.post("/api/sandbox", json={"name": "box"})).json()
    await client.post(f"/api/sandbox/{made['id']}/stop")
    await client.post("/api/sandbox", json={"name": "box"})
    await client.get("/api/sandbox")
    failed, stopped, created = await log(client, path)
    assert [entry["action"] for entry in (created, stopped, failed)] == ["create", "stop", "create"]
    assert [entry["targetId"] for entry in (created, stopped)] == [made["id"], made["id"]]
    assert [entry["statusCode"] for entry in (created, stopped, failed)] == [200, 200, 409]
    assert "targetId" not in failed
    assert "box" in failed["errorMessage"]
    assert created["organizationId"] == made["organizationId"]
    assert (created["source"], created["userAgent"], created["ipAddress"]) == ("daytona", "a test", "127.0.0.1")
    assert created["actorEmail"] == "admin@localhost"


async def test_refusals(client: httpx.AsyncClient, path: str, running: Running) -> None:
    admin = await running.core.access.authenticate(KEY)
    reader = await running.core.access.create_key(admin, "reader", {Scope.SANDBOXES_READ})
    await client.post("/api/sandbox", headers={"Authorization": f"Bearer {reader.secret}"})
    refused = await client.get(path, headers={"Authorization": f"Bearer {reader.secret}"})
    assert refused.status_code == 403
    await client.post("/api/sandbox", headers={"Authorization": "Bearer wrong-key-of-nobody"})
    reading, creating = await log(client, path)
    assert [(entry["action"], entry["statusCode"]) for entry in (creating, reading)] == [("create", 403), ("read", 403)]
    assert creating["actorApiKeyPrefix"] == reader.key.prefix
    unknown = (await running.core.audit.page_of_all(AuditQuery())).items[0]
    assert (unknown.status, unknown.team_id) == (401, None)


async def test_pages_and_filters(client: httpx.AsyncClient, path: str) -> None:
    made = (await client.post("/api/sandbox")).json()
    for _ in range(2):
        await client.post(f"/api/sandbox/{made['id']}/stop")
        await client.post(f"/api/sandbox/{made['id']}/start")
    first = (await client.get(path, params={"limit": 2})).json()
    assert (first["total"], first["page"], first["totalPages"]) == (5, 1, 3)
    second = (await client.get(path, params={"limit": 2, "nextToken": first["nextToken"]})).json()
    assert second["items"] == (await client.get(path, params={"limit": 2, "page": 2})).json()["items"]
    last = (await client.get(path, params={"limit": 2, "nextToken": second["nextToken"]})).json()
    assert [entry["action"] for entry in last["items"]] == ["create"]
    assert "nextToken" not in last
    assert len(await log(client, path, action="stop")) == 2
    assert len(await log(client, path, **{"action[in]": "stop,create"})) == 3
    assert len(await log(client, path, **{"action[not]": "stop"})) == 3
    assert len(await log(client, path, **{"statusCode[gte]": 400})) == 0
    assert len(await log(client, path, targetType="sandbox", targetId=made["id"])) == 5
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert await log(client, path, **{"createdAt[gte]": later}) == []
    assert len(await log(client, path, to=later)) == 5


BAD: list[dict[str, Any]] = [
    {"page": 0},
    {"limit": 201},
    {"nextToken": "x"},
    {"statusCode": "x"},
    {"id": "1e9"},
    {"createdAt[gte]": "yesterday"},
    {"createdAt": "2026-01-01T00:00:00Z"},
    {"action[gte]": "x"},
    {"action[like]": "x"},
    {"from": "0001-01-01T00:00:00+23:59"},
    {"targetId": "\0"},
    {"action[in]": ",".join("x" * 101)},
]


async def test_bad_questions(client: httpx.AsyncClient, path: str) -> None:
    for query in BAD:
        answer = await client.get(path, params=query)
        assert answer.status_code == 400, query


async def test_another_organization_has_none(client: httpx.AsyncClient, stranger: httpx.AsyncClient, path: str) -> None:
    assert (await stranger.get(path)).status_code == 404


async def test_a_key_that_may_read_logs_alone(client: httpx.AsyncClient, path: str) -> None:
    made = await client.post("/api/api-keys", json={"name": "auditor", "permissions": ["read:audit_logs"]})
    headers = {"Authorization": f"Bearer {made.json()['value']}"}
    (entry,) = (await client.get(path, headers=headers)).json()["items"]
    assert (entry["action"], entry["targetType"], entry["targetId"]) == ("create", "api_key", "auditor")
    assert made.json()["value"] not in str(entry)


async def test_scenarios(client: httpx.AsyncClient) -> None:
    targets = (await client.get("/api/audit/scenarios")).json()["targets"]
    actions = {target["targetType"]: target["actions"] for target in targets}
    assert list(actions) == sorted(actions)
    assert {"create", "delete", "start", "stop", "fork"} <= set(actions["sandbox"])
    assert actions["volume"] == ["create", "delete"]
