"""State events over Socket.IO, so that the SDK need not poll: ``/api/socket.io``, WebSocket only.

A client names its key when it connects and then hears the events of its team. Clients are told apart by the address
they used, because a sandbox's toolbox URL depends on it.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from moonpool.access.model import Principal, Scope
from moonpool.dialects.common.origin import origin
from moonpool.dialects.common.services import Services
from moonpool.dialects.daytona import mapping
from moonpool.dialects.daytona.answers import View, sandbox_json
from moonpool.dialects.daytona.patience import LISTENING, Impatient
from moonpool.errors import MoonpoolError
from moonpool.events.model import Event, EventType
from moonpool.sandboxes.model import SandboxState

PATH = "/api/socket.io"
TRUSTED_FOR = 30.0  # seconds after which a key is looked at again before something is sent to its owner


@dataclass(frozen=True)
class Listener:
    principal: Principal
    token: str
    view: View
    verified_at: float

    @property
    def room(self) -> str:
        return f"{self.principal.team_id} {self.view.origin}"


class Notifications:
    """The Socket.IO server of this dialect, made for the first who comes, and the task that feeds it while somebody
    listens."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._listeners: dict[str, Listener] = {}
        self._feed: asyncio.Task[None] | None = None
        self._server: Any = None
        self._door: ASGIApp | None = None

    def wrap(self, app: ASGIApp) -> ASGIApp:
        """``app`` with ``PATH`` in front of it."""

        async def either(scope: AsgiScope, receive: Receive, send: Send) -> None:
            here = scope["type"] in ("http", "websocket") and scope["path"].startswith(PATH)
            await (await self._opened(app) if here else app)(scope, receive, send)

        return Impatient(either, PATH)

    async def _opened(self, app: ASGIApp) -> ASGIApp:
        """Its package brings clients and what they need along, which a server's start does not wait for."""
        socketio = await asyncio.to_thread(import_module, "socketio")
        if self._door is None:
            self._server = socketio.AsyncServer(async_mode="asgi", transports=["websocket"], cors_allowed_origins="*")
            self._server.on("connect", self._connect)
            self._server.on("disconnect", self._disconnect)
            self._door = socketio.ASGIApp(self._server, app, socketio_path=PATH)
        return self._door

    async def _connect(self, sid: str, environ: Mapping[str, Any], auth: object = None) -> None:
        token = auth.get("token") if isinstance(auth, dict) else None
        try:
            listener = await self._listener(environ["asgi.scope"], token if isinstance(token, str) else "")
        except MoonpoolError as error:
            raise import_module("socketio").exceptions.ConnectionRefusedError(error.message) from None
        self._listeners[sid] = listener
        environ["asgi.scope"][LISTENING] = True
        await self._server.enter_room(sid, listener.room)
        if self._feed is None or self._feed.done():
            self._feed = asyncio.create_task(self._feed_listeners(), name="daytona notifications")

    async def _listener(self, scope: Mapping[str, Any], token: str) -> Listener:
        access, server = self._services.access, self._services.server
        principal = await access.authenticate(token)
        access.require(principal, Scope.SANDBOXES_READ)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        view = View(origin(scope["scheme"], headers, server.public_url), server.region)
        return Listener(principal, token, view, self._services.clock.monotonic())

    async def _disconnect(self, sid: str, *_reason: object) -> None:
        self._listeners.pop(sid, None)
        if not self._listeners and self._feed is not None:
            self._feed.cancel()
            self._feed = None

    async def _feed_listeners(self) -> None:
        since: int | None = None
        dropped = True
        while dropped:
            async with self._services.events.subscribe(None, since=since) as events:
                async for event in events:
                    await self._publish(event)
            dropped, since = events.dropped, events.last_id

    async def _publish(self, event: Event) -> None:
        await self._expel_strangers(event.team_id)
        views = {item.room: item.view for item in self._listeners.values() if item.principal.team_id == event.team_id}
        for room, view in views.items():
            payload = self._payload(event, view)
            if payload is not None:
                await self._server.emit(str(event.type), payload, room=room)

    def _payload(self, event: Event, view: View) -> dict[str, Any] | None:
        """``sandbox.created`` carries the sandbox, ``sandbox.state.updated`` also both states; others are not sent."""
        sandbox = self._sandbox(event, view)
        if event.type is EventType.SANDBOX_CREATED:
            return sandbox
        if event.type is EventType.SANDBOX_STATE_UPDATED:
            old, new = (mapping.STATES[SandboxState(event.data[name])] for name in ("old_state", "new_state"))
            return {"sandbox": {**sandbox, "state": new}, "oldState": old, "newState": new}
        return None

    def _sandbox(self, event: Event, view: View) -> dict[str, Any]:
        """The sandbox as memory holds it, which may be ahead of the event; what the event tells when it is gone."""
        known = self._services.sandboxes.peek(event.subject_id)
        if known is not None and known.team_id == event.team_id:
            return sandbox_json(known, view)
        return {"id": event.subject_id, "organizationId": event.team_id, "name": event.data.get("name")}

    async def _expel_strangers(self, team_id: str) -> None:
        """Close the connections of keys that were revoked or have expired since they connected."""
        now = self._services.clock.monotonic()
        for sid, listener in list(self._listeners.items()):
            if listener.principal.team_id != team_id or now - listener.verified_at < TRUSTED_FOR:
                continue
            try:
                await self._services.access.authenticate(listener.token)
            except MoonpoolError:
                await self._server.disconnect(sid)
            else:
                self._listeners[sid] = replace(listener, verified_at=now)
