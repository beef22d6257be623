"""Figures: of one capsule now, and of the team now.

Nothing is recorded yet, so a range holds the one point that is true, and peaks and series are left out.
"""

import asyncio

from fastapi import APIRouter
from starlette.responses import Response

from moonpool.access.model import Principal
from moonpool.dialects.common.services import Services
from moonpool.dialects.wrenn.lookup import find
from moonpool.dialects.wrenn.mapping import capsule_id, vcpus
from moonpool.dialects.wrenn.requests import Caller, Provided, answer
from moonpool.dialects.wrenn.schemas import CapsuleMetrics, CapsuleStats, Current, MetricPoint
from moonpool.dialects.wrenn.schemas import Range as StatsRange
from moonpool.dialects.wrenn.schemas import Range1 as MetricsRange
from moonpool.errors import InvalidInput, InvalidState, NotSupported, SandboxNotFound
from moonpool.sandboxes.model import Sandbox, SandboxState
from moonpool.sandboxes.query import SandboxQuery

CPU_WINDOW = 0.2  # seconds over which the use of processors is measured

router = APIRouter()


@router.get("/v1/capsules/stats")
async def capsule_stats(services: Provided, principal: Caller, range: str = StatsRange.field_1h) -> Response:
    if range not in list(StatsRange):
        raise InvalidInput(f"range: must be one of {', '.join(StatsRange)}", field="range")
    page = await services.sandboxes.list(principal, SandboxQuery(states=(SandboxState.RUNNING,), limit=None))
    current = Current(
        running_count=len(page.items),
        vcpus_reserved=sum(vcpus(sandbox.resources.cpu) for sandbox in page.items),
        memory_mb_reserved=sum(sandbox.resources.memory_mib for sandbox in page.items),
        sampled_at=services.clock.now(),
    )
    return answer(CapsuleStats(range=StatsRange(range), current=current))


@router.get("/v1/capsules/usage")
async def capsule_usage(_: Caller) -> Response:
    raise NotSupported("This server keeps no record of daily use")


@router.get("/v1/capsules/{id}/metrics")
async def capsule_metrics(
    id: str, services: Provided, principal: Caller, range: str = MetricsRange.field_10m
) -> Response:
    """Measured from outside, so that asking neither wakes a capsule nor counts as its use."""
    if range not in list(MetricsRange):
        raise InvalidInput(f"range: must be one of {', '.join(MetricsRange)}", field="range")
    sandbox = await find(services, principal, id)
    if sandbox.state is SandboxState.DESTROYED:
        raise SandboxNotFound("Capsule is stopped: it has no metrics")
    points = await measured(services, principal, sandbox)
    metrics = CapsuleMetrics(sandbox_id=capsule_id(sandbox.id), range=MetricsRange(range), points=points)
    return answer(metrics)


async def measured(services: Services, principal: Principal, sandbox: Sandbox) -> list[MetricPoint]:
    """No point for a capsule that does not run."""
    clock = services.clock
    try:
        begin, earlier = clock.monotonic(), await services.sandboxes.usage(principal, sandbox.id)
        await asyncio.sleep(CPU_WINDOW)
        end, now = clock.monotonic(), await services.sandboxes.usage(principal, sandbox.id)
    except InvalidState:
        return []
    used = (now.cpu_microseconds - earlier.cpu_microseconds) / 1e6 / max(end - begin, CPU_WINDOW)
    return [
        MetricPoint(
            timestamp_unix=int(clock.now().timestamp()),
            cpu_pct=round(min(100.0, 100.0 * used / sandbox.resources.cpu), 2),
            mem_bytes=now.memory_bytes,
            disk_bytes=now.disk_bytes,
        )
    ]
