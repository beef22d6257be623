"""Snapshots out of images and Dockerfiles, sandboxes that wait for one, and what their builds say."""

import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from moonpool.builds.model import Build, NewBuild, Recipe
from moonpool.dialects.daytona import mapping
from moonpool.dialects.daytona.answers import sandbox_json, snapshot_json
from moonpool.dialects.daytona.call import Authenticated, Call, default_queue_timeout
from moonpool.dialects.daytona.creation import mebibytes, new_sandbox
from moonpool.dialects.daytona.extensions import BuildInfo, CreateSandbox, CreateSnapshot, SnapshotBuildInfo
from moonpool.dialects.daytona.requests import parse
from moonpool.engine.images.oci import parse_reference
from moonpool.errors import BuildNotFound, InvalidInput, NameTaken, SnapshotNotFound
from moonpool.hosts.model import Resources
from moonpool.snapshots.model import Snapshot, SnapshotState

DEFAULTS = Resources(cpu=1, memory_mib=1024, disk_mib=3 * 1024)
MOVING_TAGS = frozenset({"latest", "lts", "stable"})
NAME_PREFIX = "daytona-"
HASH_SHOWN = 40  # hexadecimal digits in the name of a snapshot that a sandbox asked for

router = APIRouter()


@router.post("/api/snapshots")
async def create_snapshot(request: Request, call: Authenticated) -> Response:
    body = await parse(request, CreateSnapshot)
    if (body.imageName is None) == (body.buildInfo is None):
        raise InvalidInput("Exactly one of imageName and buildInfo is needed", field="imageName")
    if body.gpu:
        raise InvalidInput("There are no GPUs here", field="gpu")
    if body.imageName is not None:
        check_tag(body.imageName)
    recipe = recipe_of(body.buildInfo) if body.buildInfo else Recipe(image=body.imageName)
    if body.entrypoint:
        recipe = replace(recipe, entrypoint=tuple(body.entrypoint))
    data = {mapping.DIALECT: {"imageName": body.imageName, "entrypoint": body.entrypoint, "buildInfo": info(recipe)}}
    new = NewBuild(recipe, resources_of(body.cpu, body.memory, body.disk), name=body.name, dialect_data=data)
    _build, snapshot = await call.services.builds.submit(call.principal, new)
    return JSONResponse(snapshot_json(snapshot, call.view))


def check_tag(image: str) -> None:
    reference = parse_reference(image)
    named = ":" in image.rpartition("/")[2] or "@" in image
    if not named or (reference.digest is None and reference.tag in MOVING_TAGS):
        raise InvalidInput(
            f"Image {image} must have a specific tag or digest, and not {', '.join(sorted(MOVING_TAGS))}",
            field="imageName",
            hint="As python:3.12-slim.",
        )


def recipe_of(build: BuildInfo) -> Recipe:
    return Recipe(
        dockerfile=build.dockerfileContent,
        context=tuple(build.contextHashes),
        arguments=build.buildArgs,
        target=build.target,
        skip_cache=isinstance(build, SnapshotBuildInfo) and build.skipCache,
    )


def info(recipe: Recipe) -> dict[str, object] | None:
    """What a snapshot keeps of its recipe, to be shown."""
    if recipe.dockerfile is None:
        return None
    return {"dockerfileContent": recipe.dockerfile, "contextHashes": list(recipe.context)}


def resources_of(cpu: int | None, memory: int | None, disk: int | None) -> Resources:
    return Resources(
        cpu=cpu or DEFAULTS.cpu,
        memory_mib=mebibytes(memory) or DEFAULTS.memory_mib,
        disk_mib=mebibytes(disk) or DEFAULTS.disk_mib,
    )


# -- sandboxes ---------------------------------------------------------------------------------------------------------


