"""Work for a client that may go away meanwhile."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import Request

Result = TypeVar("Result")


class ClientGone(Exception):
    """Nobody is there any more to read the answer."""


async def while_connected(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """What ``work`` answers; when the client goes first, ``work`` is cancelled and ClientGone raised.

    The request's body must have been read before: what follows it is the disconnection.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientGone
    finally:
        for waiting in (task, gone):
            waiting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({waiting})


async def disconnected(request: Request) -> None:
    """Returns once the client has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
