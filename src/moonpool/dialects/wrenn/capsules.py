"""Capsules: create, list, get, destroy, pause, resume, ping.

Wrenn's server answers while work is still going on, and its SDK then asks every half second (every two while pausing)
until it is done. Ours is usually done in tens of milliseconds, so changes are waited for and the answer tells the state
reached; only what takes longer than ``PATIENCE`` is answered with its transitional state.
"""

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from moonpool.access.model import Principal
from moonpool.dialects.common.services import Services
from moonpool.dialects.wrenn.extensions import CreateCapsuleRequest
from moonpool.dialects.wrenn.lookup import find, living
from moonpool.dialects.wrenn.mapping import capsule, new_sandbox, sandbox_id
from moonpool.dialects.wrenn.requests import Caller, Provided, answer, answer_list, parse
from moonpool.errors import EngineError, InvalidState, SandboxNotFound
from moonpool.ids import new_sandbox_id
from moonpool.sandboxes.model import NewSandbox, Sandbox, SandboxState
from moonpool.sandboxes.query import SandboxQuery

PATIENCE = 20.0  # seconds; the SDK's own HTTP timeout is 30

FROM_DISK = frozenset({SandboxState.STOPPED, SandboxState.ARCHIVED, SandboxState.ERROR})

router = APIRouter()


@router.post("/v1/capsules")
async def create_capsule(request: Request, services: Provided, principal: Caller) -> Response:
    wanted = new_sandbox(await parse(request, CreateCapsuleRequest))
    # The id is chosen here, so that a creation that takes too long can be answered with it.
    # Its ports are open, since the SDK's get_url has no place for a token.
    wanted = replace(wanted, id=new_sandbox_id(), public=services.server.wrenn_previews_are_public)
    return answer(capsule(await create(services, principal, wanted)), 202)


@router.get("/v1/capsules")
async def list_capsules(services: Provided, principal: Caller) -> Response:
    page = await services.sandboxes.list(principal, SandboxQuery(limit=None))
    return answer_list([capsule(sandbox) for sandbox in page.items])


@router.get("/v1/capsules/{id}")
async def get_capsule(id: str, services: Provided, principal: Caller) -> Response:
    """Also of a capsule destroyed a while ago: clients ask for its status ``stopped``."""
    sandbox = await find(services, principal, id)
    return answer(capsule(sandbox, await disk_used(services, principal, sandbox)))


@router.delete("/v1/capsules/{id}")
async def destroy_capsule(id: str, services: Provided, principal: Caller) -> Response:
    await patiently(services, principal, services.sandboxes.destroy(principal, sandbox_id(id)), id)
    return Response(status_code=202)


@router.post("/v1/capsules/{id}/pause")
async def pause_capsule(id: str, services: Provided, principal: Caller) -> Response:
    sandbox = await living(services, principal, id)
    return await changed(services, principal, services.sandboxes.pause(principal, sandbox.id), id)


@router.post("/v1/capsules/{id}/resume")
async def resume_capsule(id: str, services: Provided, principal: Caller) -> Response:
    """A capsule that another API stopped is paused to Wrenn: it starts from its disk, as a failed one does."""
    sandbox = await living(services, principal, id)
    from_disk = sandbox.state in FROM_DISK
    resume = services.sandboxes.start if from_disk else services.sandboxes.resume
    return await changed(services, principal, resume(principal, sandbox.id), id)


@router.post("/v1/capsules/{id}/ping")
async def ping_capsule(id: str, services: Provided, principal: Caller) -> Response:
    sandbox = await living(services, principal, id)
    if sandbox.state is not SandboxState.RUNNING:
        raise InvalidState(f"Capsule is {sandbox.state}, not running", state=sandbox.state)
    await services.sandboxes.touch(principal, sandbox.id)
    return Response(status_code=204)


async def changed(services: Services, principal: Principal, change: Coroutine[Any, Any, Sandbox], id: str) -> Response:
    return answer(capsule(await patiently(services, principal, change, id)), 202)


async def create(services: Services, principal: Principal, wanted: NewSandbox) -> Sandbox:
    """The capsule, or as it is when that takes too long. One that fails before is told of by its error alone, so
    nothing is left of it."""
    told = False
    try:
        return await asyncio.wait_for(services.sandboxes.create(principal, wanted, known=lambda: told), PATIENCE)
    except TimeoutError:
        told = True
        return await find(services, principal, str(wanted.id))


async def patiently(services: Services, principal: Principal, change: Coroutine[Any, Any, Sandbox], id: str) -> Sandbox:
    """The sandbox after ``change``, or in mid-change when that takes too long; a cancelled change is still finished."""
    try:
        return await asyncio.wait_for(change, PATIENCE)
    except TimeoutError:
        return await find(services, principal, id)


async def disk_used(services: Services, principal: Principal, sandbox: Sandbox) -> int | None:
    """Bytes, while it runs and its host can tell."""
    with contextlib.suppress(InvalidState, EngineError, SandboxNotFound):
        return (await services.sandboxes.usage(principal, sandbox.id)).disk_bytes
    return None
