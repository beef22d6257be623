"""Changing a sandbox's labels, timers, visibility, network and size."""

from collections.abc import Callable
from typing import Any

import httpx

Conforms = Callable[[str, Any], Any]


async def test_labels(client: httpx.AsyncClient, conforms: Conforms, sandbox: dict[str, Any]) -> None:
    one = f"/api/sandbox/{sandbox['id']}"
    answer = await client.put(f"{one}/labels", json={"labels": {"a": "1", "code-toolbox-language": "typescript"}})
    assert conforms("SandboxLabels", answer.json()) == {"labels": {"a": "1", "code-toolbox-language": "typescript"}}
    assert (await client.get(one)).json()["labels"] == {"a": "1", "code-toolbox-language": "typescript"}
    assert (await client.put(f"{one}/labels", json={"labels": {}})).json() == {"labels": {}}
    assert (await client.put(f"{one}/labels", json={})).status_code == 400


SETTINGS: list[tuple[str, str, object]] = [
    ("autostop/30", "autoStopInterval", 30),
    ("autostop/0", "autoStopInterval", 0),
    ("autopause/30", "autoPauseInterval", 30),
    ("autopause/0", "autoPauseInterval", 0),
    ("autoarchive/60", "autoArchiveInterval", 60),
    ("autoarchive/0", "autoArchiveInterval", 43200),
    ("autoarchive/99999", "autoArchiveInterval", 43200),
    ("autodelete/60", "autoDeleteInterval", 60),
    ("autodelete/0", "autoDeleteInterval", 0),
    ("autodelete/-1", "autoDeleteInterval", -1),
    ("autodelete/-7", "autoDeleteInterval", -1),
    ("public/true", "public", True),
    ("public/false", "public", False),
]


async def test_single_settings(client: httpx.AsyncClient, conforms: Conforms, sandbox: dict[str, Any]) -> None:
    one = f"/api/sandbox/{sandbox['id']}"
    for path, field, value in SETTINGS:
        changed = conforms("Sandbox", (await client.post(f"{one}/{path}")).json())
        assert changed[field] == value, path
        assert (await client.get(one)).json()[field] == value, path


async def test_stopping_and_pausing_by_themselves_exclude_each_other(
    client: httpx.AsyncClient, sandbox: dict[str, Any]
) -> None:
    one = f"/api/sandbox/{sandbox['id']}"
    paused = (await client.post(f"{one}/autopause/5")).json()
    assert (paused["autoStopInterval"], paused["autoPauseInterval"]) == (0, 5)
    stopped = (await client.post(f"{one}/autostop/7")).json()
    assert (stopped["autoStopInterval"], stopped["autoPauseInterval"]) == (7, 0)


async def test_ephemeral_ones_do_not_pause_by_themselves(client: httpx.AsyncClient) -> None:
    made = (await client.post("/api/sandbox", json={"autoDeleteInterval": 0})).json()
    assert (await client.post(f"/api/sandbox/{made['id']}/autopause/5")).status_code == 400


async def test_time_to_live(client: httpx.AsyncClient, conforms: Conforms, sandbox: dict[str, Any]) -> None:
    one = f"/api/sandbox/{sandbox['id']}"
    limited = conforms("Sandbox", (await client.post(f"{one}/ttl/60")).json())
    assert limited["autoDestroyAt"] > limited["createdAt"]
    renamed = (await client.post(f"{one}/autostop/9")).json()
    assert renamed["autoDestroyAt"] == limited["autoDestroyAt"]
    assert "autoDestroyAt" not in (await client.post(f"{one}/ttl/0")).json()


async def test_network(client: httpx.AsyncClient, conforms: Conforms, sandbox: dict[str, Any]) -> None:
    async def change(**body: object) -> tuple[bool, str | None]:
        answer = await client.post(f"/api/sandbox/{sandbox['id']}/network-settings", json=body)
        changed = conforms("Sandbox", answer.json())
        return changed["networkBlockAll"], changed.get("networkAllowList")

    assert await change(networkAllowList="1.1.1.0/24,8.8.8.8/32") == (False, "1.1.1.0/24,8.8.8.8/32")
    assert await change() == (False, "1.1.1.0/24,8.8.8.8/32")
    assert await change(networkBlockAll=True) == (True, None)
    assert await change(networkAllowList="1.1.1.0/24") == (False, "1.1.1.0/24")
    assert await change(networkAllowList="") == (False, None)
    assert await change(networkBlockAll=True) == (True, None)
    assert await change(networkBlockAll=False) == (False, None)


async def test_network_by_domain(client: httpx.AsyncClient, conforms: Conforms, sandbox: dict[str, Any]) -> None:
    async def change(**body: object) -> tuple[bool, str | None, str | None]:
        answer = await client.post(f"/api/sandbox/{sandbox['id']}/network-settings", json=body)
        changed = conforms("Sandbox", answer.json())
        return changed["networkBlockAll"], changed.get("networkAllowList"), changed.get("domainAllowList")

    assert await change(domainAllowList="PyPI.org, *.example.com.") == (False, None, "pypi.org,*.example.com")
    assert await change(networkAllowList="1.1.1.0/24") == (False, "1.1.1.0/24", "pypi.org,*.example.com")
    assert await change(networkAllowList="") == (False, None, "pypi.org,*.example.com")
    assert await change(networkBlockAll=True) == (True, None, None)
    assert await change(domainAllowList="") == (True, None, None)
    assert await change(domainAllowList="a.com") == (False, None, "a.com")
    assert await change(networkBlockAll=False, networkAllowList="1.1.1.0/24") == (False, "1.1.1.0/24", None)


async def test_last_activity(client: httpx.AsyncClient, sandbox: dict[str, Any]) -> None:
    url = f"/api/sandbox/{sandbox['id']}/last-activity"
    for answer in (await client.post(url), await client.post(url, json={"activityType": "ssh"})):
        assert (answer.status_code, answer.content) == (201, b"")
    touched = (await client.get(f"/api/sandbox/{sandbox['id']}")).json()
    assert touched["lastActivityAt"] >= sandbox["lastActivityAt"]


async def test_resize(client: httpx.AsyncClient, conforms: Conforms, sandbox: dict[str, Any]) -> None:
    one = f"/api/sandbox/{sandbox['id']}"

    async def resize(**body: int) -> httpx.Response:
        return await client.post(f"{one}/resize", json=body)

    grown = conforms("Sandbox", (await resize(cpu=2, memory=2)).json())
    assert (grown["cpu"], grown["memory"], grown["state"]) == (2, 2, "started")
    for refused in ({"cpu": 1}, {"memory": 1}, {"disk": 5}, {"cpu": 2, "memory": 2}, {}, {"cpu": 0}):
        assert (await resize(**refused)).status_code == 400
    await client.post(f"{one}/stop")
    assert (await resize(disk=1)).status_code == 400
    changed = (await resize(cpu=1, memory=1, disk=5)).json()
    assert (changed["cpu"], changed["memory"], changed["disk"], changed["state"]) == (1, 1, 5, "stopped")
