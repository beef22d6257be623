"""The machines of sandboxes: start, hibernate, shutdown, delete, size, hibernation timeout, and what runs."""

import math
from collections.abc import Callable
from datetime import datetime
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from moonpool.dialects.codesandbox import steps
from moonpool.dialects.codesandbox.call import Authenticated, Call
from moonpool.dialects.codesandbox.errors import success
from moonpool.dialects.codesandbox.mapping import MEBIBYTES_PER_GIBIBYTE
from moonpool.dialects.codesandbox.requests import parse
from moonpool.dialects.codesandbox.schemas import (
    VMHibernateRequest,
    VMShutdownRequest,
    VMStartRequest,
    VMUpdateHibernationTimeoutRequest,
    VMUpdateSpecsRequest,
)
from moonpool.dialects.codesandbox.starting import hibernating, may_not_fit, resized, start
from moonpool.dialects.codesandbox.timestamps import epoch_milliseconds, timestamp
from moonpool.errors import InvalidState
from moonpool.sandboxes.model import Sandbox, SandboxChange, SandboxState
from moonpool.sandboxes.query import SandboxQuery

SDK = "codesandbox-sdk/"
CREDIT_BASIS = "0"  # a server of one's own bills nobody

router = APIRouter()


@router.get("/vm/clusters")
async def list_clusters(call: Authenticated) -> Response:
    return success({"clusters": [{"slug": call.cluster, "host": call.origin.partition("://")[2]}]})


@router.get("/vm/running")
async def list_running(call: Authenticated) -> Response:
    query = SandboxQuery(states=(SandboxState.RUNNING,), limit=None)
    page = await call.services.sandboxes.list(call.principal, query)
    moment = moment_writer(call)
    return success(
        {
            "vms": [running_json(sandbox, moment) for sandbox in page.items],
            "concurrent_vm_count": len(page.items),
            "concurrent_vm_limit": call.shared.limits.vms(call.principal).limit,
        }
    )


def moment_writer(call: Call) -> Callable[[datetime], str | int]:
    """The contract wants dates as texts; the SDK takes the digits at their beginning for a number, and has its users
    live in 1970. So the SDK is given numbers."""
    return epoch_milliseconds if SDK in call.user_agent else timestamp


def running_json(sandbox: Sandbox, moment: Callable[[datetime], str | int]) -> dict[str, Any]:
    return {
        "id": sandbox.id,
        "last_active_at": moment(sandbox.last_activity_at),
        "session_started_at": moment(sandbox.started_at or sandbox.created_at),
        "specs": {
            "cpu": math.ceil(sandbox.resources.cpu),
            "memory": math.ceil(sandbox.resources.memory_mib / MEBIBYTES_PER_GIBIBYTE),
            "storage": math.ceil(sandbox.resources.disk_mib / MEBIBYTES_PER_GIBIBYTE),
        },
        "credit_basis": CREDIT_BASIS,
    }


@router.post("/vm/{id}/start")
async def start_vm(request: Request, call: Authenticated, id: str) -> Response:
    options = await parse(request, VMStartRequest)
    return success(await start(call, id, options))


@router.post("/vm/{id}/hibernate")
async def hibernate_vm(request: Request, call: Authenticated, id: str) -> Response:
    await parse(request, VMHibernateRequest)
    await steps.hibernate(call, id)
    return success({})


@router.post("/vm/{id}/shutdown")
async def shutdown_vm(request: Request, call: Authenticated, id: str) -> Response:
    await parse(request, VMShutdownRequest)
    await steps.shut_down(call, id)
    return success({})


@router.delete("/vm/{id}")
async def delete_vm(call: Authenticated, id: str) -> Response:
    """The sandbox with it, for good; one that is gone is not found."""
    found = await call.services.sandboxes.get(call.principal, id)
    await call.services.sandboxes.destroy(call.principal, found.id)
    call.shared.unstarted.take(found.id)
    return success({})


@router.post("/vm/{id}/update_specs")  # The SDK's older method; the contract has it no longer.
@router.put("/vm/{id}/specs")
async def update_specs(request: Request, call: Authenticated, id: str) -> Response:
    """At once where it runs, else with the next start."""
    body = await parse(request, VMUpdateSpecsRequest)

    async def resize(found: Sandbox) -> Sandbox:
        if may_not_fit(found, body.tier):
            message = "The VM hibernates, and what it keeps in memory may not fit into less"
            raise InvalidState(message, state=found.state, hint="Start it or shut it down first")
        return await call.services.sandboxes.update(call.principal, found.id, resized(found, body.tier))

    changed = await steps.insist(call, id, resize)
    return success({"id": changed.id, "tier": body.tier.value})


@router.put("/vm/{id}/hibernation_timeout")
async def update_hibernation_timeout(request: Request, call: Authenticated, id: str) -> Response:
    body = await parse(request, VMUpdateHibernationTimeoutRequest)
    seconds = body.hibernation_timeout_seconds
    found = await call.services.sandboxes.get(call.principal, id)
    change = SandboxChange(timers=hibernating(found.timers, seconds))
    changed = await call.services.sandboxes.update(call.principal, found.id, change)
    return success({"id": changed.id, "hibernation_timeout_seconds": seconds})
