"""Registries of a team, without their passwords."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from moonpool.builds.registries import Registry
from moonpool.dialects.daytona.call import Authenticated
from moonpool.dialects.daytona.extensions import CreateRegistry, UpdateRegistry
from moonpool.dialects.daytona.requests import parse
from moonpool.dialects.daytona.timestamps import timestamp

router = APIRouter()


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
