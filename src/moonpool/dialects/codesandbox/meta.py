"""What this API is, and how much the asker may still ask of it."""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from moonpool.access.model import Principal
from moonpool.dialects.codesandbox.call import authenticated, shared_of
from moonpool.dialects.codesandbox.limits import Figures, RateLimits
from moonpool.dialects.codesandbox.mapping import API_VERSION, wire_scopes
from moonpool.errors import Unauthorized

router = APIRouter()


@router.get("/meta/info")
async def get_meta_info(request: Request) -> Response:
    """Without the usual envelope. Nobody needs a key to ask; who has one is told what it is good for."""
    answer: dict[str, Any] = {"api": {"name": "CodeSandbox API, by Moonpool", "latest_version": API_VERSION}}
    try:
        call = await authenticated(request)
    except Unauthorized:
        return JSONResponse(answer)
    scopes = wire_scopes(call.principal.scopes)
    answer["auth"] = {"scopes": scopes, "team": call.principal.team_id, "version": API_VERSION}
    answer["rate_limits"] = rate_limits(shared_of(request).limits, call.principal)
    return JSONResponse(answer)


def rate_limits(limits: RateLimits, asker: Principal) -> dict[str, Any]:
    return {
        "concurrent_vms": figures_json(limits.vms(asker)),
        "sandboxes_hourly": figures_json(limits.sandboxes(asker)),
        "requests_hourly": figures_json(limits.requests(asker)),
    }


def figures_json(figures: Figures) -> dict[str, int]:
    answer = {"limit": figures.limit, "remaining": figures.remaining}
    return answer if figures.reset is None else {**answer, "reset": figures.reset}
