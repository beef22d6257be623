"""Where clients connect: ``/pitcher/{sandbox_id}``, with and without a slash at its end, ``?token=...``."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from moonpool.dialects.codesandbox.pitcher import methods
from moonpool.dialects.codesandbox.pitcher.call import Call
from moonpool.dialects.codesandbox.pitcher.client import Client, Unanswered
from moonpool.dialects.codesandbox.pitcher.downloads import Downloads
from moonpool.dialects.codesandbox.pitcher.hub import Hub
from moonpool.dialects.codesandbox.pitcher.keys import Keys
from moonpool.dialects.codesandbox.pitcher.outbox import SlowClient
from moonpool.dialects.codesandbox.pitcher.params import Params
from moonpool.dialects.codesandbox.pitcher.place import cancel
from moonpool.dialects.codesandbox.pitcher.tokens import Grant, Tokens
from moonpool.dialects.codesandbox.pitcher.wire import Incoming, MalformedFrame
from moonpool.dialects.common.origin import origin
from moonpool.dialects.common.services import Services
from moonpool.dialects.common.sockets import MAX_MESSAGE_BYTES, take_messages_of
from moonpool.errors import (
    AgentTimeout,
    AgentUnavailable,
    Forbidden,
    InvalidState,
    MoonpoolError,
    SandboxNotFound,
    Unauthorized,
)
from moonpool.events.model import Event, EventType
from moonpool.sandboxes.model import Sandbox, SandboxState

PREFIX = "/pitcher"
FAREWELL = 5.0  # seconds for a client to take what is still to be told
PARTING = 2.0  # seconds for it to go by itself once it has been told
GOING_AWAY, INVALID_DATA, POLICY_VIOLATION = 1001, 1007, 1008  # websocket close codes
S = SandboxState
# Of these nothing comes back by itself.
AT_REST = frozenset({S.PAUSED, S.STOPPING, S.STOPPED, S.ARCHIVING, S.ARCHIVED, S.DESTROYING, S.DESTROYED, S.ERROR})


def create_routes(services: Services) -> list[BaseRoute]:
    """The agent protocol and the downloads that it offers; ``PREFIX`` must lead here."""
    tokens = Tokens(services.server.signing_key, services.clock)
    pitcher = Pitcher(services, tokens)
    return [
        WebSocketRoute(f"{PREFIX}/{{sandbox_id}}", pitcher.serve),
        WebSocketRoute(f"{PREFIX}/{{sandbox_id}}/", pitcher.serve),
        Route(f"{PREFIX}/{{sandbox_id}}/download/{{name}}", Downloads(services, tokens).serve, methods=["GET"]),
    ]


class Pitcher:
    """Every hub of this server, one for each sandbox that has clients."""

    def __init__(self, services: Services, tokens: Tokens) -> None:
        self._services = services
        self._tokens = tokens
        self._keys = Keys(services.access)
        self._hubs: dict[str, asyncio.Task[Hub]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        services.events.listen(self._happened)

    # -- connections ---------------------------------------------------------------------------------------------------

    async def serve(self, websocket: WebSocket) -> None:
        sandbox_id = websocket.path_params["sandbox_id"]
        try:
            known = self._tokens.verify(websocket.query_params.get("token", ""), sandbox_id)
            grant = await known.confirmed(self._services.access)
            await self._awake(grant)
            hub = await self._hub(grant)
        except MoonpoolError as error:
            await websocket.send_denial_response(refusal(error))
            return
        client = Client(websocket, grant, address(websocket, self._services.server.public_url))
        hub.enter(client)
        try:
            take_messages_of(websocket.scope, MAX_MESSAGE_BYTES)  # Whole files.
            await websocket.accept()
            await self._converse(websocket, hub, client)
        except WebSocketDisconnect:
            pass
        finally:
            hub.leave(client)
            await client.close()
            self._close_later(sandbox_id, hub)

    async def _converse(self, websocket: WebSocket, hub: Hub, client: Client) -> None:
        """Until the client has gone, or must go."""

        async def answer(asking: Client, request: Incoming) -> Any:
            return await self._answer(hub, asking, request)

        talking = asyncio.create_task(client.converse(answer))
        sending = asyncio.create_task(client.outbox.drain())
        others = (client.outbox.watch(), hub.resting.wait(), self._keys.outlive(client.grant))
        tasks: list[asyncio.Task[Any]] = [talking, sending, *map(asyncio.create_task, others)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            code = ending(tasks)
            if code == GOING_AWAY:
                await client.outbox.flush(FAREWELL)
                # The SDK closes when it has heard. In a browser it hears of a close sooner than of the message before
                # it, and would come back by itself, which wakes the sandbox.
                await asyncio.wait({talking}, timeout=PARTING)
        finally:
            await cancel(*tasks)
        if code is not None:
            with contextlib.suppress(TimeoutError, WebSocketDisconnect, RuntimeError):
                async with asyncio.timeout(FAREWELL):
                    await websocket.close(code)

    async def _answer(self, hub: Hub, client: Client, request: Incoming) -> Any:
        method = methods.find(request.method, writes=client.grant.writes)
        call = Call(client, hub, Params(request.params), request.number)
        again = not method.writes
        while True:
            try:
                return await method.handler(call)
            except InvalidState:  # Nothing was done: a change of state is under way, or over.
                if hub.resting.is_set() or await hub.place.lost():
                    raise Unanswered from None
            except (AgentUnavailable, AgentTimeout):
                if hub.resting.is_set() or await hub.place.lost():
                    raise Unanswered from None
                if not again:  # What changes something may have been done, so it is not done twice.
                    raise
                again = False

    async def _awake(self, grant: Grant) -> Sandbox:
        """The sandbox, running; woken up where its owner wants that. Raises InvalidState, SandboxNotFound."""
        sandboxes = self._services.sandboxes
        sandbox = await sandboxes.get(grant.principal, grant.sandbox_id)
        if sandbox.state is not S.RUNNING:
            sandbox = await sandboxes.settled(grant.principal, grant.sandbox_id)
        if sandbox.state is S.RUNNING:
            return sandbox
        if not wakes_up(sandbox):
            raise InvalidState(f"The sandbox is {sandbox.state}: start it first", state=sandbox.state)
        return await sandboxes.start(grant.principal, grant.sandbox_id)

    # -- hubs ----------------------------------------------------------------------------------------------------------

    async def _hub(self, grant: Grant) -> Hub:
        """The sandbox's one hub, opened by the first who needs it."""
        opening = self._hubs.get(grant.sandbox_id)
        if opening is None:
            opening = self._hubs[grant.sandbox_id] = asyncio.create_task(self._open(grant))
            opening.add_done_callback(lambda done: self._opened(grant.sandbox_id, done))
        hub = await asyncio.shield(opening)  # Others wait for it as well.
        return await self._hub(grant) if hub.closed else hub  # Its last client may have left just now.

    def _opened(self, sandbox_id: str, opening: "asyncio.Task[Hub]") -> None:
        failed = opening.cancelled() or opening.exception() is not None
        if failed and self._hubs.get(sandbox_id) is opening:
            del self._hubs[sandbox_id]

    async def _open(self, grant: Grant) -> Hub:
        hub = Hub(self._services, self._tokens, grant.principal, grant.sandbox_id)
        await hub.open()
        return hub

    def _close_later(self, sandbox_id: str, hub: Hub) -> None:
        """Close it if nobody needs it, now or once its setup has ended."""
        if hub.place.clients:
            return
        task = asyncio.create_task(self._close(sandbox_id, hub), name=f"end of hub {sandbox_id}")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close(self, sandbox_id: str, hub: Hub) -> None:
        await hub.quiet()
        if hub.closed or (hub.place.clients and not hub.resting.is_set()):
            return
        hub.closed = True
        current = self._hubs.get(sandbox_id)
        if current is not None and current.done() and not current.cancelled() and current.result() is hub:
            del self._hubs[sandbox_id]
        await hub.close()

    def _happened(self, event: Event) -> None:
        if event.type is not EventType.SANDBOX_STATE_UPDATED or S(event.data["new_state"]) not in AT_REST:
            return
        opening = self._hubs.pop(event.subject_id, None)
        if opening is None:
            return
        kept = S(event.data["new_state"]) is S.PAUSED
        opening.add_done_callback(lambda done: self._rest(event.subject_id, done, kept=kept))

    def _rest(self, sandbox_id: str, opening: "asyncio.Task[Hub]", *, kept: bool) -> None:
        """``kept``: with its processes, which go on one day."""
        if not opening.cancelled() and opening.exception() is None:
            hub = opening.result()
            if not kept:
                hub.shells.gone()
            hub.rest()
            self._close_later(sandbox_id, hub)


