"""What the server tells about itself: configuration, health, its one region."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from moonpool.dialects.daytona import mapping, schemas
from moonpool.dialects.daytona.call import Authenticated, Call, services_of
from moonpool.dialects.daytona.throttling import limits_told
from moonpool.dialects.daytona.timestamps import timestamp
from moonpool.errors import NotFound
from moonpool.snapshots.model import DEFAULT_SNAPSHOT

API_VERSION = "0.190.0"  # the vendor's release whose behaviour is followed

router = APIRouter()


@router.get("/api/config")
async def get_config(call: Authenticated) -> Response:
    """There is no identity provider: keys are the only way in, which an empty ``oidc`` says."""
    scheme = call.origin.partition("://")[0]
    return JSONResponse(
        {
            "version": API_VERSION,
            "oidc": {"issuer": "", "clientId": "", "audience": "", "provider": "none"},
            "linkedAccountsEnabled": False,
            "announcements": {},
            "proxyTemplateUrl": f"{scheme}://{{{{PORT}}}}-{{{{sandboxId}}}}.{call.services.server.preview_domain}",
            "proxyToolboxUrl": call.view.toolbox_url,
            "defaultSnapshot": DEFAULT_SNAPSHOT,
            "dashboardUrl": call.origin,
            "maxAutoArchiveInterval": mapping.MAX_AUTO_ARCHIVE,
            "maintananceMode": False,
            "environment": "production",
            "rateLimit": limits_told(call.services.access.throttles, call.principal),
        }
    )


@router.get("/api/health")
async def health() -> Response:
    return JSONResponse({"status": "ok"})


@router.get("/api/health/ready")
async def health_ready(request: Request) -> Response:
    """Asks the database, which everything needs; a failure is answered as any unexpected error."""
    await services_of(request).events.history("", limit=1)
    database = {"database": {"status": "up"}}
    return JSONResponse({"status": "ok", "info": database, "error": {}, "details": database})


@router.get("/api/regions")
@router.get("/api/shared-regions")
async def list_regions(request: Request, call: Authenticated) -> Response:
    return JSONResponse([region(call, request.app.state.started_at)])


@router.get("/api/regions/{region_id}")
async def get_region(request: Request, call: Authenticated, region_id: str) -> Response:
    if region_id != call.view.region:
        raise NotFound(f"Region {region_id} not found")
    return JSONResponse(region(call, request.app.state.started_at))


def region(call: Call, since: datetime) -> dict[str, Any]:
    """The one region there is, as old as this run of the server."""
    return {
        "id": call.view.region,
        "name": call.view.region,
        "organizationId": None,
        "regionType": schemas.RegionType.shared,
        "createdAt": timestamp(since),
        "updatedAt": timestamp(since),
        "proxyUrl": None,
        "sshGatewayUrl": None,
        "snapshotManagerUrl": None,
    }
