"""What every websocket of the toolbox needs."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from moonpool.dialects.daytona.toolbox.call import Call

NORMAL_CLOSURE = 1000
POLICY_VIOLATION = 1008
INTERNAL_ERROR = 1011
EXECUTION_TIMEOUT = 4008
REASON_LIMIT = 123  # bytes, what a close frame holds


async def until_closed(call: Call, *works: Coroutine[Any, Any, None]) -> None:
    """Run until one of ``works`` has ended or the client has gone; raises what that one raised.

    What the client sends is read and dropped, unless one of ``works`` is there to read it: see ``run_until_first``.
    """
    await run_until_first(*works, drop_messages(call))


async def run_until_first(*works: Coroutine[Any, Any, None]) -> None:
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def drop_messages(call: Call) -> None:
    while (await call.socket.receive())["type"] != "websocket.disconnect":
        pass


def reason(text: str) -> str:
    """As much of a text as a close frame holds."""
    return text.encode()[:REASON_LIMIT].decode(errors="ignore")
