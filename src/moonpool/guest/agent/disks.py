"""How large the sandbox's disks are, for the `df` inside: statfs(2) tells the host's whole pool, so the host is asked.

Its figures are handed on as they come, to whoever connects to a socket; nobody's question makes the host measure more
often than once in a while.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable

from ..protocol import Stream
from .callers import Callers
from .request import Request

SERVICE = "sandbox-disks"
MAX_CALLERS = 64
PATIENCE = 5.0  # seconds that the host may take
FRESH = 1.0  # seconds for which figures count as current


class Disks:
    """`ask` tells the host that its figures are wanted, and whether there is one that hears it."""

    def __init__(self, ask: Callable[[], bool], suffix: str) -> None:
        self._ask = ask
        self._figures = b""
        self._told_at = -FRESH
        self._coming: asyncio.Future[bytes] | None = None
        self._callers = Callers(f"\0{SERVICE}{suffix}", MAX_CALLERS, self._serve)

    def listen(self) -> None:
        self._callers.listen()

    def forget(self) -> None:
        """This is another sandbox now, with disks of its own."""
        self._told_at = -FRESH

    async def show_disks(self, stream: Stream, request: Request) -> None:
        """The host's answer: what `df.py` reads, in the body."""
        self._figures, self._told_at = request.body, time.monotonic()
        if self._coming is not None and not self._coming.done():
            self._coming.set_result(request.body)

    async def _serve(self, caller: socket.socket) -> None:
        """Whoever is told nothing has to look for itself."""
        with caller, contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                figures = await self._current()
                await asyncio.get_running_loop().sock_sendall(caller, figures)

    async def _current(self) -> bytes:
        if time.monotonic() - self._told_at < FRESH:
            return self._figures
        if self._coming is None or self._coming.done():
            self._coming = asyncio.get_running_loop().create_future()
        if not self._ask():
            return b""
        return await asyncio.shield(self._coming)
