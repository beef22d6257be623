"""API keys, under the vendor's names of permissions."""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from moonpool.access.model import ApiKey
from moonpool.dialects.daytona import mapping
from moonpool.dialects.daytona.call import Authenticated
from moonpool.dialects.daytona.extensions import CreateApiKey
from moonpool.dialects.daytona.requests import parse
from moonpool.dialects.daytona.timestamps import as_utc, timestamp
from moonpool.errors import KeyNotFound

router = APIRouter()


def listed(key: ApiKey) -> dict[str, Any]:
    return {
        "name": key.name,
        "value": key.masked,
        "createdAt": timestamp(key.created_at),
        "permissions": mapping.permissions(key.scopes),
        "lastUsedAt": timestamp(key.last_used_at),
        "expiresAt": timestamp(key.expires_at),
        "userId": key.user_id,
        "organizationId": key.team_id,
    }


@router.get("/api/api-keys")
async def list_api_keys(call: Authenticated) -> Response:
    keys = await call.services.access.list_keys(call.principal)
    return JSONResponse([listed(key) for key in keys])


@router.post("/api/api-keys")
async def create_api_key(request: Request, call: Authenticated) -> Response:
    """Permissions over regions and runners give nothing: there is one of each, and it is the operator's."""
    body = await parse(request, CreateApiKey)
    scopes = mapping.READ_SCOPES | mapping.scopes(body.permissions)
    made = await call.services.access.create_key(call.principal, body.name, scopes, as_utc(body.expiresAt))
    answer = {
        "name": made.key.name,
        "value": made.secret,
        "createdAt": timestamp(made.key.created_at),
        "permissions": mapping.permissions(made.key.scopes),
        "expiresAt": timestamp(made.key.expires_at),
    }
    return JSONResponse(answer, status_code=201)


@router.get("/api/api-keys/current")
async def get_current_api_key(call: Authenticated) -> Response:
    if call.principal.key_id is None:
        raise KeyNotFound
    return JSONResponse(listed(await call.services.access.get_key(call.principal, call.principal.key_id)))


@router.get("/api/api-keys/{name}")
async def get_api_key(call: Authenticated, name: str) -> Response:
    return JSONResponse(listed(await call.services.access.get_key(call.principal, name)))


@router.delete("/api/api-keys/{name}", status_code=204)
async def delete_api_key(call: Authenticated, name: str) -> Response:
    await call.services.access.revoke_key(call.principal, name)
    return Response(status_code=204)


@router.delete("/api/api-keys/{user_id}/{name}", status_code=204)
async def delete_api_key_for_user(call: Authenticated, user_id: str, name: str) -> Response:
    key = await call.services.access.get_key(call.principal, name)
    if key.user_id != user_id:
        raise KeyNotFound
    await call.services.access.revoke_key(call.principal, key.id)
    return Response(status_code=204)
