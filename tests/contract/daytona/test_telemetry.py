"""A sandbox's figures over time, as the SDK reads them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import daytona_api_client as sdk
import httpx
import pytest
from daytona.common.sandbox import SANDBOX_METRIC_NAMES, pivot_sandbox_metrics

from moonpool.hosts.model import MEBIBYTE, MachineSample
from tests.contract.daytona.conftest import MemoryMachines, Running

Conforms = Callable[[str, Any], Any]


@pytest.fixture
async def path(running: Running, machines: MemoryMachines, sandbox: dict[str, Any]) -> str:
    """Of one whose machine sleeps, and has been looked at."""
    identifier: str = sandbox["id"]
    machines.disk[identifier] = 5 * MEBIBYTE
    machines.samples[identifier] = MachineSample(1_000_000, 100 * MEBIBYTE, 3 * MEBIBYTE, asleep=True)
    await running.core.metrics.sample()
    return f"/api/sandbox/{identifier}/telemetry/metrics"


async def test_as_the_sdk_asks(
    client: httpx.AsyncClient, path: str, sandbox: dict[str, Any], conforms: Conforms
) -> None:
    now = datetime.now(UTC)
    query = {"from": sandbox["createdAt"], "to": now.isoformat(), "metricNames": SANDBOX_METRIC_NAMES}
    answer = conforms("MetricsResponse", (await client.get(path, params=query)).json())
    response = sdk.MetricsResponse.from_dict(answer)
    assert response is not None
    assert [series.metric_name for series in response.series] == SANDBOX_METRIC_NAMES
    points = pivot_sandbox_metrics(
        (series.metric_name, point.timestamp, point.value) for series in response.series for point in series.data_points
    )
    point = points[-1]
    assert (point.cpu_used_pct, point.cpu_count, point.mem_used) == (0, sandbox["cpu"], 100 * MEBIBYTE)
    assert (point.mem_total, point.mem_cache) == (sandbox["memory"] * 1024 * MEBIBYTE, 3 * MEBIBYTE)
    assert point.disk_total == sandbox["disk"] * 1024 * MEBIBYTE
    assert abs(point.timestamp - now) < timedelta(minutes=1)


async def test_all_of_them_since_it_was_made(client: httpx.AsyncClient, path: str) -> None:
    series = (await client.get(path)).json()["series"]
    assert {one["metricName"] for one in series} >= set(SANDBOX_METRIC_NAMES)
    assert all(one["dataPoints"] for one in series)


async def test_some_of_them(client: httpx.AsyncClient, path: str) -> None:
    query = {"metricNames": "daytona.sandbox.memory.usage,something.else"}
    (series,) = (await client.get(path, params=query)).json()["series"]
    assert series["metricName"] == "daytona.sandbox.memory.usage"


async def test_of_one_that_was_stopped(client: httpx.AsyncClient, path: str, sandbox: dict[str, Any]) -> None:
    await client.post(f"/api/sandbox/{sandbox['id']}/stop")
    series = (await client.get(path)).json()["series"]
    assert all(one["dataPoints"] for one in series)


@pytest.mark.parametrize("query", [{"from": "soon"}, {"from": "2030-01-01T00:00:00Z", "to": "2020-01-01T00:00:00Z"}])
async def test_times_that_are_none(client: httpx.AsyncClient, path: str, query: dict[str, str]) -> None:
    assert (await client.get(path, params=query)).status_code == 400


async def test_another_teams(stranger: httpx.AsyncClient, path: str) -> None:
    assert (await stranger.get(path)).status_code == 404
