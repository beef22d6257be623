"""Threads for everything that may wait for a disk. They are started once, since under a process limit none can be."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from .privileges import file_rights
from .users import User

COUNT = 6
Result = TypeVar("Result")
Job = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", User | None, Callable[[], Any]]


class Stop:
    """Tells long work that nobody waits for it any more."""

    wanted = False


class Workers:
    def __init__(self) -> None:
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        for _ in range(COUNT):
            threading.Thread(target=self._work, daemon=True).start()

    async def call(self, user: User | None, function: Callable[[], Result], stop: Stop | None = None) -> Result:
        """Run `function` on a thread, with the rights of `user`. A caller that is cancelled still waits for its end,
        so that whatever it opened can be closed afterwards."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._jobs.put((loop, future, user, function))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if stop is not None:
                stop.wanted = True
            while not future.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([future])
            future.exception()
            raise

    def _work(self) -> None:
        while True:
            loop, future, user, function = self._jobs.get()
            try:
                with file_rights(user):
                    result = function()
            except Exception as error:  # noqa: BLE001 - the edge of a thread: whatever it is belongs to the caller
                loop.call_soon_threadsafe(_fail, future, error)
            else:
                loop.call_soon_threadsafe(_succeed, future, result)


def _succeed(future: "asyncio.Future[Any]", result: object) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: "asyncio.Future[Any]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
