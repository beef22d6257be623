"""A browser session's cookies: its own, which no script reads, and the CSRF token, which the page does."""

from starlette.requests import HTTPConnection
from starlette.responses import Response

from moonpool.access.people import SESSION_LIFETIME
from moonpool.dialects.common.origin import origin

SESSION_COOKIE = "wrenn_sid"
CSRF_COOKIE = "wrenn_csrf"
FLOW_COOKIE = "wrenn_oauth"  # of a login at a provider, while it is under way
CSRF_HEADER = "x-csrf-token"


def give(response: Response, token: str, csrf: str, *, secure: bool) -> None:
    seconds = int(SESSION_LIFETIME.total_seconds())
    for name, value, hidden in ((SESSION_COOKIE, token, True), (CSRF_COOKIE, csrf, False)):
        response.set_cookie(name, value, max_age=seconds, path="/", secure=secure, httponly=hidden, samesite="strict")
    response.headers["cache-control"] = "no-store"


def take(response: Response, *, secure: bool) -> None:
    for name in (SESSION_COOKIE, CSRF_COOKIE):
        response.delete_cookie(name, path="/", secure=secure, httponly=name == SESSION_COOKIE, samesite="strict")


def own_origin(connection: HTTPConnection, public_url: str) -> str:
    return origin(connection.url.scheme, connection.headers, public_url)


def is_secure(connection: HTTPConnection, public_url: str) -> bool:
    """Whether the browser speaks TLS with us, or with the proxy in front."""
    return own_origin(connection, public_url).startswith("https://")


def same_origin(connection: HTTPConnection, public_url: str) -> bool:
    """Whether the page that asks is one of ours, or no page asks."""
    asking = connection.headers.get("origin")
    return asking is None or asking in (public_url, own_origin(connection, public_url))
