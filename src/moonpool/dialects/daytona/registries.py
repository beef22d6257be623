"""Registries of a team, without their passwords, and the server's own, into which it can push."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from moonpool.builds.registries import Registry
from moonpool.dialects.daytona.call import Authenticated
from moonpool.dialects.daytona.extensions import CreateRegistry, UpdateRegistry
from moonpool.dialects.daytona.listing import Text
from moonpool.dialects.daytona.requests import parse
from moonpool.dialects.daytona.timestamps import timestamp
from moonpool.dialects.daytona.wire import QueryModel
from moonpool.errors import NotFound

OWN_REGISTRY = uuid.UUID("6d6f6f6e-706f-4f6c-9000-707573686564")  # the id of the server's own, which is everybody's
PORTS = {"http": 80, "https": 443}

router = APIRouter()


class PushQuery(QueryModel):
    regionId: Text | None = None


def registry_json(registry: Registry) -> dict[str, str | None]:
    return {
        "id": registry.id,
        "name": registry.name,
        "url": registry.host,
        "username": registry.username,
        "project": registry.project,
        "registryType": "organization",
        "createdAt": timestamp(registry.created_at),
        "updatedAt": timestamp(registry.updated_at),
    }


@router.get("/api/docker-registry")
async def list_registries(call: Authenticated) -> Response:
    return JSONResponse([registry_json(each) for each in await call.services.registries.list(call.principal)])


@router.post("/api/docker-registry", status_code=201)
async def create_registry(request: Request, call: Authenticated) -> Response:
    body = await parse(request, CreateRegistry)
    made = await call.services.registries.create(call.principal, **body.model_dump())
    return JSONResponse(registry_json(made), 201)


@router.get("/api/docker-registry/registry-push-access")
async def get_transient_push_access(call: Authenticated, query: Annotated[PushQuery, Query()]) -> Response:
    if query.regionId not in (None, "", call.view.region):
        raise NotFound(f"Region {query.regionId} not found", hint=f"There is one: {call.view.region}.")
    given = call.services.images.push_access(call.principal)
    return JSONResponse(
        {
            "username": given.username,
            "secret": given.secret,
            "registryUrl": host_of(call.origin),
            "registryId": str(OWN_REGISTRY),
            "project": given.project,
            "expiresAt": timestamp(given.expires_at),
        }
    )


def host_of(origin: str) -> str:
    """As names of images begin. One without a dot would be taken for a part of Docker Hub, unless it has a port."""
    scheme, _, rest = origin.partition("://")
    host = rest.partition("/")[0].lower()
    return host if "." in host or ":" in host or host == "localhost" else f"{host}:{PORTS[scheme]}"


@router.get("/api/docker-registry/{registry}")
async def get_registry(call: Authenticated, registry: str) -> Response:
    return JSONResponse(registry_json(await call.services.registries.get(call.principal, registry)))


@router.patch("/api/docker-registry/{registry}")
async def update_registry(request: Request, call: Authenticated, registry: str) -> Response:
    body = await parse(request, UpdateRegistry)
    return JSONResponse(
        registry_json(await call.services.registries.update(call.principal, registry, **body.model_dump()))
    )


@router.delete("/api/docker-registry/{registry}", status_code=204)
async def delete_registry(call: Authenticated, registry: str) -> Response:
    await call.services.registries.delete(call.principal, registry)
    return Response(status_code=204)
