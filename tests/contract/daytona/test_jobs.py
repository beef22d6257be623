"""Jobs: what is under way for the team."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from moonpool.dialects.daytona import sandboxes
from tests.contract.daytona.conftest import MemoryMachines

Conforms = Callable[[str, Any], Any]


async def test_a_start_while_it_goes_on(
    client: httpx.AsyncClient,
    stranger: httpx.AsyncClient,
    machines: MemoryMachines,
    sandbox: dict[str, Any],
    settled: Callable[[str], Awaitable[None]],
    conforms: Conforms,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sandboxes, "ANSWER_WITHIN", 1.0)
    await client.post(f"/api/sandbox/{sandbox['id']}/stop")
    machines.may_start.clear()
    await client.post(f"/api/sandbox/{sandbox['id']}/start")
    listed = conforms("PaginatedJobs", (await client.get("/api/jobs", params={"status": "IN_PROGRESS"})).json())
    (job,) = listed["items"]
    assert (job["type"], job["resourceId"]) == ("START_SANDBOX", sandbox["id"])
    assert conforms("Job", (await client.get(f"/api/jobs/{job['id']}")).json())["status"] == "IN_PROGRESS"
    assert (await stranger.get(f"/api/jobs/{job['id']}")).status_code == 404
    assert (await stranger.get("/api/jobs")).json()["items"] == []
    machines.may_start.set()
    await settled(sandbox["id"])
    assert (await client.get(f"/api/jobs/{job['id']}")).status_code == 404


async def test_builds_are_kept(client: httpx.AsyncClient, conforms: Conforms) -> None:
    for name in ("one", "two", "three"):
        await client.post("/api/snapshots", json={"name": name, "imageName": "debian:12"})
    page = conforms("PaginatedJobs", (await client.get("/api/jobs", params={"limit": 2, "page": 2})).json())
    assert (page["total"], page["page"], page["totalPages"], len(page["items"])) == (3, 2, 2, 1)
    assert page["items"][0]["type"] == "BUILD_SNAPSHOT"
    offset = (await client.get("/api/jobs", params={"limit": 2, "offset": 2})).json()
    assert offset["items"] == page["items"]


async def test_bad_pages(client: httpx.AsyncClient) -> None:
    for query in ({"limit": 0}, {"page": "x"}, {"status": "LOST"}, {"offset": -1}):
        assert (await client.get("/api/jobs", params=query)).status_code == 400
