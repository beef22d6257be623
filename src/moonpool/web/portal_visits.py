"""Who is looking at a team's webhooks: by a cookie that opens nothing else, and goes to no other page."""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from moonpool.access.model import Principal
from moonpool.deliveries.portal import VISIT_LIFETIME
from moonpool.dialects.common.authentication import admitted
from moonpool.dialects.daytona.webhooks import PORTAL
from moonpool.dialects.wrenn.cookies import is_secure
from moonpool.web.forms import CSRF_FIELD, form_of
from moonpool.web.visits import lead_to, services_of

COOKIE = "moonpool_webhooks"


def secret_of(request: Request) -> str:
    return request.cookies.get(COOKIE, "")


async def visitor(request: Request) -> Principal:
    """PortalClosed, RateLimited."""
    services = services_of(request)
    return admitted(request, await services.portal.visitor(secret_of(request)), services.access)


async def changing(request: Request) -> tuple[Principal, str, Mapping[str, str]]:
    """Who sends a form that changes something, by which visit, and its fields; CsrfRefused."""
    services, secret = services_of(request), secret_of(request)
    form, principal = await form_of(request, services), await visitor(request)
    services.portal.check_csrf(secret, form.get(CSRF_FIELD, ""))
    return principal, secret, form


def csrf_of(request: Request) -> str:
    return services_of(request).portal.csrf(secret_of(request))


def let_in(request: Request, secret: str) -> Response:
    """Whatever visit the browser had is not taken up."""
    response, seconds = lead_to(PORTAL), int(VISIT_LIFETIME.total_seconds())
    secure = is_secure(request, services_of(request).server.public_url)
    response.set_cookie(COOKIE, secret, max_age=seconds, path=PORTAL, secure=secure, httponly=True, samesite="strict")
    return response


def let_out(request: Request, response: Response) -> Response:
    secure = is_secure(request, services_of(request).server.public_url)
    response.delete_cookie(COOKIE, path=PORTAL, secure=secure, httponly=True, samesite="strict")
    return response
