"""Who is looking at a page."""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from moonpool.access.model import Principal
from moonpool.access.people import Client, SignedIn
from moonpool.dialects.common.authentication import admitted
from moonpool.dialects.common.services import Services
from moonpool.dialects.wrenn import cookies
from moonpool.errors import SessionRequired
from moonpool.web.forms import form_of, require_csrf
from moonpool.web.pages import HEADERS

SEE_OTHER = 303  # whatever was sent, the next request is a GET


def services_of(request: Request) -> Services:
    services = request.app.state.services
    assert isinstance(services, Services)
    return services


def client_of(request: Request) -> Client:
    return Client(request.client.host if request.client else "", request.headers.get("user-agent", ""))


async def visitor(request: Request) -> Principal:
    """Who is signed in; SessionRequired, RateLimited."""
    services, token = services_of(request), request.cookies.get(cookies.SESSION_COOKIE, "")
    return admitted(request, await services.community.sessions.authenticate(token), services.access)


async def changing(request: Request) -> tuple[Principal, Mapping[str, str]]:
    """Who sends a form that changes something, and its fields; CsrfRefused."""
    services = services_of(request)
    form, principal = await form_of(request, services), await visitor(request)
    require_csrf(request, services, form)
    return principal, form


async def is_signed_in(request: Request) -> bool:
    try:
        await visitor(request)
    except SessionRequired:
        return False
    return True


def csrf_of(request: Request) -> str:
    return services_of(request).community.sessions.csrf(request.cookies.get(cookies.SESSION_COOKIE, ""))


def lead_to(path: str) -> Response:
    """``path`` is one of ours, never what a request says."""
    return RedirectResponse(path, SEE_OTHER, HEADERS)


def let_in(request: Request, signed: SignedIn) -> Response:
    """To the account, with the cookies of a new session."""
    services, response = services_of(request), lead_to("/account")
    secure = cookies.is_secure(request, services.server.public_url)
    cookies.give(response, signed.token, services.community.sessions.csrf(signed.token), secure=secure)
    return response


def let_out(request: Request) -> Response:
    response = lead_to("/login")
    cookies.take(response, secure=cookies.is_secure(request, services_of(request).server.public_url))
    return response
