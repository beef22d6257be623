"""The one host, which is this server's own. None registers here, so there are no tokens of hosts, and no reports."""

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from moonpool.access.model import Principal
from moonpool.dialects.common.services import Services
from moonpool.dialects.wrenn.mapping import capsule_id
from moonpool.dialects.wrenn.requests import Caller, Provided, answer, answer_list, parse
from moonpool.dialects.wrenn.schemas import AddTagRequest, Host, HostDeletePreview, Status1, Type2
from moonpool.fleet.model import HostState, HostView
from moonpool.hosts.model import MEBIBYTE
from moonpool.sandboxes.query import SandboxQuery

MEBIBYTES_PER_GIGABYTE = 1024
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}

router = APIRouter()


def host_dto(host: HostView) -> Host:
    status = Status1.online if host.state is HostState.READY else Status1.pending
    return Host(
        id=host.id,
        type=Type2.regular,
        arch=ARCHITECTURES.get(host.architecture, host.architecture),
        cpu_cores=host.cpu,
        memory_mb=host.memory_bytes // MEBIBYTE,
        disk_gb=host.disk_bytes // MEBIBYTE // MEBIBYTES_PER_GIGABYTE,
        address=host.name,
        status=Status1.draining if host.placing.draining or host.placing.unschedulable else status,
        last_heartbeat_at=host.checked_at,
        created_at=host.since,
        updated_at=host.updated_at,
    )


@router.get("/v1/hosts")
async def list_hosts(services: Provided, principal: Caller) -> Response:
    return answer_list([host_dto(await services.fleet.host(principal))])


@router.get("/v1/hosts/{id}")
async def get_host(id: str, services: Provided, principal: Caller) -> Response:
    return answer(host_dto(await services.fleet.host(principal, id)))


@router.get("/v1/hosts/{id}/delete-preview")
async def preview_deletion(id: str, services: Provided, principal: Caller) -> Response:
    """What is on it of the team's; it cannot be deleted from here, since it is what answers."""
    found = host_dto(await services.fleet.host(principal, id))
    return answer(HostDeletePreview(host=found, sandbox_ids=await capsules(services, principal)))


async def capsules(services: Services, principal: Principal) -> list[str]:
    page = await services.sandboxes.list(principal, SandboxQuery(limit=None))
    return [capsule_id(sandbox.id) for sandbox in page.items]


@router.get("/v1/hosts/{id}/tags")
async def list_tags(id: str, services: Provided, principal: Caller) -> Response:
    return JSONResponse(list((await services.fleet.host(principal, id)).tags))


@router.post("/v1/hosts/{id}/tags")
async def add_tag(id: str, request: Request, services: Provided, principal: Caller) -> Response:
    wanted = await parse(request, AddTagRequest)
    await services.fleet.add_tag(principal, id, wanted.tag)
    return Response(status_code=204)


@router.delete("/v1/hosts/{id}/tags/{tag}")
async def remove_tag(id: str, tag: str, services: Provided, principal: Caller) -> Response:
    await services.fleet.remove_tag(principal, id, tag)
    return Response(status_code=204)