async def create_from_build(call: Call, body: CreateSandbox, build: BuildInfo) -> Response:
    """The sandbox is there at once, and starts when its snapshot is built; one that was built before is used again."""
    snapshot = await snapshot_of_build(call, body, build)
    request = body.model_copy(update={"snapshot": None, "buildInfo": None, "cpu": None, "memory": None, "disk": None})
    new = replace(
        new_sandbox(call.principal, request, call.view.region, default_queue_timeout(call)), snapshot=snapshot.id
    )
    own = {**new.dialect_data.get(mapping.DIALECT, {}), mapping.BUILD: snapshot.id}
    new = replace(new, dialect_data={**new.dialect_data, mapping.DIALECT: own})
    builds, sandboxes = call.services.builds, call.services.sandboxes
    if snapshot.state is SnapshotState.ACTIVE:
        return JSONResponse(sandbox_json(await sandboxes.create(call.principal, new), call.view))

    async def ready() -> None:
        await builds.until_built(call.principal, snapshot.id)

    sandbox = await sandboxes.create(call.principal, new, wait=False, ready=ready)
    return JSONResponse({**sandbox_json(sandbox, call.view), "state": "pending_build"})


async def snapshot_of_build(call: Call, body: CreateSandbox, build: BuildInfo) -> Snapshot:
    """Whole, or on its way: the same recipe and sizes are one snapshot."""
    recipe, resources = recipe_of(build), resources_of(body.cpu, body.memory, body.disk)
    contents: list[object] = [recipe.dockerfile, sorted(recipe.context)]
    contents += [resources.cpu, resources.memory_mib, resources.disk_mib]
    if recipe.arguments or recipe.target:
        contents += [sorted(recipe.arguments.items()), recipe.target]
    name = NAME_PREFIX + hashlib.sha256(json.dumps(contents).encode()).hexdigest()[:HASH_SHOWN]
    data = {mapping.DIALECT: {"buildInfo": info(recipe), mapping.BUILD: True}}
    for _attempt in range(2):
        try:
            found = await call.services.snapshots.get(call.principal, name)
            if found.state in (SnapshotState.ACTIVE, SnapshotState.BUILDING):
                return found
        except SnapshotNotFound:
            pass
        try:
            return (await call.services.builds.submit(call.principal, NewBuild(recipe, resources, name, None, data)))[1]
        except NameTaken:
            continue  # Another request was faster.
    raise NameTaken(f"Snapshot {name} is being changed", hint="Try again.")


# -- logs --------------------------------------------------------------------------------------------------------------


@router.get("/api/snapshots/{snapshot}/build-logs-url")
async def get_snapshot_build_logs_url(call: Authenticated, snapshot: str) -> Response:
    found = await call.services.snapshots.get(call.principal, snapshot)
    await call.services.builds.get(call.principal, found.id)
    return JSONResponse({"url": f"{call.origin}/api/snapshots/{found.id}/build-logs"})


@router.get("/api/snapshots/{snapshot}/build-logs")
async def get_snapshot_build_logs(call: Authenticated, snapshot: str, follow: bool = False) -> Response:
    found = await call.services.snapshots.get(call.principal, snapshot)
    return await logs(call, await call.services.builds.get(call.principal, found.id), follow)


@router.get("/api/sandbox/{sandbox}/build-logs-url")
async def get_build_logs_url(call: Authenticated, sandbox: str) -> Response:
    found = await call.services.sandboxes.get(call.principal, sandbox)
    await build_of_sandbox(call, sandbox)
    return JSONResponse({"url": f"{call.origin}/api/sandbox/{found.id}/build-logs"})


@router.get("/api/sandbox/{sandbox}/build-logs")
async def get_build_logs(call: Authenticated, sandbox: str, follow: bool = False) -> Response:
    return await logs(call, await build_of_sandbox(call, sandbox), follow)


async def build_of_sandbox(call: Call, sandbox: str) -> Build:
    found = await call.services.sandboxes.get(call.principal, sandbox)
    snapshot = found.dialect_data.get(mapping.DIALECT, {}).get(mapping.BUILD)
    if not isinstance(snapshot, str):
        raise BuildNotFound(f"Sandbox {found.name} was not made by a build")
    return await call.services.builds.get(call.principal, snapshot)


async def logs(call: Call, build: Build, follow: bool) -> Response:
    lines: AsyncIterator[bytes] = await call.services.builds.log(call.principal, build.id, follow=follow)
    return StreamingResponse(lines, media_type="text/plain; charset=utf-8")
