"""The dialect as one ASGI application, from the table of its operations."""

from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from moonpool.dialects.common.authentication import principal
from moonpool.dialects.common.services import Services
from moonpool.dialects.freestyle import (
    builds,
    commands,
    creation,
    domains,
    errors,
    files,
    lifecycle,
    snapshots,
    stats,
    systemd,
    terminals,
    vms,
    watching,
)
from moonpool.dialects.freestyle.operation import Operation
from moonpool.dialects.freestyle.operations import OPERATIONS
from moonpool.dialects.freestyle.requests import Call, Handler
from moonpool.errors import MoonpoolError
from moonpool.hosts.keyed_locks import KeyedLocks

PREFIXES = ("/v1/vms", domains.PREFIX)
PARTS = (builds, commands, creation, files, lifecycle, snapshots, stats, systemd, terminals, vms, watching)
HANDLERS: Mapping[str, Handler] = {name: handler for part in PARTS for name, handler in part.HANDLERS.items()}


def create_app(services: Services) -> ASGIApp:
    """Every operation of the contract at its full path, and this dialect's envelope for every error."""
    # Fixed segments come before parameters, else /v1/vms/snapshots would be the VM "snapshots".
    handlers = {**HANDLERS, **domains.HANDLERS}
    operations = (*OPERATIONS, *domains.OPERATIONS)
    ordered = sorted(operations, key=lambda operation: [part.startswith("{") for part in operation.path.split("/")])
    routes = [
        Route(
            operation.path.replace("{filepath}", "{filepath:anything}"),
            Endpoint(operation, handlers[operation.id], services).answer,
            methods=[operation.method],
        )
        for operation in ordered
    ]
    app = Starlette(routes=routes, exception_handlers=errors.HANDLERS)
    app.router.redirect_slashes = False
    app.state.locks = KeyedLocks()
    app.state.background = set()
    return app


class Anything(Convertor[str]):
    """What is left of the path, slashes and line breaks included."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("anything", Anything())


class Endpoint:
    """One operation: its handler, and the codes that its errors have."""

    def __init__(self, operation: Operation, handler: Handler, services: Services) -> None:
        self._operation = operation
        self._handler = handler
        self._services = services

    async def answer(self, request: Request) -> Response:
        try:
            who = await principal(request, self._services.access)
            return await self._handler(Call(self._operation.id, request, self._services, who))
        except MoonpoolError as error:
            return errors.error_response(error, self._operation.id, request.path_params)
