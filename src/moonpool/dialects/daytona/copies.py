"""Copies of sandboxes: forks, and snapshots to start others from."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from moonpool.dialects.daytona import mapping
from moonpool.dialects.daytona.answers import IDENTITY_VARIABLES, sandbox_json
from moonpool.dialects.daytona.call import Authenticated, Call
from moonpool.dialects.daytona.creation import identity_environment
from moonpool.dialects.daytona.extensions import Name, RequestModel
from moonpool.dialects.daytona.requests import parse
from moonpool.errors import NotFound, SandboxNotFound
from moonpool.ids import new_sandbox_id
from moonpool.sandboxes.model import Fork, Sandbox
from moonpool.sandboxes.query import SandboxQuery

PARENT = "parent"  # the field, among this dialect's own, that holds what a sandbox was forked from

router = APIRouter()


class ForkSandbox(RequestModel):
    name: Name | None = None


class CreateSandboxSnapshot(RequestModel):
    name: Name
    includeMemory: bool = False


@router.post("/api/sandbox/{sandbox}/fork")
async def fork_sandbox(request: Request, call: Authenticated, sandbox: str) -> Response:
    """Of a running one with its memory, whatever its class: answered when the copy runs."""
    body = await parse(request, ForkSandbox)
    source = await call.services.sandboxes.get(call.principal, sandbox)
    (copy,) = await call.services.sandboxes.fork(call.principal, source.id, [copy_of(source, body.name, call)])
    return JSONResponse(sandbox_json(copy, call.view))


def copy_of(source: Sandbox, name: str | None, call: Call) -> Fork:
    sandbox_id = new_sandbox_id()
    own = {variable: value for variable, value in source.env.items() if variable not in IDENTITY_VARIABLES}
    identity = identity_environment(sandbox_id, source.snapshot, source.user, source.team_id, call.view.region)
    return Fork(
        id=sandbox_id,
        name=name,
        env={**own, **identity},
        dialect_data={**source.dialect_data, mapping.DIALECT: {**own_fields(source), PARENT: source.id}},
    )


def own_fields(sandbox: Sandbox) -> dict[str, object]:
    return dict(sandbox.dialect_data.get(mapping.DIALECT, {}))


@router.get("/api/sandbox/{sandbox}/forks")
async def get_sandbox_forks(call: Authenticated, sandbox: str) -> Response:
    source = await call.services.sandboxes.get(call.principal, sandbox)
    page = await call.services.sandboxes.list(call.principal, SandboxQuery())
    forks = [item for item in page.items if own_fields(item).get(PARENT) == source.id]
    return JSONResponse([sandbox_json(fork, call.view) for fork in forks])


@router.get("/api/sandbox/{sandbox}/parent")
async def get_sandbox_parent(call: Authenticated, sandbox: str) -> Response:
    found = await parent(call, await call.services.sandboxes.get(call.principal, sandbox))
    if found is None:
        raise NotFound("This sandbox has no parent")
    return JSONResponse(sandbox_json(found, call.view))


@router.get("/api/sandbox/{sandbox}/ancestors")
async def get_sandbox_ancestors(call: Authenticated, sandbox: str) -> Response:
    """The parent first, then its own; as far as they are there."""
    found, ancestors = await call.services.sandboxes.get(call.principal, sandbox), []
    while (above := await parent(call, found)) is not None:
        ancestors.append(above)
        found = above
    return JSONResponse([sandbox_json(ancestor, call.view) for ancestor in ancestors])


async def parent(call: Call, sandbox: Sandbox) -> Sandbox | None:
    """None for one that was not forked, or whose parent is gone."""
    above = own_fields(sandbox).get(PARENT)
    if above is None:
        return None
    try:
        return await call.services.sandboxes.get(call.principal, str(above))
    except SandboxNotFound:
        return None


@router.post("/api/sandbox/{sandbox}/snapshot")
async def create_sandbox_snapshot(request: Request, call: Authenticated, sandbox: str) -> Response:
    """Answered when the snapshot is there; one of a running sandbox's disk is as of a moment, as after a power cut."""
    body = await parse(request, CreateSandboxSnapshot)
    source = await call.services.sandboxes.get(call.principal, sandbox)
    await call.services.snapshots.capture(call.principal, source.id, name=body.name, memory=body.includeMemory)
    return JSONResponse(sandbox_json(await call.services.sandboxes.get(call.principal, source.id), call.view))


@router.delete("/api/snapshots/{snapshot}")
async def remove_snapshot(call: Authenticated, snapshot: str) -> Response:
    await call.services.snapshots.delete(call.principal, snapshot)
    return Response()
