"""Figures over time, as the contract's ranges ask for them."""

from datetime import date, timedelta
from typing import Any

import pytest

from moonpool.dialects.wrenn.metrics import METRICS, STATS

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_every_range(api: Any) -> None:
    made = await api.call("createCapsule", 202, json={"memory_mb": 1024})
    here = {"id": made["id"]}
    for range_ in METRICS:
        metrics = await api.call("getCapsuleMetrics", 200, here, params={"range": range_.value})
        assert (metrics["sandbox_id"], metrics["range"]) == (made["id"], range_.value)
        assert metrics["points"][-1]["mem_bytes"] > 0
        assert 0 <= metrics["points"][-1]["cpu_pct"] <= 100
    assert (await api.call("getCapsuleMetrics", 200, here))["range"] == "10m"
    for stats_range in STATS:
        stats = await api.call("getCapsuleStats", 200, params={"range": stats_range.value})
        assert stats["series"]["running"][-1] == 1
        assert len({len(values) for values in stats["series"].values()}) == 1
        assert (stats["current"]["running_count"], stats["current"]["memory_mb_reserved"]) == (1, 1024)
        assert stats["peaks"]["memory_mb"] >= 1024


async def test_they_are_there_while_it_is_paused_and_gone_once_it_is_destroyed(api: Any) -> None:
    made = await api.call("createCapsule", 202, json={})
    here = {"id": made["id"]}
    before = (await api.call("getCapsuleMetrics", 200, here))["points"]
    await api.call("pauseCapsule", 202, here)
    paused = (await api.call("getCapsuleMetrics", 200, here))["points"]
    assert paused[: len(before)] == before
    assert len(before) >= 1
    await api.call("destroyCapsule", 202, here)
    assert (await api.call("getCapsuleMetrics", 404, here))["code"] == "not_found"


async def test_usage_by_day(api: Any) -> None:
    await api.call("createCapsule", 202, json={"vcpus": 2, "memory_mb": 512})
    usage = await api.call("getCapsuleUsage", 200)
    today = date.fromisoformat(usage["to"])
    assert date.fromisoformat(usage["from"]) == today - timedelta(days=30)
    assert [point["date"] for point in usage["points"]][::30] == [usage["from"], usage["to"]]
    used = usage["points"][-1]
    assert 0 < used["cpu_minutes"] < 60
    assert used["ram_mb_minutes"] > 0
    one = await api.call("getCapsuleUsage", 200, params={"from": usage["to"], "to": usage["to"]})
    assert one["points"][0]["cpu_minutes"] >= used["cpu_minutes"]


@pytest.mark.parametrize(
    "query",
    [
        {"from": "yesterday"},
        {"to": "2026-13-01"},
        {"from": "2026-02-01", "to": "2026-01-01"},
        {"from": "2020-01-01"},
        {"from": "99999-01-01"},
        {"from": ""},
    ],
)
async def test_days_that_are_none(api: Any, query: dict[str, str]) -> None:
    assert (await api.call("getCapsuleUsage", 400, params=query))["code"] == "invalid_request"


@pytest.mark.parametrize("range_", ["", "1m", "10M", "30d"])
async def test_ranges_that_are_none(api: Any, range_: str) -> None:
    made = await api.call("createCapsule", 202, json={})
    assert (await api.call("getCapsuleMetrics", 400, {"id": made["id"]}, params={"range": range_}))["code"]
    if range_ != "30d":
        await api.call("getCapsuleStats", 400, params={"range": range_})
