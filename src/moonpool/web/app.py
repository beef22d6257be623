"""The pages' application, and how errors look on them."""

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp

from moonpool.dialects.common.services import Services
from moonpool.dialects.daytona.webhooks import PORTAL
from moonpool.errors import MoonpoolError, PortalClosed, SessionRequired
from moonpool.web import account, logins, mailed, portal, signing_in
from moonpool.web.pages import message, page
from moonpool.web.visits import lead_to

ALWAYS = (PORTAL,)  # whether or not the operator has pages of their own
PREFIXES = (
    *ALWAYS,
    *("/login", "/logout", "/sign-up", "/activate", "/forgot-password", "/reset-password"),
    *("/account", "/invitations", "/api-keys", "/auth/github", "/auth/oidc"),
)


async def domain_error(request: Request, error: Exception) -> Response:
    """Whoever is not signed in, or no more, is led to where that is done."""
    if not isinstance(error, MoonpoolError):
        raise error
    if isinstance(error, PortalClosed):
        return portal.closed(error)
    return lead_to("/login") if isinstance(error, SessionRequired) else page("error", error=error)


async def http_error(request: Request, error: Exception) -> Response:
    """What the router itself answers: unknown paths and methods."""
    if not isinstance(error, HTTPException):
        raise error
    return message("There is no such page", "Look at its address.", status=error.status_code)


async def unexpected_error(_: Request, __: Exception) -> Response:
    """No internals: an id by which the log tells them."""
    request_id = structlog.contextvars.get_contextvars().get("request_id", "unknown")
    return message("Something went wrong", f"The operator finds it in the log as request {request_id}.", status=500)


async def client_gone(_: Request, __: Exception) -> Response:
    return Response(status_code=499)  # Nobody reads this.


def create_app(services: Services) -> ASGIApp:
    app = Starlette(
        routes=[
            *signing_in.ROUTES,
            *mailed.ROUTES,
            *account.ROUTES,
            *logins.ROUTES,
            *portal.FROM_ACCOUNT,
            *portal.ROUTES,
        ],
        exception_handlers={
            MoonpoolError: domain_error,
            HTTPException: http_error,
            ClientDisconnect: client_gone,
            Exception: unexpected_error,
        },
    )
    app.router.redirect_slashes = False
    app.state.services = services
    return app
