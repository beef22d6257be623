"""What forms send, and whether it was a form of ours."""

from collections.abc import Mapping
from urllib.parse import parse_qsl

from starlette.requests import Request

from moonpool.dialects.common.bodies import read_body
from moonpool.dialects.common.services import Services
from moonpool.dialects.wrenn.cookies import CSRF_COOKIE, SESSION_COOKIE, same_origin
from moonpool.errors import CsrfRefused, InvalidInput

MAX_FORM = 16 * 1024  # bytes
MAX_FIELDS = 16
CONTENT_TYPE = "application/x-www-form-urlencoded"
CSRF_FIELD = "csrf"


async def form_of(request: Request, services: Services) -> Mapping[str, str]:
    """The fields of a form that one of our pages sent, the last of each name; CsrfRefused, InvalidInput, TooLarge."""
    require_own_page(request, services)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != CONTENT_TYPE:
        raise InvalidInput("This is no form")
    raw = await read_body(request, MAX_FORM)
    try:
        return dict(parse_qsl(raw.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict"))
    except ValueError:
        raise InvalidInput("The form cannot be read") from None


def require_own_page(request: Request, services: Services) -> None:
    """CsrfRefused unless the browser says that one of our pages asks. Before there is a session, too: else another page
    could sign somebody in as somebody else."""
    site = request.headers.get("sec-fetch-site")
    said = "origin" in request.headers and same_origin(request, services.server.public_url)
    if not (said if site is None else site == "same-origin"):
        raise CsrfRefused("This did not come from a page of this server", hint="Open the page anew and try there.")


def require_csrf(request: Request, services: Services, form: Mapping[str, str]) -> None:
    """CsrfRefused unless the form was made for the session that sends it."""
    token, cookie = request.cookies.get(SESSION_COOKIE, ""), request.cookies.get(CSRF_COOKIE, "")
    try:
        services.community.sessions.check_csrf(token, cookie, form.get(CSRF_FIELD, ""))
    except CsrfRefused:
        raise CsrfRefused("This page is of an earlier session", hint="Open it anew and try again.") from None
