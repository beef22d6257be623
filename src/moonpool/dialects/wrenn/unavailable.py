"""Operations of the contract that this server does not offer: a clear answer, from the one table of all of them."""

from collections.abc import Iterable

from fastapi import APIRouter, Request, WebSocket
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from moonpool.dialects.wrenn.errors import envelope
from moonpool.dialects.wrenn.operation import Access, Operation
from moonpool.dialects.wrenn.operations import OPERATIONS
from moonpool.dialects.wrenn.requests import caller, services_of
from moonpool.dialects.wrenn.sockets import fail
from moonpool.errors import MoonpoolError, NotSupported

ONE_HOST = "It is its own and only host, takes none in and needs no reports: GET /v1/hosts tells of it."


def remaining(served: Iterable[BaseRoute]) -> APIRouter:
    """Routes for everything in the table that ``served`` does not answer."""
    methods: set[tuple[str, str]] = set()
    sockets: set[str] = set()
    for route in served:
        if isinstance(route, Route):
            methods |= {(method, route.path) for method in route.methods or ()}
        elif isinstance(route, WebSocketRoute):
            sockets.add(route.path)
    router = APIRouter()
    for operation in OPERATIONS:
        if operation.socket and operation.path not in sockets:
            router.add_api_websocket_route(operation.path, Unavailable(operation).socket)
        if (operation.method, operation.path) not in methods:
            offered = operation.socket and operation.path in sockets
            endpoint = upgrade_required if offered else Unavailable(operation).answer
            router.add_api_route(operation.path, endpoint, methods=[operation.method])
    return router


class Unavailable:
    """One such operation. Where it takes a key or a session, who has neither learns no more than that."""

    def __init__(self, operation: Operation) -> None:
        self._operation = operation

    async def answer(self, request: Request) -> Response:
        if self._operation.access is not Access.PUBLIC:
            await caller(request, services_of(request))
        raise self._error()

    async def socket(self, websocket: WebSocket) -> None:
        try:
            await caller(websocket, services_of(websocket))
            raise self._error()
        except MoonpoolError as error:
            await fail(websocket, error)

    def _error(self) -> NotSupported:
        hint = ONE_HOST if self._operation.path.startswith("/v1/hosts") else ""
        return NotSupported(f"{self._operation.id} is not offered by this server", hint=hint)


async def upgrade_required() -> Response:
    return envelope(426, "invalid_request", "This path takes a WebSocket", {"Upgrade": "websocket"})
