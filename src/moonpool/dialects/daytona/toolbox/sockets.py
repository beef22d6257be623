"""What every websocket of the toolbox needs."""

from collections.abc import Coroutine
from typing import Any

from moonpool.cancellation import first_of
from moonpool.dialects.daytona.toolbox.call import Call

NORMAL_CLOSURE = 1000
POLICY_VIOLATION = 1008
INTERNAL_ERROR = 1011
EXECUTION_TIMEOUT = 4008
REASON_LIMIT = 123  # bytes, what a close frame holds


async def until_closed(call: Call, *works: Coroutine[Any, Any, None]) -> None:
    """Run until one of ``works`` has ended or the client has gone; raises what that one raised.

    What the client sends is read and dropped, unless one of ``works`` is there to read it: see ``first_of``.
    """
    await first_of(*works, drop_messages(call))


async def drop_messages(call: Call) -> None:
    while (await call.socket.receive())["type"] != "websocket.disconnect":
        pass


def reason(text: str) -> str:
    """As much of a text as a close frame holds."""
    return text.encode()[:REASON_LIMIT].decode(errors="ignore")
