"""Figures: of one capsule over time, of the team's capsules together, and what the team used each day."""

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

from fastapi import APIRouter, Request
from starlette.responses import Response

from moonpool.dialects.wrenn.lookup import find
from moonpool.dialects.wrenn.mapping import capsule_id
from moonpool.dialects.wrenn.requests import Caller, Provided, answer
from moonpool.dialects.wrenn.schemas import (
    CapsuleMetrics,
    CapsuleStats,
    Current,
    MetricPoint,
    Peaks,
    Point,
    Series,
    UsageResponse,
)
from moonpool.dialects.wrenn.schemas import Range as StatsRange
from moonpool.dialects.wrenn.schemas import Range1 as MetricsRange
from moonpool.errors import InvalidInput, SandboxNotFound
from moonpool.metrics.model import SandboxPoint, TeamPoint
from moonpool.sandboxes.model import Sandbox, SandboxState

MINUTE, HOUR, DAY = 60.0, 3600.0, 24 * 3600.0  # seconds
METRICS: Mapping[MetricsRange, float] = {
    MetricsRange.field_5m: 5 * MINUTE,
    MetricsRange.field_10m: 10 * MINUTE,
    MetricsRange.field_1h: HOUR,
    MetricsRange.field_2h: 2 * HOUR,
    MetricsRange.field_6h: 6 * HOUR,
    MetricsRange.field_12h: 12 * HOUR,
    MetricsRange.field_24h: DAY,
}
STATS: Mapping[StatsRange, float] = {
    StatsRange.field_5m: 5 * MINUTE,
    StatsRange.field_1h: HOUR,
    StatsRange.field_6h: 6 * HOUR,
    StatsRange.field_24h: DAY,
    StatsRange.field_30d: 30 * DAY,
}
USAGE_DAYS = timedelta(days=30)

router = APIRouter()


@router.get("/v1/capsules/stats")
async def capsule_stats(services: Provided, principal: Caller, range: str = StatsRange.field_1h) -> Response:
    if range not in list(StatsRange):
        raise InvalidInput(f"range: must be one of {', '.join(StatsRange)}", field="range")
    wanted, metrics = StatsRange(range), services.metrics
    now, peak = metrics.now(principal), await metrics.peak(principal)
    points = await metrics.team(principal, STATS[wanted])
    stats = CapsuleStats(
        range=wanted,
        current=Current(
            running_count=now.running,
            vcpus_reserved=vcpus(now),
            memory_mb_reserved=now.memory_mib,
            sampled_at=moment(now.at),
        ),
        peaks=Peaks(running_count=peak.running, vcpus=vcpus(peak), memory_mb=peak.memory_mib),
        series=Series(
            labels=[moment(point.at) for point in points],
            running=[point.running for point in points],
            vcpus=[vcpus(point) for point in points],
            memory_mb=[point.memory_mib for point in points],
        ),
    )
    return answer(stats)


@router.get("/v1/capsules/usage")
async def capsule_usage(request: Request, services: Provided, principal: Caller) -> Response:
    """In days of UTC; each day of the range has a point. What is counted is what running capsules reserve."""
    query = request.query_params
    last = day(query.get("to"), "to", services.clock.now().date())
    first = day(query.get("from"), "from", last - USAGE_DAYS)
    days = await services.metrics.usage(principal, first, last)
    points = [
        Point(
            date=one.day,
            cpu_minutes=one.usage.cpu_seconds / MINUTE,
            ram_mb_minutes=one.usage.memory_mib_seconds / MINUTE,
        )
        for one in days
    ]
    return answer(UsageResponse.model_validate({"from": first, "to": last, "points": points}))


@router.get("/v1/capsules/{id}/metrics")
async def capsule_metrics(
    id: str, services: Provided, principal: Caller, range: str = MetricsRange.field_10m
) -> Response:
    """Measured from outside, so that asking neither wakes a capsule nor counts as its use."""
    if range not in list(MetricsRange):
        raise InvalidInput(f"range: must be one of {', '.join(MetricsRange)}", field="range")
    wanted = MetricsRange(range)
    sandbox = await find(services, principal, id)
    if sandbox.state is SandboxState.DESTROYED:
        raise SandboxNotFound("Capsule is stopped: it has no metrics")
    since = services.clock.now().timestamp() - METRICS[wanted]
    points = await services.metrics.sandbox(principal, sandbox.id, since)
    told = [metric_point(point, sandbox) for point in points]
    return answer(CapsuleMetrics(sandbox_id=capsule_id(sandbox.id), range=wanted, points=told))


def metric_point(point: SandboxPoint, sandbox: Sandbox) -> MetricPoint:
    return MetricPoint(
        timestamp_unix=int(point.at),
        cpu_pct=round(min(100.0, 100.0 * point.cpu / sandbox.resources.cpu), 2),
        mem_bytes=point.memory_bytes,
        disk_bytes=point.disk_bytes,
    )


def vcpus(point: TeamPoint) -> int:
    """Whole processors: Wrenn knows no fractions."""
    return math.ceil(point.cpu)


def moment(at: float) -> datetime:
    return datetime.fromtimestamp(int(at), UTC)


def day(text: str | None, field: str, otherwise: date) -> date:
    """InvalidInput for what is no day."""
    if text is None:
        return otherwise
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(f"{field}: must be a date (YYYY-MM-DD)", field=field) from error
