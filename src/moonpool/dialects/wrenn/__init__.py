"""The Wrenn API, version 0.2.0 of its contract and what SDKs up to 0.3.0 add to it."""

from functools import cache

from fastapi import APIRouter, FastAPI
from starlette.types import ASGIApp

from moonpool.dialects.common.routing import serve_routes
from moonpool.dialects.common.services import Services
from moonpool.dialects.wrenn import (
    account,
    admin_builds,
    admin_capsules,
    administration,
    audit,
    auth,
    capsules,
    channels,
    commands,
    errors,
    events,
    files,
    hosts,
    keys,
    metrics,
    oauth,
    streams,
    teams,
    templates,
    terminals,
)
from moonpool.dialects.wrenn.unavailable import remaining

PREFIXES = ("/v1", "/auth")

# Tried in this order: the hot paths first; metrics before capsules, else /capsules/stats would be the capsule "stats".
ROUTERS = (
    *(commands, files, metrics, capsules, streams, terminals, templates, events, hosts, audit, channels),
    *(admin_builds, admin_capsules),
    *(auth, account, oauth, keys, teams, administration),
)


def create_app(services: Services) -> ASGIApp:
    """Every operation of the contract at its full path, and this dialect's envelope for every error."""
    app = FastAPI(openapi_url=None, redirect_slashes=False)
    app.state.services = services
    errors.install(app)
    for module in ROUTERS:
        serve_routes(app, module.router)
    serve_routes(app, unserved())
    return app


@cache
def unserved() -> APIRouter:
    return remaining(route for module in ROUTERS for route in module.router.routes)
