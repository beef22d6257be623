"""The socket that ``systemctl`` and ``journalctl`` speak to: everybody may read, root alone may change."""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from functools import partial

from ..callers import Callers
from ..users import Users
from ..workers import Workers
from . import journalctl, systemctl, tmpfiles
from .client import SERVICE
from .console import Console
from .manager import Manager

CREDENTIALS = struct.Struct("3i")
LENGTH = struct.Struct("!I")
MAX_REQUEST = 1 << 20  # bytes
MAX_CALLERS = 128
REQUEST_TIMEOUT = 10.0  # seconds
Program = Callable[[Console, list[str]], Awaitable[int]]


class Control:
    def __init__(self, manager: Manager, users: Users, workers: Workers, suffix: str) -> None:
        self._programs: dict[str, Program] = {
            "systemctl": partial(systemctl.run, manager),
            "journalctl": partial(journalctl.run, manager),
            "systemd-tmpfiles": partial(tmpfiles.run, users, workers),
        }
        self._hurry = manager.hurry
        self._callers = Callers(f"\0{SERVICE}{suffix}", MAX_CALLERS, self._serve)

    def listen(self) -> None:
        self._callers.listen()

    async def _serve(self, caller: socket.socket) -> None:
        with caller, contextlib.suppress(OSError, TimeoutError, ValueError):
            async with asyncio.timeout(REQUEST_TIMEOUT):
                request, uid = await _request(caller)
            program, *arguments = request
            self._hurry()
            console = Console(caller, privileged=uid == 0)
            code = await _until_hung_up(caller, self._programs[program](console, arguments))
            await console.end(code)


async def _until_hung_up(caller: socket.socket, work: Awaitable[int]) -> int:
    """What it answers; a caller that goes away ends it, but nothing that it has begun."""
    loop = asyncio.get_running_loop()
    working, listening = asyncio.ensure_future(work), asyncio.ensure_future(loop.sock_recv(caller, 1))
    try:
        await asyncio.wait((working, listening), return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else 1
    finally:
        working.cancel()
        listening.cancel()


async def _request(caller: socket.socket) -> tuple[list[str], int]:
    """The words, and who sent them: the user that the kernel attaches, since gVisor's SO_PEERCRED names another."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(caller, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(caller)
    space = socket.CMSG_SPACE(CREDENTIALS.size)
    header, ancillary, _, _ = caller.recvmsg(LENGTH.size, space, socket.MSG_CMSG_CLOEXEC)
    uid = -1
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            _, uid, _ = CREDENTIALS.unpack(content)
    (length,) = LENGTH.unpack(header)
    if not 0 < length <= MAX_REQUEST:
        raise ValueError("a request of such a length")
    text = bytearray()
    while len(text) < length:
        piece = await loop.sock_recv(caller, length - len(text))
        if not piece:
            raise ValueError("a request that is cut off")
        text += piece
    return [os.fsdecode(word) for word in bytes(text).split(b"\0")], uid
