"""Templates made of capsules."""

from typing import Any

import pytest

from moonpool.errors import EngineError

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def names(api: Any, **params: str) -> list[str]:
    return [template["name"] for template in await api.call("listSnapshots", 200, params=params)]


async def test_made_used_and_deleted(api: Any) -> None:
    made = await api.capsule(vcpus=2, memory_mb=1024)
    kept = await api.call("createSnapshot", 201, json={"sandbox_id": made, "name": "mine"})
    assert (kept["name"], kept["type"], kept["vcpus"], kept["memory_mb"]) == ("mine", "snapshot", 2, 1024)
    assert "mine" in await names(api, type="snapshot")
    assert "mine" not in await names(api, type="base")
    capsule = await api.call("createCapsule", 202, json={"template": "mine"})
    assert (capsule["template"], capsule["status"]) == ("mine", "running")
    await api.call("deleteSnapshot", 204, {"name": "mine"})
    assert "mine" not in await names(api)
    assert (await api.call("getCapsule", 200, {"id": capsule["id"]}))["status"] == "running"


async def test_a_name_of_its_own(api: Any, capsule: str) -> None:
    first = await api.call("createSnapshot", 201, json={"sandbox_id": capsule})
    second = await api.call("createSnapshot", 201, json={"sandbox_id": capsule})
    assert first["name"] != second["name"]
    for template in (first, second):
        await api.call("deleteSnapshot", 204, {"name": template["name"]})


async def test_overwriting_is_asked_for(api: Any, capsule: str, machines: Any) -> None:
    wanted = {"sandbox_id": capsule, "name": "again"}
    await api.call("createSnapshot", 201, json=wanted, params={"overwrite": "true"})
    (old,) = machines.kept
    refused = await api.call("createSnapshot", 409, json=wanted)
    assert refused["code"] == "conflict"
    assert machines.kept == {old}
    await api.call("createSnapshot", 201, json=wanted, params={"overwrite": "true"})
    (new,) = machines.kept
    assert new != old
    assert (await names(api)).count("again") == 1
    await api.call("deleteSnapshot", 204, {"name": "again"})
    assert machines.kept == set()


async def test_a_failure_leaves_the_old_one(
    api: Any, capsule: str, machines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {"sandbox_id": capsule, "name": "old"}
    await api.call("createSnapshot", 201, json=wanted)

    async def fails(*_: object, **__: object) -> None:
        raise EngineError("The disk is full")

    monkeypatch.setattr(machines, "capture", fails)
    await api.call("createSnapshot", 502, json=wanted, params={"overwrite": "true"})
    assert (await names(api)).count("old") == 1
    await api.call("deleteSnapshot", 204, {"name": "old"})


async def test_what_cannot_be(api: Any, capsule: str) -> None:
    await api.call("createSnapshot", 404, json={"sandbox_id": "cl-unknown"})
    await api.call("createSnapshot", 400, json={"name": "x"})
    await api.call("createSnapshot", 400, json={"sandbox_id": capsule, "name": "a\0b"})
    await api.call("deleteSnapshot", 404, {"name": "nowhere"})
    await api.call("deleteSnapshot", 403, {"name": "minimal"})
    # The server's own are no one's to overwrite; a team may have one of the same name beside it.
    await api.call("createSnapshot", 201, json={"sandbox_id": capsule, "name": "minimal"}, params={"overwrite": "true"})
    assert (await names(api)).count("minimal") == 2
    await api.call("deleteSnapshot", 204, {"name": "minimal"})
    assert await names(api, type="base")


async def test_a_key_without_the_scope(api: Any, capsule: str, reader_key: str) -> None:
    headers = {"X-API-Key": reader_key}
    await api.call("createSnapshot", 403, json={"sandbox_id": capsule}, headers=headers)
    await api.call("deleteSnapshot", 403, {"name": "minimal"}, headers=headers)
