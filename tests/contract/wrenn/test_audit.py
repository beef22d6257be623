"""The audit log in Wrenn's words."""

from typing import Any

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def log(api: Any, **query: Any) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = (await api.call("listAuditLogs", 200, params=query))["entries"]
    return entries


async def test_changes_are_told(api: Any, capsule: str) -> None:
    await api.call("pauseCapsule", 202, {"id": capsule})
    await api.call("pingCapsule", 409, {"id": capsule})
    paused, created = (await log(api, limit=2))[:2]
    assert (created["action"], created["resource_type"], created["resource_id"]) == ("create", "capsule", capsule)
    assert (paused["action"], paused["status"], paused["scope"]) == ("pause", "success", "team")
    assert (paused["actor_type"], paused["actor_name"]) == ("api_key", "bootstrap")
    assert paused["metadata"]["ip_address"] == "127.0.0.1"


async def test_commands_and_files_are_not(api: Any, capsule: str) -> None:
    await api.call("execCommand", 200, {"id": capsule}, json={"cmd": "true"})
    await api.call("makeDir", 200, {"id": capsule}, json={"path": "a"})
    assert (await log(api, limit=1))[0]["action"] == "create"


async def test_pages(api: Any) -> None:
    for _ in range(3):
        await api.call("destroyCapsule", 404, {"id": "cl-" + "a" * 20})
    first = await api.call("listAuditLogs", 200, params={"limit": 2})
    second = await api.call("listAuditLogs", 200, params={"limit": 1, **first["next_cursor"]})
    entries = [*first["entries"], *second["entries"]]
    assert [entry["status"] for entry in entries] == ["failure"] * 3
    assert [int(entry["id"]) for entry in entries] == sorted((int(entry["id"]) for entry in entries), reverse=True)
    assert entries[0]["metadata"]["error"] == "Sandbox with ID or name " + "a" * 20 + " not found"
    everything = await api.call("listAuditLogs", 200, params={"limit": 200})
    assert everything["next_cursor"] is None


async def test_all_teams_for_admins_of_the_platform_alone(api: Any, stranger_key: str) -> None:
    foreign = {"headers": {"X-API-Key": stranger_key}}
    await api.call("destroyCapsule", 404, {"id": "cl-" + "b" * 20}, **foreign)
    (entry,) = (await api.call("listAuditLogs", 200, **foreign))["entries"]
    other = entry["metadata"]["team_id"]
    for operation in ("adminListAuditLogs", "adminStreamEvents"):
        assert (await api.call(operation, 403, **foreign))["code"] == "forbidden"
    entries = (await api.call("adminListAuditLogs", 200))["entries"]
    assert other in [entry["metadata"].get("team_id") for entry in entries]
    assert other not in [entry["metadata"].get("team_id") for entry in await log(api)]


async def test_refusals(api: Any, reader_key: str) -> None:
    headers = {"X-API-Key": reader_key}
    await api.call("createCapsule", 403, json={}, headers=headers)
    assert (await api.call("listAuditLogs", 403, headers=headers))["code"] == "forbidden"
    reading, creating = await log(api, limit=2)
    assert (creating["action"], creating["metadata"]["outcome"]) == ("create", "refused")
    assert reading["metadata"]["status_code"] == 403


@pytest.mark.parametrize(
    "query", [{"limit": "0"}, {"limit": "201"}, {"limit": "x"}, {"before": "soon"}, {"before_id": "-1"}]
)
async def test_bad_questions(api: Any, query: dict[str, str]) -> None:
    for operation in ("listAuditLogs", "adminListAuditLogs"):
        error = await api.call(operation, 400, params=query)
        assert next(iter(query)) in error["message"]
