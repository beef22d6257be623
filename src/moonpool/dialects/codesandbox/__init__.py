"""The CodeSandbox API, version 2023-07-01 of its contract, as SDK and CLI 2.4.2 speak it."""

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from moonpool.dialects.codesandbox import (
    errors,
    machines,
    meta,
    previews,
    sandboxes,
    sessions,
    templates,
    workspace,
)
from moonpool.dialects.codesandbox.addresses import PITCHER_PREFIX
from moonpool.dialects.codesandbox.call import Shared
from moonpool.dialects.codesandbox.limits import RateLimits, WithFigures
from moonpool.dialects.codesandbox.pitcher.endpoint import create_routes
from moonpool.dialects.common.routing import serve_routes
from moonpool.dialects.common.services import Services

PREFIXES = ("/sandbox", "/vm", "/templates", "/org", "/workspace", "/meta", PITCHER_PREFIX)

# Tried in this order: templates before machines, else /vm/tag could be the sandbox "tag".
ROUTERS = (templates, machines, sandboxes, sessions, previews, workspace, meta)


def create_app(services: Services) -> ASGIApp:
    """Every operation of the contract at its full path, and this dialect's envelope for every error."""
    limits = RateLimits(services)
    app = FastAPI(openapi_url=None, redirect_slashes=False)
    app.state.shared = Shared.of(services, limits)
    app.router.routes[:0] = create_routes(services)
    errors.install(app)
    for module in ROUTERS:
        serve_routes(app, module.router)
    # Outside of the app, so that the answer to an unexpected error passes through them as well.
    return CORSMiddleware(
        WithFigures(app, limits), allow_origins=["*"], allow_methods=["*"], allow_headers=["*"], expose_headers=["*"]
    )
