"""The Daytona API as one ASGI application: the platform under ``/api``, toolboxes under ``/toolbox``."""

import uuid
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moonpool.dialects.common.routing import serve_routes
from moonpool.dialects.common.services import Services
from moonpool.dialects.daytona import (
    audit,
    builds,
    collectors,
    copies,
    jobs,
    keys,
    members,
    operations,
    organizations,
    pools,
    previews,
    registries,
    runners,
    sandboxes,
    secrets,
    server,
    settings,
    snapshots,
    ssh,
    storage,
    toolbox,
    usage,
    volumes,
    webhooks,
)
from moonpool.dialects.daytona.errors import domain_error, envelope, validation_message
from moonpool.dialects.daytona.notifications import Notifications
from moonpool.dialects.daytona.throttling import WithRateLimits
from moonpool.errors import MoonpoolError

PREFIXES = ("/api", "/toolbox")
VERSION_HEADER = (b"x-daytona-api-version", f"v{server.API_VERSION}".encode())

log = structlog.get_logger(__name__)


def create_app(services: Services) -> ASGIApp:
    """Everything under ``PREFIXES``. Needs neither start nor stop: its one task lives while a client listens."""
    app = FastAPI(openapi_url=None, redirect_slashes=False)
    app.state.services = services
    app.state.started_at = services.clock.now()
    app.router.routes[:0] = toolbox.create_routes(services)
    serve_routes(app, operations.create_router())
    parts = (
        ssh,
        server,
        runners,
        jobs,
        pools,
        collectors,
        sandboxes,
        settings,
        copies,
        snapshots,
        builds,
        storage,
        registries,
        keys,
        members,
        organizations,
        previews,
        volumes,
        audit,
        webhooks,
        secrets,
    )
    for part in parts:
        serve_routes(app, part.router)
    app.state.offered = [route for part in parts for route in part.router.routes]
    serve_routes(app, storage.store)
    add_error_handlers(app)
    serve_routes(app, usage.router)
    # Outside of the app, so that the answer to an unexpected error passes through them as well.
    outer = CORSMiddleware(
        WithVersion(WithRateLimits(app, services.access.throttles)),
        allow_origins=["*"],
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=["*"],
    )
    wrapped: ASGIApp = Notifications(services).wrap(outer)
    return wrapped


def add_error_handlers(app: FastAPI) -> None:
    app.add_exception_handler(MoonpoolError, on_domain_error)
    app.add_exception_handler(RequestValidationError, on_invalid_request)
    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(Exception, on_unexpected_error)


async def on_domain_error(request: Request, error: Any) -> Response:
    return domain_error(request, error)


async def on_invalid_request(request: Request, error: Any) -> Response:
    return envelope(request, 400, validation_message(error.errors()))


async def on_http_error(request: Request, error: Any) -> Response:
    message = f"Cannot {request.method} {request.url.path}" if error.status_code in (404, 405) else error.detail
    return envelope(request, error.status_code, message, headers=error.headers)


async def on_unexpected_error(request: Request, error: Exception) -> Response:
    """The client gets a number to tell the operator, who finds it in the log beside the trace."""
    request_id = uuid.uuid4().hex
    log.error("unexpected error", request_id=request_id, path=request.url.path, exc_info=error)
    return envelope(request, 500, f"Internal server error (request {request_id})")


class WithVersion:
    """Adds the version header that the vendor's clients expect to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_version(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), VERSION_HEADER]
            await send(message)

        await self._app(scope, receive, send_with_version if scope["type"] == "http" else send)
