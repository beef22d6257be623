"""What may be changed of a sandbox besides its state."""

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from moonpool.dialects.daytona import mapping
from moonpool.dialects.daytona.answers import sandbox_json
from moonpool.dialects.daytona.call import Authenticated, Call
from moonpool.dialects.daytona.creation import mebibytes
from moonpool.dialects.daytona.extensions import (
    MAX_MINUTES,
    ResizeSandbox,
    SandboxLabels,
    UpdateLastActivity,
    UpdateSandboxNetworkSettings,
)
from moonpool.dialects.daytona.network import policy
from moonpool.dialects.daytona.requests import parse
from moonpool.errors import InvalidInput, InvalidState
from moonpool.sandboxes.model import Sandbox, SandboxChange, SandboxState

Interval = Annotated[int, Path(ge=0, le=MAX_MINUTES)]
AnyInterval = Annotated[int, Path(ge=-MAX_MINUTES, le=MAX_MINUTES)]

router = APIRouter()


async def change(call: Call, sandbox: str, what: SandboxChange) -> Response:
    changed = await call.services.sandboxes.update(call.principal, sandbox, what)
    return JSONResponse(sandbox_json(changed, call.view))


async def change_timers(call: Call, sandbox: str, **seconds: Any) -> Response:
    found = await call.services.sandboxes.get(call.principal, sandbox)
    return await change(call, found.id, SandboxChange(timers=replace(found.timers, **seconds)))


@router.put("/api/sandbox/{sandbox}/labels")
async def replace_labels(request: Request, call: Authenticated, sandbox: str) -> Response:
    body = await parse(request, SandboxLabels)
    changed = await call.services.sandboxes.update(call.principal, sandbox, SandboxChange(labels=body.labels))
    return JSONResponse({"labels": dict(changed.labels)})


@router.post("/api/sandbox/{sandbox}/autostop/{interval}")
async def set_autostop_interval(call: Authenticated, sandbox: str, interval: Interval) -> Response:
    """Only one of auto-stop and auto-pause may be on, so turning this one on turns the other off."""
    other: dict[str, Any] = {"auto_pause": None} if interval else {}
    return await change_timers(call, sandbox, auto_stop=mapping.seconds_or_never(interval), **other)


@router.post("/api/sandbox/{sandbox}/autopause/{interval}")
async def set_autopause_interval(call: Authenticated, sandbox: str, interval: Interval) -> Response:
    """Also replaces the idle timeout of a sandbox that came from another API: both keep the memory."""
    found = await call.services.sandboxes.get(call.principal, sandbox)
    if interval and found.ephemeral:
        raise InvalidInput("Ephemeral sandboxes cannot have auto-pause enabled")
    other: dict[str, Any] = {"auto_stop": None} if interval else {}
    pause = mapping.seconds_or_never(interval)
    return await change_timers(call, found.id, auto_pause=pause, idle_timeout=None, **other)


@router.post("/api/sandbox/{sandbox}/autoarchive/{interval}")
async def set_autoarchive_interval(call: Authenticated, sandbox: str, interval: Interval) -> Response:
    return await change_timers(call, sandbox, auto_archive=mapping.archive_seconds(interval))


@router.post("/api/sandbox/{sandbox}/autodelete/{interval}")
async def set_autodelete_interval(call: Authenticated, sandbox: str, interval: AnyInterval) -> Response:
    return await change_timers(call, sandbox, auto_delete=mapping.delete_seconds(interval))


@router.post("/api/sandbox/{sandbox}/ttl/{interval}")
async def set_ttl(call: Authenticated, sandbox: str, interval: Interval) -> Response:
    """Counts from now, even when it is the same as before."""
    found = await call.services.sandboxes.get(call.principal, sandbox)
    timers = replace(found.timers, ttl=mapping.seconds_or_never(interval))
    return await change(call, found.id, SandboxChange(timers=timers, renew_ttl=True))


@router.post("/api/sandbox/{sandbox}/public/{public}")
async def update_public_status(call: Authenticated, sandbox: str, public: bool) -> Response:
    return await change(call, sandbox, SandboxChange(public=public))


@router.post("/api/sandbox/{sandbox}/last-activity", status_code=201)
async def update_last_activity(request: Request, call: Authenticated, sandbox: str) -> Response:
    await parse(request, UpdateLastActivity)
    await call.services.sandboxes.touch(call.principal, sandbox)
    return Response(status_code=201)


@router.get("/api/sandbox/{sandbox}/toolbox-proxy-url")
async def get_toolbox_proxy_url(call: Authenticated, sandbox: str) -> Response:
    await call.services.sandboxes.get(call.principal, sandbox)
    return JSONResponse({"url": call.view.toolbox_url})


@router.post("/api/sandbox/{sandbox}/network-settings")
async def update_network_settings(request: Request, call: Authenticated, sandbox: str) -> Response:
    body = await parse(request, UpdateSandboxNetworkSettings)
    found = await call.services.sandboxes.get(call.principal, sandbox)
    wanted = policy(found.network, body.networkBlockAll, body.networkAllowList, body.domainAllowList)
    return await change(call, found.id, SandboxChange(network=wanted))


@router.post("/api/sandbox/{sandbox}/resize")
async def resize_sandbox(request: Request, call: Authenticated, sandbox: str) -> Response:
    body = await parse(request, ResizeSandbox)
    found = await call.services.sandboxes.get(call.principal, sandbox)
    check_resize(found, body)
    wanted = SandboxChange(cpu=body.cpu, memory_mib=mebibytes(body.memory), disk_mib=mebibytes(body.disk))
    return await change(call, found.id, wanted)


def check_resize(found: Sandbox, wanted: ResizeSandbox) -> None:
    """While it runs a sandbox only grows, and its disk not at all; a disk never shrinks."""
    if found.state not in (SandboxState.RUNNING, SandboxState.STOPPED):
        raise InvalidState("Sandbox must be started or stopped to be resized", state=found.state)
    now = (found.resources.cpu, found.resources.memory_mib, found.resources.disk_mib)
    asked = (wanted.cpu, mebibytes(wanted.memory), mebibytes(wanted.disk))
    steps = [0 if new is None else new - old for old, new in zip(now, asked, strict=True)]
    if not any(steps):
        raise InvalidInput("Nothing would change: give another cpu, memory or disk")
    cpu, memory, disk = steps
    if disk < 0:
        raise InvalidInput("A disk cannot shrink", field="disk")
    if found.state is SandboxState.RUNNING and (cpu < 0 or memory < 0 or disk):
        raise InvalidInput("A started sandbox takes only more cpu and memory", hint="Stop it first.")
