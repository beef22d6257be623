"""Where an organization's telemetry goes on to, and whose a sandbox's token is."""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from moonpool.dialects.daytona.call import Authenticated
from moonpool.dialects.daytona.extensions import OtelConfig
from moonpool.dialects.daytona.organizations import own_team
from moonpool.dialects.daytona.previews import Asking, Proxy
from moonpool.dialects.daytona.requests import parse
from moonpool.errors import NotFound
from moonpool.sandboxes.model import Sandbox
from moonpool.telemetry.model import Target

router = APIRouter()


def config_json(target: Target, organization_id: str) -> dict[str, Any]:
    return {"endpoint": target.endpoint, "headers": dict(target.headers), "organizationId": organization_id}


@router.get("/api/organizations/otel-config/by-sandbox-auth-token/{token}")
async def get_otel_config_by_token(asking: Asking, token: str) -> Response:
    """For a collector of the operator's own. The token is the one that opens the sandbox's previews."""
    found = by_token(asking, token)
    target = asking.services.telemetry.targets.of_team(found.team_id)
    if target is None:
        raise NotFound("This organization has configured no collector")
    return JSONResponse(config_json(target, found.team_id))


@router.get("/api/organizations/sandbox-identity/by-sandbox-auth-token/{token}")
async def get_sandbox_identity_by_token(asking: Asking, token: str) -> Response:
    found = by_token(asking, token)
    return JSONResponse({"sandboxId": found.id, "organizationId": found.team_id})


def by_token(asking: Proxy, token: str) -> Sandbox:
    found = asking.services.telemetry.by_token(token)
    if found is None or (asking.principal is not None and found.team_id != asking.principal.team_id):
        raise NotFound("No sandbox has this token")
    return found


@router.get("/api/organizations/{organization_id}/otel-config")
async def get_otel_config(call: Authenticated, organization_id: str) -> Response:
    await own_team(call, organization_id)
    return JSONResponse(config_json(await call.services.telemetry.targets.get(call.principal), organization_id))


@router.put("/api/organizations/{organization_id}/otel-config", status_code=204)
async def update_otel_config(request: Request, call: Authenticated, organization_id: str) -> Response:
    await own_team(call, organization_id)
    body = await parse(request, OtelConfig)
    await call.services.telemetry.targets.set(call.principal, body.endpoint, body.headers or {})
    return Response(status_code=204)


@router.delete("/api/organizations/{organization_id}/otel-config", status_code=204)
async def delete_otel_config(call: Authenticated, organization_id: str) -> Response:
    await own_team(call, organization_id)
    await call.services.telemetry.targets.delete(call.principal)
    return Response(status_code=204)
