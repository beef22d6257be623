"""Signing in by a provider. Where it ends is set by the operator: nothing that a request says leads elsewhere."""

from urllib.parse import quote

from fastapi import APIRouter, Request
from pydantic import StrictStr
from starlette.responses import RedirectResponse, Response

from moonpool.access.logins import FLOW_LIFETIME
from moonpool.dialects.common.services import Services
from moonpool.dialects.wrenn import cookies
from moonpool.dialects.wrenn.cookies import FLOW_COOKIE
from moonpool.dialects.wrenn.people import client_of
from moonpool.dialects.wrenn.requests import Provided, SignedInCaller, answer
from moonpool.dialects.wrenn.wire import WireModel
from moonpool.errors import LoginRefused, NotFound

FLOW_PATH = "/auth/oauth"
DENIED = "access_denied"  # what the provider says of somebody who would not

router = APIRouter()


class Authorization(WireModel):
    auth_url: StrictStr


@router.get("/auth/oauth/{provider}")
async def oauth_redirect(provider: str, request: Request, services: Provided) -> Response:
    url, sealed = await services.community.logins.begin(provider, callback_of(services, provider))
    response = RedirectResponse(url, 302)
    keep(request, services, response, sealed)
    return response


@router.get("/v1/me/providers/{provider}/connect")
async def connect_provider(provider: str, request: Request, services: Provided, principal: SignedInCaller) -> Response:
    url, sealed = await services.community.logins.begin(provider, callback_of(services, provider), principal)
    response = answer(Authorization(auth_url=url))
    keep(request, services, response, sealed)
    return response


@router.delete("/v1/me/providers/{provider}")
async def disconnect_provider(provider: str, services: Provided, principal: SignedInCaller) -> Response:
    await services.community.logins.disconnect(principal, provider)
    return Response(status_code=204)


@router.get("/auth/oauth/{provider}/callback")
async def oauth_callback(
    provider: str, request: Request, services: Provided, code: str = "", state: str = "", error: str = ""
) -> Response:
    """Ends on the page of the operator's, with the session's cookies or with the reason that there are none."""
    sealed = request.cookies.get(FLOW_COOKIE, "")
    try:
        if error:
            raise LoginRefused(DENIED)
        signed = await services.community.logins.finish(provider, sealed, state, code, client_of(request))
        response = back(services, provider)
    except LoginRefused as refusal:
        signed, response = None, back(services, provider, refusal.reason)
    secure = cookies.is_secure(request, services.server.public_url)
    if signed is not None:
        csrf = services.community.sessions.csrf(signed.token)
        cookies.give(response, signed.token, csrf, secure=secure)
    response.delete_cookie(FLOW_COOKIE, path=FLOW_PATH, secure=secure, httponly=True, samesite="lax")
    return response


def callback_of(services: Services, provider: str) -> str:
    return f"{services.server.public_url}{FLOW_PATH}/{quote(provider, safe='')}/callback"


def back(services: Services, provider: str, reason: str = "") -> Response:
    if not provider.isascii() or not provider.isalnum():
        raise NotFound("There is no such login provider here")
    suffix = f"?error={quote(reason, safe='')}" if reason else ""
    return RedirectResponse(f"{services.community.accounts.rules.web}/auth/{provider}/callback{suffix}", 302)


def keep(request: Request, services: Services, response: Response, sealed: str) -> None:
    """Lax, not strict: it has to come back with a redirect from the provider's page."""
    secure = cookies.is_secure(request, services.server.public_url)
    response.set_cookie(
        FLOW_COOKIE, sealed, max_age=FLOW_LIFETIME, path=FLOW_PATH, secure=secure, httponly=True, samesite="lax"
    )
    response.headers["cache-control"] = "no-store"
