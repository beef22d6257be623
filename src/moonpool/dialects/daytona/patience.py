"""How long a socket may stay open whose client has not said who it is."""

import asyncio
import contextlib

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moonpool.dialects.common.sockets import take_messages_of

LOGIN_TIMEOUT = 20.0  # seconds for a client to name its key
LONGEST = 64 * 1024  # bytes of a message: clients say who they are, and that they are there
LISTENING = "moonpool.listening"  # in the scope of a socket whose client has
POLICY_VIOLATION = 1008  # a close code of WebSockets


class Impatient:
    """Closes sockets below ``path`` whose clients do not say who they are: answering pings would keep them for ever."""

    def __init__(self, application: ASGIApp, path: str) -> None:
        self._application, self._path = application, path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket" or not scope["path"].startswith(self._path):
            await self._application(scope, receive, send)
            return
        take_messages_of(scope, LONGEST)
        deadline = asyncio.get_running_loop().time() + LOGIN_TIMEOUT

        async def received() -> Message:
            while LISTENING not in scope:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(deadline):
                        return await receive()
                if LISTENING not in scope:
                    await send({"type": "websocket.close", "code": POLICY_VIOLATION})
                    return {"type": "websocket.disconnect", "code": POLICY_VIOLATION}
            return await receive()

        await self._application(scope, received, send)
