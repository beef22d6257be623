"""What the organization may have and what it has, and which kinds of sandboxes there are."""

from typing import Any, Final

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from moonpool.access.model import TeamLimits
from moonpool.dialects.daytona import telemetry
from moonpool.dialects.daytona.answers import SANDBOX_CLASS
from moonpool.dialects.daytona.call import Authenticated, Call
from moonpool.dialects.daytona.mapping import MEBIBYTES_PER_GIBIBYTE, fractional_gibibytes
from moonpool.dialects.daytona.organizations import own_team
from moonpool.dialects.daytona.timestamps import timestamp

NO_LIMIT: Final = 1_000_000_000
"""Clients want a number, and compare it with what is used."""
NO_GPUS: Final = {"totalGpuQuota": 0, "allowedGpuTypes": []}
NOTHING_PER_GPU: Final = {"maxCpuPerGpu": None, "maxMemoryPerGpu": None, "maxDiskPerGpu": None}

router = APIRouter()
router.include_router(telemetry.router)


@router.get("/api/organizations/{organization_id}/usage")
async def get_usage(call: Authenticated, organization_id: str) -> Response:
    await own_team(call, organization_id)
    limits = call.services.sandboxes.limits(call.principal)
    holdings = call.services.sandboxes.holdings(call.principal)
    region = {
        **quota(call, limits),
        "currentCpuUsage": holdings.cpu,
        "currentMemoryUsage": holdings.memory_mib / MEBIBYTES_PER_GIBIBYTE,
        "currentDiskUsage": holdings.disk_mib / MEBIBYTES_PER_GIBIBYTE,
        "currentGpuUsage": 0,
    }
    overview = {
        "regionUsage": [region],
        "totalSnapshotQuota": or_no_limit(limits.snapshots),
        "currentSnapshotUsage": call.services.snapshots.count(call.principal),
        "totalVolumeQuota": or_no_limit(limits.volumes),
        "currentVolumeUsage": call.services.volumes.count(call.principal),
    }
    return JSONResponse(overview)


@router.get("/api/sandbox/{sandbox}/region-quota")
async def get_region_quota(call: Authenticated, sandbox: str) -> Response:
    found = await call.services.sandboxes.get(call.principal, sandbox)
    limits = call.services.sandboxes.limits(call.principal)
    return JSONResponse({"organizationId": found.team_id, **quota(call, limits), "maxSandboxLifespan": None})


@router.get("/api/organizations/{organization_id}/available-sandbox-classes")
async def list_sandbox_classes(call: Authenticated, organization_id: str) -> Response:
    """Every sandbox is of the one class, whatever its size, and each of them can be paused and forked."""
    await own_team(call, organization_id)
    one = {"regionId": call.view.region, "sandboxClass": SANDBOX_CLASS, "gpuAvailable": False, "allowedGpuTypes": []}
    return JSONResponse([one])


@router.get("/api/organizations/{organization_id}/gpu-capacity")
async def get_gpu_capacity(call: Authenticated, organization_id: str) -> Response:
    """There are none."""
    await own_team(call, organization_id)
    return JSONResponse({"observedAt": timestamp(call.services.clock.now()), "capacity": []})


def quota(call: Call, limits: TeamLimits) -> dict[str, Any]:
    return {
        "regionId": call.view.region,
        "sandboxClass": SANDBOX_CLASS,
        "totalCpuQuota": or_no_limit(limits.total_cpu),
        "totalMemoryQuota": or_no_limit(fractional_gibibytes(limits.total_memory_mib)),
        "totalDiskQuota": or_no_limit(fractional_gibibytes(limits.total_disk_mib)),
        **NO_GPUS,
        "maxCpuPerSandbox": limits.cpu,
        "maxMemoryPerSandbox": fractional_gibibytes(limits.memory_mib),
        "maxDiskPerSandbox": fractional_gibibytes(limits.disk_mib),
        "maxDiskPerNonEphemeralSandbox": fractional_gibibytes(limits.disk_mib),
        **NOTHING_PER_GPU,
    }


def or_no_limit(figure: float | None) -> float:
    return NO_LIMIT if figure is None else figure
