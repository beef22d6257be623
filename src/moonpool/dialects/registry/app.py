"""The registry as one ASGI application, under ``/v2``."""

from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp

from moonpool.dialects.common.services import Services
from moonpool.dialects.registry import blobs, manifests, uploads
from moonpool.dialects.registry.call import Endpoint
from moonpool.dialects.registry.errors import HANDLERS

NAME = "/v2/{name:path}"


def create_app(services: Services) -> ASGIApp:
    """Needs neither start nor stop."""

    def route(path: str, endpoint: Endpoint) -> Route:
        return Route(path, endpoint.answer, methods=endpoint.methods)

    root = Endpoint(services, GET=manifests.root, HEAD=manifests.root)
    begin = Endpoint(services, POST=uploads.begin)
    upload = Endpoint(services, GET=uploads.status, PATCH=uploads.append, PUT=uploads.finish, DELETE=uploads.cancel)
    blob = Endpoint(services, True, GET=blobs.get, HEAD=blobs.get, DELETE=blobs.delete)
    manifest = Endpoint(
        services,
        True,
        GET=manifests.get,
        HEAD=manifests.get,
        PUT=manifests.put,
        DELETE=manifests.delete,
    )
    app = Starlette(
        routes=[
            route("/v2", root),
            route("/v2/", root),
            route("/v2/_catalog", Endpoint(services, GET=manifests.catalog)),
            route(f"{NAME}/tags/list", Endpoint(services, GET=manifests.tags)),
            route(f"{NAME}/manifests/{{reference}}", manifest),
            route(f"{NAME}/blobs/uploads", begin),
            route(f"{NAME}/blobs/uploads/", begin),
            route(f"{NAME}/blobs/uploads/{{upload}}", upload),
            route(f"{NAME}/blobs/{{digest}}", blob),
        ],
        exception_handlers=HANDLERS,
    )
    app.router.redirect_slashes = False
    return app
