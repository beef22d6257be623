"""A sandbox's figures over time, under the names that the vendor's clients ask for."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse, Response

from moonpool.dialects.daytona.call import Authenticated
from moonpool.dialects.daytona.timestamps import as_utc, timestamp
from moonpool.errors import InvalidInput
from moonpool.hosts.model import MEBIBYTE
from moonpool.metrics.model import SandboxPoint
from moonpool.sandboxes.model import Sandbox

SERIES: Mapping[str, Callable[[SandboxPoint, Sandbox], float]] = {
    "daytona.sandbox.cpu.utilization": lambda point, sandbox: round(100 * point.cpu / sandbox.resources.cpu, 2),
    "daytona.sandbox.cpu.limit": lambda _, sandbox: sandbox.resources.cpu,
    "daytona.sandbox.memory.usage": lambda point, _: point.memory_bytes,
    "daytona.sandbox.memory.limit": lambda _, sandbox: sandbox.resources.memory_mib * MEBIBYTE,
    "daytona.sandbox.memory.utilization": lambda point, sandbox: round(
        100 * point.memory_bytes / (sandbox.resources.memory_mib * MEBIBYTE), 2
    ),
    "daytona.sandbox.memory.cache": lambda point, _: point.cache_bytes,
    "daytona.sandbox.filesystem.usage": lambda point, _: point.disk_bytes,
    "daytona.sandbox.filesystem.total": lambda _, sandbox: sandbox.resources.disk_mib * MEBIBYTE,
    "daytona.sandbox.filesystem.utilization": lambda point, sandbox: round(
        100 * point.disk_bytes / (sandbox.resources.disk_mib * MEBIBYTE), 2
    ),
}
"""Limits are those of now, also for earlier points."""

router = APIRouter()


@router.get("/api/sandbox/{sandbox}/telemetry/metrics")
async def get_metrics(
    call: Authenticated,
    sandbox: str,
    since: Annotated[datetime | None, Query(alias="from")] = None,
    until: Annotated[datetime | None, Query(alias="to")] = None,
    names: Annotated[list[str] | None, Query(alias="metricNames")] = None,
) -> Response:
    """As fine as figures are kept for as long as ``from`` lies back: half a second, 30 seconds, 5 minutes. Names that
    are not known have no series."""
    found = await call.services.sandboxes.get(call.principal, sandbox)
    begin, end = as_utc(since) or found.created_at, as_utc(until) or datetime.now(UTC)
    if end < begin:
        raise InvalidInput("from: must not be later than to", field="from")
    points = await call.services.metrics.sandbox(call.principal, found.id, begin.timestamp(), end.timestamp())
    times = [timestamp(datetime.fromtimestamp(point.at, UTC)) for point in points]
    wanted = {name.strip() for group in names or () for name in group.split(",")}
    series = [
        {
            "metricName": name,
            "dataPoints": [
                {"timestamp": at, "value": figure(point, found)} for at, point in zip(times, points, strict=True)
            ],
        }
        for name, figure in SERIES.items()
        if not wanted or name in wanted
    ]
    return JSONResponse({"series": series})
