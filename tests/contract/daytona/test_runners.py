"""The one runner: what it is, who may see how loaded it is, and the switches that keep sandboxes away from it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import daytona_api_client as sdk
import httpx
import pytest

from moonpool.app import Core
from moonpool.clock import SystemClock
from moonpool.config import Settings
from moonpool.store.database import Store
from tests.contract.daytona.conftest import KEY, MemoryMachines, Running, asking

Conforms = Callable[[str, Any], Any]


@pytest.fixture
async def runner(client: httpx.AsyncClient) -> str:
    (found,) = (await client.get("/api/runners")).json()
    identifier: str = found["id"]
    return identifier


async def test_the_runner_is_this_server(client: httpx.AsyncClient, conforms: Conforms, sandbox: Any) -> None:
    (found,) = (await client.get("/api/runners", params={"regionId": "local"})).json()
    known = sdk.Runner.from_dict(conforms("Runner", found))
    assert known is not None
    assert (known.region, known.unschedulable, known.state) == ("local", False, sdk.RunnerState.READY)
    assert (known.current_started_sandboxes, known.current_allocated_cpu) == (1, sandbox["cpu"])
    assert known.memory > 0
    assert known.disk > 0
    one = (await client.get(f"/api/runners/{known.id}")).json()
    assert one["name"] == known.name
    full = conforms("RunnerFull", (await client.get(f"/api/runners/{known.id}/full")).json())
    assert (full["apiKey"], full["proxyUrl"]) == ("", "http://daytona.test/toolbox")
    assert (await client.get("/api/runners", params={"regionId": "mars"})).json() == []
    assert (await client.get("/api/runners/another")).status_code == 404


async def test_where_things_are(client: httpx.AsyncClient, conforms: Conforms, sandbox: Any, runner: str) -> None:
    found = conforms("RunnerFull", (await client.get(f"/api/runners/by-sandbox/{sandbox['id']}")).json())
    assert found["id"] == runner
    assert (await client.get("/api/runners/by-sandbox/nowhere")).status_code == 404
    (place,) = (await client.get("/api/runners/by-snapshot-ref", params={"ref": "daytona-small"})).json()
    assert conforms("RunnerSnapshotDto", place)["runnerId"] == runner
    assert (await client.get("/api/runners/by-snapshot-ref", params={"ref": "none"})).json() == []
    for states, expected in ((None, 1), ("started,stopped", 1), ("stopped", 0)):
        query = {"skipReconcilingSandboxes": "true", **({"states": states} if states else {})}
        listed = (await client.get("/api/sandbox/for-runner", params=query)).json()
        assert len(listed) == expected
    assert (await client.get("/api/sandbox/for-runner", params={"states": "lost"})).status_code == 400


async def test_what_others_see(stranger: httpx.AsyncClient, sandbox: Any, runner: str) -> None:
    (found,) = (await stranger.get("/api/runners")).json()
    assert not any(name.startswith("current") for name in found)
    assert (await stranger.get(f"/api/runners/{runner}/full")).status_code == 403
    assert (await stranger.get(f"/api/runners/by-sandbox/{sandbox['id']}")).status_code == 404
    assert (await stranger.get("/api/sandbox/for-runner")).json() == []
    for switch, body in (("scheduling", {"unschedulable": True}), ("draining", {"draining": True})):
        assert (await stranger.patch(f"/api/runners/{runner}/{switch}", json=body)).status_code == 403


async def test_nothing_new_is_placed(client: httpx.AsyncClient, sandbox: Any, runner: str) -> None:
    path = f"/api/runners/{runner}/scheduling"
    assert (await client.patch(path, json={"unschedulable": True})).json()["unschedulable"] is True
    refused = await client.post("/api/sandbox", json={})
    assert (refused.status_code, refused.json()["error"]) == (503, "Service Unavailable")
    assert (await client.post(f"/api/sandbox/{sandbox['id']}/fork", json={})).status_code == 503
    for step in ("stop", "start"):
        assert (await client.post(f"/api/sandbox/{sandbox['id']}/{step}")).status_code == 200
    assert (await client.patch(path, json={"unschedulable": False})).json()["unschedulable"] is False
    assert (await client.post("/api/sandbox", json={})).status_code == 200


async def test_nothing_starts_while_it_drains(client: httpx.AsyncClient, sandbox: Any, runner: str) -> None:
    await client.post(f"/api/sandbox/{sandbox['id']}/stop")
    path = f"/api/runners/{runner}/draining"
    assert (await client.patch(path, json={"draining": True})).status_code == 200
    assert (await client.post(f"/api/sandbox/{sandbox['id']}/start")).status_code == 503
    assert (await client.post("/api/sandbox", json={})).status_code == 503
    assert (await client.get(f"/api/sandbox/{sandbox['id']}")).json()["state"] == "stopped"
    assert (await client.patch(path, json={"draining": False})).status_code == 200
    assert (await client.post(f"/api/sandbox/{sandbox['id']}/start")).status_code == 200


@pytest.mark.parametrize("body", [{}, {"unschedulable": "yes"}, {"unschedulable": None}])
async def test_switches_want_a_position(client: httpx.AsyncClient, runner: str, body: Any) -> None:
    assert (await client.patch(f"/api/runners/{runner}/scheduling", json=body)).status_code == 400
    assert (await client.patch("/api/runners/other/scheduling", json={"unschedulable": True})).status_code == 404


async def test_switches_are_kept_over_a_restart(running: Running, client: httpx.AsyncClient, tmp_path: Path) -> None:
    (found,) = (await client.get("/api/runners")).json()
    await client.patch(f"/api/runners/{found['id']}/scheduling", json={"unschedulable": True})
    store = await Store.open(f"sqlite:///{tmp_path / 'db.sqlite'}")
    settings = Settings(data=tmp_path, api_key=KEY, on_exit="stop")
    again = Core(settings, store, MemoryMachines(), SystemClock())
    await again.fleet.start()
    host = await again.fleet.host(await again.access.local_principal())
    assert (host.id, host.placing.unschedulable) == (found["id"], True)
    await store.close()


async def test_a_key_that_may_not_everything(client: httpx.AsyncClient, running: Running, runner: str) -> None:
    body = {"name": "ci", "permissions": ["write:sandboxes"]}
    made = (await client.post("/api/api-keys", json=body)).json()
    async with asking(running.app, made["value"]) as other:
        assert (await other.get(f"/api/runners/{runner}")).status_code == 200
        assert (await other.get(f"/api/runners/{runner}/full")).status_code == 403
        answer = await other.patch(f"/api/runners/{runner}/draining", json={"draining": True})
        assert answer.status_code == 403
