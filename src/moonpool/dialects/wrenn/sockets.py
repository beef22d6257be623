"""What the WebSocket routes share: messages, races, and how they end."""

import json
from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastapi import WebSocket
from starlette.websockets import WebSocketDisconnect, WebSocketState

from moonpool.dialects.common.bodies import validated
from moonpool.dialects.wrenn.errors import error_response
from moonpool.dialects.wrenn.lookup import open_session
from moonpool.dialects.wrenn.mapping import sandbox_id, sentence
from moonpool.dialects.wrenn.requests import caller, services_of
from moonpool.dialects.wrenn.wire import WireModel
from moonpool.errors import MoonpoolError
from moonpool.sandboxes.model import AgentSession

Message = TypeVar("Message", bound=WireModel)


async def converse(
    websocket: WebSocket,
    capsule: str,
    talk: Callable[[WebSocket, AgentSession], Awaitable[None]],
    *,
    admin: bool = False,
    **extra: object,
) -> None:
    """Let the client in where it may come in, ``talk``, and close; ``extra`` goes with every error message. ``admin``:
    to capsules of every team, who administers the server."""
    services = services_of(websocket)
    try:
        try:
            asker = await caller(websocket, services)
            if admin:
                asker = services.oversight.on_behalf_of(asker, sandbox_id(capsule))
            async with open_session(services, asker, capsule) as session:
                await websocket.accept()
                await talk(websocket, session)
            await websocket.close()
        except MoonpoolError as error:
            await fail(websocket, error, **extra)
    except WebSocketDisconnect:
        return


async def send(websocket: WebSocket, **message: object) -> None:
    await websocket.send_text(json.dumps(message, ensure_ascii=False, separators=(",", ":")))


async def receive(websocket: WebSocket) -> bytes | str:
    """The next frame, text or binary; WebSocketDisconnect at the end."""
    frame = await websocket.receive()
    if frame["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(frame.get("code", 1005), frame.get("reason"))
    text = frame.get("text")
    return text if text is not None else frame.get("bytes") or b""


async def first_message(websocket: WebSocket, model: type[Message]) -> Message:
    frame = await receive(websocket)
    return validated(frame.encode() if isinstance(frame, str) else frame, model)


async def fail(websocket: WebSocket, error: MoonpoolError, **extra: object) -> None:
    """Before the handshake an answer in HTTP, afterwards an ``error`` message and the end."""
    if websocket.application_state is WebSocketState.CONNECTING:
        await websocket.send_denial_response(error_response(error))
        return
    await send(websocket, type="error", data=sentence(error), **extra)
    await websocket.close()
