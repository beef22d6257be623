"""Volumes: made, looked at and deleted; a sandbox names those that it mounts when it is created."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from moonpool.dialects.daytona import schemas
from moonpool.dialects.daytona.call import Authenticated
from moonpool.dialects.daytona.extensions import CreateVolume, VolumeDto
from moonpool.dialects.daytona.mapping import MEBIBYTES_PER_GIBIBYTE
from moonpool.dialects.daytona.requests import parse
from moonpool.dialects.daytona.timestamps import timestamp
from moonpool.dialects.daytona.wire import QueryModel
from moonpool.errors import InvalidInput, NameTaken
from moonpool.volumes.model import Volume, VolumeState

STATES: Mapping[VolumeState, schemas.VolumeState] = {
    VolumeState.CREATING: schemas.VolumeState.creating,
    VolumeState.READY: schemas.VolumeState.ready,
    VolumeState.DELETING: schemas.VolumeState.deleting,
    VolumeState.DELETED: schemas.VolumeState.deleted,
    VolumeState.ERROR: schemas.VolumeState.error,
}

router = APIRouter()


class VolumesQuery(QueryModel):
    includeDeleted: bool = False


@router.get("/api/volumes")
async def list_volumes(call: Authenticated, query: Annotated[VolumesQuery, Query()]) -> Response:
    found = await call.services.volumes.list(call.principal, include_deleted=query.includeDeleted)
    return JSONResponse([volume_json(volume) for volume in found])


@router.post("/api/volumes")
async def create_volume(request: Request, call: Authenticated) -> Response:
    """A name that is taken is a bad request here. Without a name the volume is called by its id."""
    body = await parse(request, CreateVolume)
    size = None if body.sizeGib is None else body.sizeGib * MEBIBYTES_PER_GIBIBYTE
    try:
        made = await call.services.volumes.create(call.principal, body.name or None, size_mib=size)
    except NameTaken as error:
        raise InvalidInput(error.message, field="name") from None
    return JSONResponse(volume_json(made))


@router.get("/api/volumes/by-name/{name}")
async def get_volume_by_name(call: Authenticated, name: str) -> Response:
    return JSONResponse(volume_json(await call.services.volumes.named(call.principal, name)))


@router.get("/api/volumes/{volume}")
async def get_volume(call: Authenticated, volume: str) -> Response:
    return JSONResponse(volume_json(await call.services.volumes.get(call.principal, volume)))


@router.delete("/api/volumes/{volume}")
async def delete_volume(call: Authenticated, volume: str) -> Response:
    await call.services.volumes.delete(call.principal, volume)
    return Response()


def volume_json(volume: Volume) -> dict[str, Any]:
    dto = VolumeDto(
        id=volume.id,
        name=volume.name,
        organizationId=volume.team_id,
        state=STATES[volume.state],
        createdAt=timestamp(volume.created_at),
        updatedAt=timestamp(volume.updated_at),
        lastUsedAt=timestamp(volume.last_used_at),
        errorReason=volume.reason or "",
        sizeGib=volume.size_mib / MEBIBYTES_PER_GIBIBYTE,
    )
    return dto.model_dump(mode="json", exclude_none=True)
