"""What a team may have and ask for: told, counted and enforced."""

from collections.abc import Callable
from typing import Any

import daytona_api_client as sdk
import httpx
import pytest

from moonpool.access.model import LimitFigure
from tests.contract.daytona.conftest import KEY, Running

Conforms = Callable[[str, Any], Any]


@pytest.fixture
async def team(running: Running) -> str:
    return (await running.core.access.authenticate(KEY)).team_id


async def limit(running: Running, team: str, **figures: LimitFigure) -> None:
    await running.core.access.limits.change(team, figures)


async def test_usage_and_quotas(running: Running, client: httpx.AsyncClient, team: str, conforms: Conforms) -> None:
    await limit(running, team, total_cpu=10, total_memory_mib=10240, snapshots=3, volumes=2)
    first = (await client.post("/api/sandbox", json={"cpu": 2, "memory": 4, "disk": 5})).json()
    await client.post("/api/sandbox", json={"cpu": 1, "memory": 1, "disk": 1})
    await client.post(f"/api/sandbox/{first['id']}/snapshot", json={"name": "kept"})
    path = f"/api/organizations/{team}/usage"
    usage = conforms("OrganizationUsageOverview", (await client.get(path)).json())
    known = sdk.OrganizationUsageOverview.from_dict(usage)
    assert known is not None
    (region,) = known.region_usage
    assert (region.region_id, region.sandbox_class) == ("local", sdk.SandboxClass.CONTAINER)
    assert (region.total_cpu_quota, region.current_cpu_usage) == (10, 3)
    assert (region.total_memory_quota, region.current_memory_usage) == (10, 5)
    assert (region.current_disk_usage, region.current_gpu_usage, region.total_gpu_quota) == (6, 0, 0)
    assert region.total_disk_quota >= 1_000_000
    assert (known.total_snapshot_quota, known.total_volume_quota) == (3, 2)

    await client.post(f"/api/sandbox/{first['id']}/stop")
    (region,) = (await client.get(path)).json()["regionUsage"]
    assert (region["currentCpuUsage"], region["currentDiskUsage"]) == (1, 6)

    quota = conforms("RegionQuota", (await client.get(f"/api/sandbox/{first['id']}/region-quota")).json())
    assert sdk.RegionQuota.from_dict(quota) is not None
    assert (quota["organizationId"], quota["totalCpuQuota"]) == (team, 10)
    (organization,) = (await client.get("/api/organizations")).json()
    assert quota["maxCpuPerSandbox"] == organization["maxCpuPerSandbox"]


async def test_what_kinds_there_are(client: httpx.AsyncClient, team: str) -> None:
    (one,) = (await client.get(f"/api/organizations/{team}/available-sandbox-classes")).json()
    known = sdk.AvailableSandboxClass.from_dict(one)
    assert known is not None
    assert (known.sandbox_class, known.gpu_available) == (sdk.SandboxClass.CONTAINER, False)
    capacity = sdk.GpuCapacityResponse.from_dict((await client.get(f"/api/organizations/{team}/gpu-capacity")).json())
    assert capacity is not None
    assert capacity.capacity == []


@pytest.mark.parametrize("rest", ["usage", "available-sandbox-classes", "gpu-capacity"])
async def test_another_organizations(client: httpx.AsyncClient, rest: str) -> None:
    assert (await client.get(f"/api/organizations/another/{rest}")).status_code == 404
    assert (await client.get("/api/sandbox/nowhere/region-quota")).status_code == 404


async def test_more_than_there_may_be(running: Running, client: httpx.AsyncClient, team: str) -> None:
    await limit(running, team, sandboxes=2, total_cpu=3, cpu=2)
    refused = await client.post("/api/sandbox", json={"cpu": 3})
    assert refused.status_code == 400
    assert "exceeds maximum allowed per sandbox (2 cores)" in refused.json()["message"]
    assert (await client.post("/api/sandbox", json={"cpu": 2})).status_code == 200
    refused = await client.post("/api/sandbox", json={"cpu": 2})
    assert refused.status_code == 400
    assert refused.json()["message"].startswith("Total CPU limit exceeded. Maximum allowed: 3 cores")
    assert (await client.post("/api/sandbox", json={"cpu": 1})).status_code == 200
    refused = await client.post("/api/sandbox", json={"cpu": 1})
    assert "2 sandboxes, as many as it may" in refused.json()["message"]


async def test_rates_and_their_headers(running: Running, client: httpx.AsyncClient, team: str) -> None:
    await limit(running, team, requests_hourly=20, creates_hourly=1, changes_hourly=None)
    made = await client.post("/api/sandbox", json={})
    assert made.headers["x-ratelimit-limit-sandbox-create"] == "1"
    assert made.headers["x-ratelimit-remaining-sandbox-create"] == "0"
    assert 0 < int(made.headers["x-ratelimit-reset-sandbox-create"]) <= 3600
    assert made.headers["x-ratelimit-limit-authenticated"] == "20"
    refused = await client.post("/api/sandbox", json={})
    assert (refused.status_code, refused.json()["error"]) == (429, "Too Many Requests")
    assert 0 < int(refused.headers["retry-after"]) <= 3600
    assert int(refused.headers["retry-after-sandbox-create"]) > 0
    stopped = await client.post(f"/api/sandbox/{made.json()['id']}/stop")
    assert "x-ratelimit-limit-sandbox-lifecycle" not in stopped.headers
    statuses = [(await client.get("/api/sandbox")).status_code for _ in range(18)]
    assert statuses[:17] == [200] * 17
    last = await client.get("/api/sandbox")
    assert (last.status_code, last.headers["x-ratelimit-remaining-authenticated"]) == (429, "0")
    assert int(last.headers["retry-after-authenticated"]) > 0


async def test_changes_of_state(running: Running, client: httpx.AsyncClient, team: str) -> None:
    sandbox = (await client.post("/api/sandbox", json={})).json()["id"]
    await limit(running, team, changes_hourly=1)
    stopped = await client.post(f"/api/sandbox/{sandbox}/stop")
    assert stopped.headers["x-ratelimit-remaining-sandbox-lifecycle"] == "0"
    assert (await client.post(f"/api/sandbox/{sandbox}/start")).status_code == 429
    assert (await client.delete(f"/api/sandbox/{sandbox}")).status_code == 200


async def test_told_beforehand(running: Running, client: httpx.AsyncClient, team: str) -> None:
    await limit(running, team, requests_hourly=500, creates_hourly=5, changes_hourly=None)
    config = (await client.get("/api/config")).json()
    assert config["rateLimit"] == {
        "authenticated": {"ttl": 3600, "limit": 500},
        "sandboxCreate": {"ttl": 3600, "limit": 5},
    }
    assert sdk.DaytonaConfiguration.from_dict(config) is not None
    (organization,) = (await client.get("/api/organizations")).json()
    assert (organization["sandboxCreateRateLimit"], organization["sandboxCreateRateLimitTtlSeconds"]) == (5, 3600)
    assert organization["sandboxLifecycleRateLimit"] is None
