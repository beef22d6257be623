"""The one machine that runs sandboxes: this server's own, as the vendor's API describes a runner.

There are no runners elsewhere, so none has a key of its own: what a runner would report is not taken from anybody.
"""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from moonpool.dialects.common.origin import origin
from moonpool.dialects.common.services import Services
from moonpool.dialects.daytona import schemas
from moonpool.dialects.daytona.answers import SANDBOX_CLASS, View, sandbox_json
from moonpool.dialects.daytona.call import Authenticated
from moonpool.dialects.daytona.extensions import SandboxState as WireState
from moonpool.dialects.daytona.extensions import UpdateDraining, UpdateScheduling
from moonpool.dialects.daytona.mapping import MEBIBYTES_PER_GIBIBYTE, STATES_ASKED_FOR
from moonpool.dialects.daytona.previews import Asking
from moonpool.dialects.daytona.requests import parse
from moonpool.dialects.daytona.server import API_VERSION
from moonpool.dialects.daytona.timestamps import timestamp
from moonpool.errors import InvalidInput, SnapshotNotFound
from moonpool.fleet.model import HostLoad, HostState, HostView
from moonpool.sandboxes.model import TRANSITIONAL, SandboxState
from moonpool.sandboxes.query import SandboxQuery

GIBIBYTE: Final = 1024**3
STATES: Final = {
    HostState.INITIALIZING: schemas.RunnerState.initializing,
    HostState.READY: schemas.RunnerState.ready,
}
NO_KEY: Final = ""
"""Nothing but the server itself speaks to its runner, so there is no key that a proxy could use."""

router = APIRouter()


@router.get("/api/runners")
async def list_runners(call: Authenticated, region: Annotated[str | None, Query(alias="regionId")] = None) -> Response:
    if region not in (None, call.view.region):
        return JSONResponse([])
    return JSONResponse([runner_json(await call.services.fleet.host(call.principal), call.view.region)])


@router.get("/api/runners/by-sandbox/{sandbox}")
async def get_runner_by_sandbox_id(connection: Request, asking: Asking, sandbox: str) -> Response:
    """For a proxy; ``domain`` and the like are this server's."""
    asking.find(sandbox)
    return JSONResponse(full_json(await asking.services.fleet.host(asking.principal), asking.services, connection))


@router.get("/api/runners/by-snapshot-ref")
async def get_runners_by_snapshot_ref(call: Authenticated, ref: str) -> Response:
    """By a snapshot's name or id; a disk of it is on this host, where it is anywhere."""
    try:
        snapshot = await call.services.snapshots.get(call.principal, ref)
    except SnapshotNotFound:
        return JSONResponse([])
    host = await call.services.fleet.host(call.principal)
    return JSONResponse([{"runnerSnapshotId": snapshot.id, "runnerId": host.id}])


@router.get("/api/runners/{runner}")
async def get_runner_by_id(call: Authenticated, runner: str) -> Response:
    return JSONResponse(runner_json(await call.services.fleet.host(call.principal, runner), call.view.region))


@router.get("/api/runners/{runner}/full")
async def get_runner_full_by_id(request: Request, call: Authenticated, runner: str) -> Response:
    call.services.fleet.require_operator(call.principal)
    host = await call.services.fleet.host(call.principal, runner)
    return JSONResponse(full_json(host, call.services, request))


@router.patch("/api/runners/{runner}/scheduling")
async def update_runner_scheduling(request: Request, call: Authenticated, runner: str) -> Response:
    body = await parse(request, UpdateScheduling)
    host = await call.services.fleet.set_scheduling(call.principal, runner, unschedulable=body.unschedulable)
    return JSONResponse(runner_json(host, call.view.region))


@router.patch("/api/runners/{runner}/draining")
async def update_runner_draining(request: Request, call: Authenticated, runner: str) -> Response:
    body = await parse(request, UpdateDraining)
    host = await call.services.fleet.set_draining(call.principal, runner, draining=body.draining)
    return JSONResponse(runner_json(host, call.view.region))


@router.get("/api/sandbox/for-runner")
async def get_sandboxes_for_runner(
    call: Authenticated,
    states: str | None = None,
    settled: Annotated[bool, Query(alias="skipReconcilingSandboxes")] = False,
) -> Response:
    """All of the team's: there is no other runner that could have any. ``states`` are separated by commas."""
    wanted = tuple(dict.fromkeys(asked_state(word.strip()) for word in states.split(","))) if states else ()
    page = await call.services.sandboxes.list(call.principal, SandboxQuery(states=wanted, limit=None))
    chosen = [one for one in page.items if not (settled and one.state in TRANSITIONAL)]
    return JSONResponse([sandbox_json(one, call.view) for one in chosen])


def asked_state(word: str) -> SandboxState:
    try:
        return STATES_ASKED_FOR[WireState(word)]
    except (KeyError, ValueError):
        raise InvalidInput(f"states: no sandbox is ever {word[:50]!r} here", field="states") from None


def runner_json(host: HostView, region: str) -> dict[str, Any]:
    """``version`` is the runner's protocol, the second one; 'medium' is a word that only old clients want."""
    return {
        "id": host.id,
        "name": host.name,
        "cpu": host.cpu,
        "memory": round(host.memory_bytes / GIBIBYTE, 1),
        "disk": round(host.disk_bytes / GIBIBYTE, 1),
        "gpu": 0,
        "class": schemas.SandboxClass.medium,
        "sandboxClass": SANDBOX_CLASS,
        "runnerClass": schemas.RunnerClass.container,
        "region": region,
        "state": STATES[host.state],
        "unschedulable": host.placing.unschedulable,
        "draining": host.placing.draining,
        "tags": list(host.tags),
        "lastChecked": timestamp(host.checked_at),
        "createdAt": timestamp(host.since),
        "updatedAt": timestamp(host.updated_at),
        "version": "2",
        "apiVersion": API_VERSION,
        "appVersion": host.version,
        **({} if host.load is None else load_json(host.load)),
    }


def load_json(load: HostLoad) -> dict[str, Any]:
    return {
        "currentCpuUsagePercentage": load.cpu_percent,
        "currentMemoryUsagePercentage": load.memory_percent,
        "currentDiskUsagePercentage": load.disk_percent,
        "currentAllocatedCpu": load.allocated_cpu,
        "currentAllocatedMemoryGiB": load.allocated_memory_mib / MEBIBYTES_PER_GIBIBYTE,
        "currentAllocatedDiskGiB": load.allocated_disk_mib / MEBIBYTES_PER_GIBIBYTE,
        "currentSnapshotCount": load.snapshots,
        "currentStartedSandboxes": load.running,
        "availabilityScore": round(load.free_percent),
    }


def full_json(host: HostView, services: Services, request: Request) -> dict[str, Any]:
    view = View(origin(request.url.scheme, request.headers, services.server.public_url), services.server.region)
    return {
        **runner_json(host, view.region),
        "domain": view.origin.partition("://")[2],
        "apiUrl": f"{view.origin}/api",
        "proxyUrl": view.toolbox_url,
        "apiKey": NO_KEY,
        "regionType": schemas.RegionType.shared,
    }
