"""The dialect as one ASGI application, from the table of its operations."""

from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp

from moonpool.dialects.common.services import Services
from moonpool.dialects.freestyle import (
    account,
    beyond,
    builds,
    commands,
    creation,
    domains,
    errors,
    files,
    identities,
    lifecycle,
    pty,
    snapshots,
    stats,
    systemd,
    terminals,
    vms,
    watching,
)
from moonpool.dialects.freestyle.callers import caller, check_guest
from moonpool.dialects.freestyle.operation import Operation
from moonpool.dialects.freestyle.operations import OPERATIONS
from moonpool.dialects.freestyle.requests import Call, Handler
from moonpool.errors import MoonpoolError
from moonpool.hosts.keyed_locks import KeyedLocks

PREFIXES = ("/v1/vms", domains.PREFIX, identities.PREFIX, account.AUTH, account.LOGS, *beyond.REASONS)
PARTS = (builds, commands, creation, files, lifecycle, snapshots, stats, systemd, terminals, vms, watching)
HANDLERS: Mapping[str, Handler] = {name: handler for part in PARTS for name, handler in part.HANDLERS.items()}
BESIDE = (account, domains, identities, pty)
"""What the contract has not, and the SDKs use."""


def create_app(services: Services) -> ASGIApp:
    """Every operation of the contract at its full path, and this dialect's envelope for every error."""
    # Fixed segments come before parameters, else /v1/vms/snapshots would be the VM "snapshots".
    handlers = {**HANDLERS, **{name: handler for part in BESIDE for name, handler in part.HANDLERS.items()}}
    operations = (*OPERATIONS, *(operation for part in BESIDE for operation in part.OPERATIONS))
    ordered = sorted(operations, key=lambda operation: [part.startswith("{") for part in operation.path.split("/")])
    routes: list[BaseRoute] = [
        Route(
            operation.path.replace("{filepath}", "{filepath:anything}"),
            Endpoint(operation, handlers[operation.id], services).answer,
            methods=[operation.method],
        )
        for operation in ordered
    ]
    routes += [
        WebSocketRoute(pty.OPEN, pty.PtyEndpoint("open_pty", pty.open_pty, services).serve),
        WebSocketRoute(pty.SESSION, pty.PtyEndpoint("attach_pty", pty.attach_pty, services).serve),
        *beyond.routes(),
    ]
    app = Starlette(routes=routes, exception_handlers=errors.HANDLERS)
    app.router.redirect_slashes = False
    app.state.locks = KeyedLocks()
    app.state.background = set()
    app.state.watchers = pty.Watchers()
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
            who, guest = await caller(request, self._services)
            call = Call(self._operation.id, request, self._services, who, guest)
            if guest is not None:
                check_guest(guest, self._operation.id, call.vm_id, call.linux_user, self._services)
            return await self._handler(call)
        except MoonpoolError as error:
            return errors.error_response(error, self._operation.id, request.path_params)
