"""Capsules of every team, for administrators of the server: what a team does with its own, done on its behalf."""

from dataclasses import replace

from fastapi import APIRouter, Request, WebSocket
from starlette.responses import Response

from moonpool.dialects.wrenn import capsules, commands, files, metrics, streams, terminals
from moonpool.dialects.wrenn.administrators import TEAM_PREFIX, Administrator, Owner
from moonpool.dialects.wrenn.extensions import AdminCreateCapsuleRequest, AdminSnapshotRequest
from moonpool.dialects.wrenn.mapping import capsule, new_sandbox, sandbox_id, template
from moonpool.dialects.wrenn.requests import Provided, answer, answer_list, parse
from moonpool.dialects.wrenn.schemas import Range1 as MetricsRange
from moonpool.dialects.wrenn.sockets import converse
from moonpool.errors import NotFound
from moonpool.ids import new_sandbox_id

router = APIRouter(prefix="/v1/admin/capsules")


@router.post("")
async def create_capsule(request: Request, services: Provided, principal: Administrator) -> Response:
    """Of the team ``team_id`` (a field that the contract does not have), else of the administrator's own."""
    body = await parse(request, AdminCreateCapsuleRequest)
    if body.team_id is not None:
        team_id = body.team_id.removeprefix(TEAM_PREFIX)
        if not any(team.id == team_id for team, _members in await services.community.administration.teams(principal)):
            raise NotFound("Team not found")
        principal = services.oversight.in_team(principal, team_id)
    wanted = replace(new_sandbox(body), id=new_sandbox_id(), public=services.server.wrenn_previews_are_public)
    return answer(capsule(await capsules.create(services, principal, wanted)), 201)


@router.get("")
async def list_capsules(services: Provided, principal: Administrator) -> Response:
    return answer_list([capsule(sandbox) for sandbox in services.oversight.all(principal)])


@router.get("/{id}")
async def get_capsule(id: str, services: Provided, owner: Owner) -> Response:
    return await capsules.get_capsule(id, services, owner)


@router.delete("/{id}")
async def destroy_capsule(id: str, services: Provided, owner: Owner) -> Response:
    await capsules.destroy_capsule(id, services, owner)
    return Response(status_code=204)


@router.post("/{id}/snapshot")
async def create_snapshot(id: str, request: Request, services: Provided, owner: Owner) -> Response:
    """The capsule's team has it: what is in it is theirs."""
    wanted = await parse(request, AdminSnapshotRequest)
    return answer(template(await services.snapshots.capture(owner, sandbox_id(id), name=wanted.name)), 201)


@router.post("/{id}/exec")
async def execute(id: str, request: Request, services: Provided, owner: Owner) -> Response:
    return await commands.execute(id, request, services, owner)


@router.get("/{id}/metrics")
async def capsule_metrics(id: str, services: Provided, owner: Owner, range: str = MetricsRange.field_10m) -> Response:
    return await metrics.capsule_metrics(id, services, owner, range)


@router.get("/{id}/processes")
async def list_processes(id: str, services: Provided, owner: Owner) -> Response:
    return await commands.list_processes(id, services, owner)


@router.delete("/{id}/processes/{selector}")
async def kill_process(id: str, selector: str, services: Provided, owner: Owner, signal: str = "SIGKILL") -> Response:
    return await commands.kill_process(id, selector, services, owner, signal)


@router.post("/{id}/files/read")
async def read_file(id: str, request: Request, services: Provided, owner: Owner) -> Response:
    return await files.read_file(id, request, services, owner)


@router.post("/{id}/files/write")
async def write_file(id: str, request: Request, services: Provided, owner: Owner) -> Response:
    return await files.write_file(id, request, services, owner)


@router.post("/{id}/files/list")
async def list_directory(id: str, request: Request, services: Provided, owner: Owner) -> Response:
    return await files.list_directory(id, request, services, owner)


@router.post("/{id}/files/mkdir")
async def make_directory(id: str, request: Request, services: Provided, owner: Owner) -> Response:
    return await files.make_directory(id, request, services, owner)


@router.post("/{id}/files/remove")
async def remove_path(id: str, request: Request, services: Provided, owner: Owner) -> Response:
    return await files.remove_path(id, request, services, owner)


@router.websocket("/{id}/exec/stream")
async def execute_stream(websocket: WebSocket, id: str) -> None:
    await converse(websocket, id, streams.run_and_show, admin=True)


@router.websocket("/{id}/processes/{selector}/stream")
async def connect_process(websocket: WebSocket, id: str, selector: str) -> None:
    await converse(websocket, id, streams.showing(selector), admin=True)


@router.websocket("/{id}/pty")
async def open_terminal(websocket: WebSocket, id: str) -> None:
    await converse(websocket, id, terminals.use_terminal, admin=True, fatal=True)