def ending(tasks: "Sequence[asyncio.Task[Any]]") -> int | None:
    """The close code for what has ended a conversation; None: the client has gone."""
    errors = [task.exception() for task in tasks if task.done()]
    for error in errors:
        if isinstance(error, SlowClient | Unauthorized | Forbidden):
            return POLICY_VIOLATION
        if isinstance(error, MalformedFrame):
            return INVALID_DATA
        if isinstance(error, WebSocketDisconnect):
            return None
        if error is not None:
            raise error
    talking, *_ = tasks
    return None if talking.done() else GOING_AWAY


def refusal(error: MoonpoolError) -> JSONResponse:
    statuses = ((Unauthorized, 401), (Forbidden, 403), (SandboxNotFound, 404), (InvalidState, 409))
    status = next((status for kind, status in statuses if isinstance(error, kind)), 503)
    return JSONResponse({"success": False, "errors": [error.message]}, status)


def wakes_up(sandbox: Sandbox) -> bool:
    """Whether a WebSocket client wakes this sandbox: only where its owner has said so."""
    data = sandbox.dialect_data.get("codesandbox")
    wanted = data.get("automatic_wakeup_config") if isinstance(data, dict) else None
    return isinstance(wanted, dict) and wanted.get("websocket") is True


def address(websocket: WebSocket, public_url: str) -> str:
    """``http(s)://host`` as the client wrote it."""
    return origin(websocket.url.scheme, websocket.headers, public_url)
