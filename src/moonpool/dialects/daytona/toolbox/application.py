"""The toolbox as ASGI: authentication, the table, the envelope around every failure.

Plain ASGI, no framework between: commands are counted in milliseconds here.
"""

import uuid

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from moonpool.dialects.common.authentication import principal
from moonpool.dialects.daytona.toolbox.call import Call, ClientGone, Tools, json_response
from moonpool.dialects.daytona.toolbox.errors import document, error_response
from moonpool.dialects.daytona.toolbox.links import asker
from moonpool.dialects.daytona.toolbox.operations import WEBSOCKET, table
from moonpool.errors import MoonpoolError

INTERNAL_ERROR = 1011  # websocket close code

log = structlog.get_logger(__name__)


class Toolbox:
    """Serves ``{sandbox_id}`` and ``{path}`` of the route it hangs at, HTTP and WebSocket."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._table = table()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = Answer(send)
        request = Request(scope, receive)
        try:
            response = await self._answer(request, request.method, receive, answer.send)
        except MoonpoolError as error:
            response = error_response(request, error)
        except (ClientGone, ClientDisconnect):
            return
        except Exception as error:  # noqa: BLE001 - the outermost edge: the client gets a number, the log the rest
            response = self._unexpected(request, error)
        if response is not None and not answer.started:
            await response(scope, receive, send)

    async def _answer(self, request: Request, method: str, receive: Receive, send: Send) -> Response | None:
        path = f"/{request.path_params['path']}"
        who = await asker(request, self._tools.services, method, path)
        found = self._table.find(method, path)
        call = Call(self._tools, who, request.path_params["sandbox_id"], found.parameters, request, receive, send)
        return await found.handler(call)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket(scope, receive, send)
        answer = Answer(send)
        try:
            who = await principal(socket, self._tools.services.access)
            found = self._table.find(WEBSOCKET, f"/{socket.path_params['path']}")
            socket = WebSocket(scope, receive, answer.send)
            sandbox = socket.path_params["sandbox_id"]
            await found.handler(Call(self._tools, who, sandbox, found.parameters, socket, receive, answer.send))
        except MoonpoolError as error:
            await self._refuse(socket, answer, error_response(socket, error))
        except WebSocketDisconnect:
            return  # The client hung up while it was told something, or told that this is the end.
        except Exception as error:  # noqa: BLE001 - the outermost edge, as above
            await self._refuse(socket, answer, self._unexpected(socket, error))

    async def _refuse(self, socket: WebSocket, answer: "Answer", response: Response) -> None:
        """Before the handshake the client gets the envelope with its status, afterwards a close frame."""
        if answer.closed:
            return
        if answer.started:
            await socket.close(INTERNAL_ERROR, "internal error")
        else:
            await socket.send_denial_response(response)

    def _unexpected(self, connection: Request | WebSocket, error: Exception) -> Response:
        request_id = uuid.uuid4().hex
        log.error("unexpected error", request_id=request_id, path=connection.url.path, exc_info=error)
        body = document(connection, 500, "INTERNAL_SERVER_ERROR", f"Internal server error (request {request_id})")
        return json_response(body, 500)


class Answer:
    """Passes messages on and knows whether the answer has begun: from then on no envelope can be sent."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False
        self.closed = False

    async def send(self, message: Message) -> None:
        self.started = True
        self.closed = self.closed or message["type"] == "websocket.close"
        await self._send(message)
