"""A sandbox's figures over time, under the names that the vendor's clients ask for; what its programs logged and traced
by OTLP."""

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.responses import JSONResponse, Response

from moonpool.dialects.daytona.call import Authenticated
from moonpool.dialects.daytona.timestamps import as_utc, timestamp
from moonpool.errors import InvalidInput
from moonpool.hosts.model import MEBIBYTE
from moonpool.metrics.model import SandboxPoint
from moonpool.sandboxes.model import Sandbox
from moonpool.telemetry.model import LogRecord, Span, TelemetryQuery, Trace
from moonpool.telemetry.service import MAX_PAGE

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
    "daytona.sandbox.filesystem.available": lambda point, sandbox: max(
        0, sandbox.resources.disk_mib * MEBIBYTE - point.disk_bytes
    ),
    "daytona.sandbox.filesystem.utilization": lambda point, sandbox: round(
        100 * point.disk_bytes / (sandbox.resources.disk_mib * MEBIBYTE), 2
    ),
}
"""Limits are those of now, also for earlier points."""


def figures(point: SandboxPoint, sandbox: Sandbox) -> Mapping[str, tuple[float, str]]:
    """For collectors, under the same names: with their units."""
    return {name: (figure(point, sandbox), unit_of(name)) for name, figure in SERIES.items()}


def unit_of(name: str) -> str:
    if name.endswith("utilization"):
        return "%"
    return "{cpu}" if ".cpu." in name else "By"


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


# -- OTLP --------------------------------------------------------------------------------------------------------------

MOST_WORDS = 32
Words = Annotated[list[Annotated[str, Query(max_length=64)]] | None, Query(alias="severities", max_length=MOST_WORDS)]


def asked(
    since: Annotated[datetime, Query(alias="from")],
    until: Annotated[datetime, Query(alias="to")],
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
    severities: Words = None,
    search: Annotated[str, Query(max_length=1000)] = "",
) -> TelemetryQuery:
    """Moments without a zone are UTC. ``severities`` may be repeated, or separated by commas."""
    words = tuple(word.strip() for group in severities or () for word in group.split(",") if word.strip())
    begin, end = as_utc(since), as_utc(until)
    assert begin is not None
    assert end is not None
    return TelemetryQuery(begin, end, page, limit, words, search)


Asked = Annotated[TelemetryQuery, Depends(asked)]


@router.get("/api/sandbox/{sandbox}/telemetry/logs")
async def get_logs(call: Authenticated, sandbox: str, query: Asked) -> Response:
    page = await call.services.telemetry.logs(call.principal, sandbox, query)
    return paged([log_json(record) for record in page.items], page.total or 0, query)


@router.get("/api/sandbox/{sandbox}/telemetry/traces")
async def get_traces(call: Authenticated, sandbox: str, query: Asked) -> Response:
    page = await call.services.telemetry.traces(call.principal, sandbox, query)
    return paged([trace_json(trace) for trace in page.items], page.total or 0, query)


@router.get("/api/sandbox/{sandbox}/telemetry/traces/{trace_id}")
async def get_trace_spans(call: Authenticated, sandbox: str, trace_id: str) -> Response:
    return JSONResponse(
        [span_json(span) for span in await call.services.telemetry.trace(call.principal, sandbox, trace_id)]
    )


def paged(items: list[dict[str, Any]], total: int, query: TelemetryQuery) -> Response:
    pages = math.ceil(total / query.limit)
    return JSONResponse({"items": items, "total": total, "page": query.page, "totalPages": pages})


def at(nanoseconds: int) -> str | None:
    return timestamp(datetime.fromtimestamp(nanoseconds / 1e9, UTC))


def log_json(record: LogRecord) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "timestamp": at(record.at),
        "body": record.body,
        "severityText": record.severity_text,
        "severityNumber": record.severity,
        "serviceName": record.service,
        "resourceAttributes": dict(record.resource),
        "logAttributes": dict(record.attributes),
    }
    ids = {"traceId": record.trace_id, "spanId": record.span_id}
    return {**answer, **{name: value for name, value in ids.items() if value}}


def trace_json(trace: Trace) -> dict[str, Any]:
    return {
        "traceId": trace.trace_id,
        "rootSpanName": trace.name,
        "startTime": at(trace.begin),
        "endTime": at(trace.end),
        "durationMs": (trace.end - trace.begin) / 1e6,
        "spanCount": trace.spans,
        "statusCode": trace.status,
    }


def span_json(span: Span) -> dict[str, Any]:
    answer = {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "spanName": span.name,
        "timestamp": at(span.at),
        "durationNs": span.duration,
        "spanAttributes": dict(span.attributes),
        "statusCode": span.status,
        "statusMessage": span.status_message,
    }
    return {**answer, "parentSpanId": span.parent_id} if span.parent_id else answer
