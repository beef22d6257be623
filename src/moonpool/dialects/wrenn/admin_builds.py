"""Templates of every team, and builds of templates that are there for all, for administrators of the server."""

import re
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from moonpool.builds.model import Build, BuildState, NewBuild
from moonpool.dialects.common.services import Services
from moonpool.dialects.wrenn.administrators import TEAM_PREFIX, Administrator
from moonpool.dialects.wrenn.build_logs import entries
from moonpool.dialects.wrenn.extensions import AdminTemplate, CreateBuildRequest
from moonpool.dialects.wrenn.mapping import second, template
from moonpool.dialects.wrenn.recipes import DIALECT, recipe_of, steps_of
from moonpool.dialects.wrenn.requests import Provided, answer_list, parse
from moonpool.errors import BuildNotFound, InvalidState
from moonpool.hosts.model import Resources
from moonpool.snapshots.model import SnapshotState

BUILD_PREFIX = "bld-"
GENERATED = re.compile(r"Dockerfile line \d+: (?:RUN \[.*?(?= failed with| cannot be run| did not end) )?", re.DOTALL)
DEFAULT_BASE = "minimal"
MAX_BUILDS = 500  # in a list, of the newest
STATUSES = {
    BuildState.QUEUED: "pending",
    BuildState.RUNNING: "running",
    BuildState.SUCCEEDED: "success",
    BuildState.FAILED: "failed",
    BuildState.CANCELLED: "cancelled",
}

router = APIRouter(prefix="/v1/admin")


@router.get("/templates")
async def list_templates(services: Provided, principal: Administrator) -> Response:
    known = [each for each in services.snapshots.everything(principal) if each.state is not SnapshotState.ERROR]
    return answer_list(
        [
            AdminTemplate(
                **template(each).model_dump(),
                team_id=None if each.team_id is None else TEAM_PREFIX + each.team_id,
                id=each.id,
            )
            for each in known
        ]
    )


@router.delete("/templates/{name}")
async def delete_template(name: str, services: Provided, principal: Administrator) -> Response:
    """Of those for all teams, or of the one team that has one of this name; by id where several have."""
    await services.snapshots.delete_any(principal, name)
    return Response(status_code=204)


@router.post("/builds")
async def create_build(request: Request, services: Provided, principal: Administrator) -> Response:
    body = await parse(request, CreateBuildRequest)
    server = await services.access.local_principal()  # Such builds are the server's own, whoever asks for them.
    base = await services.snapshots.get(server, body.base_template or DEFAULT_BASE)
    steps = steps_of(body.recipe)
    resources = Resources(
        cpu=body.vcpus or base.resources.cpu,
        memory_mib=body.memory_mb or base.resources.memory_mib,
        disk_mib=body.disk_size_mb or base.resources.disk_mib,
    )
    data = {DIALECT: {**body.model_dump(), "base_template": base.name}}
    new = NewBuild(recipe_of(steps, base, body.healthcheck), resources, body.name, build_data=data, general=True)
    build, _snapshot = await services.builds.submit(server, new)
    return JSONResponse(await document(services, build), 202)


@router.get("/builds")
async def list_builds(services: Provided, principal: Administrator) -> Response:
    server = await services.access.local_principal()
    builds = [each for each in await services.builds.list(server, MAX_BUILDS) if DIALECT in each.dialect_data]
    return JSONResponse([await document(services, build) for build in builds])


@router.get("/builds/{id}")
async def get_build(id: str, services: Provided, principal: Administrator) -> Response:
    return JSONResponse(await document(services, await find(services, id)))


@router.post("/builds/{id}/cancel")
async def cancel_build(id: str, services: Provided, principal: Administrator) -> Response:
    build = await find(services, id)
    if build.ended:
        raise InvalidState(f"The build has ended: {STATUSES[build.state]}", state=build.state)
    await services.builds.cancel(await services.access.local_principal(), build.id)
    return Response(status_code=204)


async def find(services: Services, id: str) -> Build:
    build = await services.builds.get(await services.access.local_principal(), id.removeprefix(BUILD_PREFIX))
    if DIALECT not in build.dialect_data:
        raise BuildNotFound(f"Build {id[:100]} not found")
    return build


async def document(services: Services, build: Build) -> dict[str, object]:
    """As the vendor's server has it; what is not known is left out."""
    asked = build.dialect_data[DIALECT]
    log = await services.builds.log(await services.access.local_principal(), build.id)
    logs = entries(build, b"".join([part async for part in log]).decode(errors="replace"))
    found = {
        "id": BUILD_PREFIX + build.id,
        "name": asked["name"],
        "base_template": asked["base_template"],
        "recipe": asked["recipe"],
        "healthcheck": asked.get("healthcheck"),
        "vcpus": asked.get("vcpus"),
        "memory_mb": asked.get("memory_mb"),
        "status": STATUSES[build.state],
        "current_step": max((entry["step"] for entry in logs), default=0),
        "total_steps": len(asked["recipe"]),
        "logs": logs,
        "error": reason(build, logs),
        "created_at": second(build.created_at).isoformat(),
        "started_at": second(build.started_at).isoformat() if build.started_at else None,
        "completed_at": second(build.finished_at).isoformat() if build.finished_at else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def reason(build: Build, logs: list[dict[str, Any]]) -> str | None:
    """Without what the Dockerfile that was made of the recipe is to itself."""
    if build.reason is None:
        return None
    failed = next((entry["step"] for entry in logs if not entry["ok"]), None)
    said = GENERATED.sub("", build.reason, count=1)
    return said if failed is None else f"recipe line {failed}: {said}"
