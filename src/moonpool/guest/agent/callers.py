"""A service for programs inside, on an abstract socket, to which the kernel attaches who is calling."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine
from typing import Any

Serve = Callable[[socket.socket], Coroutine[Any, Any, None]]


class Callers:
    """Those being served, ``most`` at once; whoever comes on top is turned away. ``serve`` closes its socket."""

    def __init__(self, name: str, most: int, serve: Serve) -> None:
        self._name, self._most, self._serve = name, most, serve
        self._tasks: set[asyncio.Task[None]] = set()

    def listen(self) -> None:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        listener.bind(self._name)
        listener.listen()
        listener.setblocking(False)
        asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            caller, _ = listener.accept()
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            caller.setblocking(False)
            if len(self._tasks) >= self._most:
                caller.close()
                return
            task = asyncio.get_running_loop().create_task(self._serve(caller))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
