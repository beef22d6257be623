"""The one host, and its tags."""

from typing import Any

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def host_of(api: Any) -> str:
    (host,) = await api.call("listHosts", 200)
    identifier: str = host["id"]
    return identifier


async def test_the_host_is_this_server(api: Any, capsule: str) -> None:
    (host,) = await api.call("listHosts", 200)
    assert (host["status"], host["type"]) == ("online", "regular")
    assert min(host["cpu_cores"], host["memory_mb"], host["disk_gb"]) > 0
    assert (await api.call("getHost", 200, {"id": host["id"]}))["address"] == host["address"]
    preview = await api.call("getHostDeletePreview", 200, {"id": host["id"]})
    assert capsule in preview["sandbox_ids"]
    assert (await api.call("getHost", 404, {"id": "another"}))["code"] == "not_found"


async def test_tags(api: Any) -> None:
    place = {"id": await host_of(api)}
    for tag in ("fast", "eu", "fast"):
        await api.call("addHostTag", 204, place, json={"tag": tag})
    assert await api.call("listHostTags", 200, place) == ["eu", "fast"]
    await api.call("removeHostTag", 204, {**place, "tag": "fast"})
    assert await api.call("listHostTags", 200, place) == ["eu"]
    await api.call("removeHostTag", 404, {**place, "tag": "fast"})
    await api.call("addHostTag", 400, place, json={"tag": " "})
    await api.call("removeHostTag", 204, {**place, "tag": "eu"})


async def test_no_other_host_is_taken_in(api: Any) -> None:
    for operation, body in (("createHost", {"type": "regular"}), ("registerHost", {"token": "x", "address": "y"})):
        refused = await api.call(operation, 501, json=body)
        assert "GET /v1/hosts" in refused["message"]
