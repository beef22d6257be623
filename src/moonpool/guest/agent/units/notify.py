"""Where a service tells how it is: the other side of ``sd_notify``.

Each start of a service gets a socket of its own, so that it is clear who speaks even when the speaker is gone by now.
Its name is abstract: it needs no folder, and is part of the sandbox's saved memory.
"""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Callable, Mapping

MAX_MESSAGE = 64 << 10  # bytes
MAX_DESCRIPTORS = 16
AT_ONCE = 100  # messages


class NotifySocket:
    """``told`` gets what was said, by name; ``name`` is for the variable NOTIFY_SOCKET."""

    def __init__(self, invocation: str, told: Callable[[Mapping[str, str]], None]) -> None:
        self.name = f"@sandbox-notify-{invocation}"
        self._told = told
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + self.name[1:])
        self._socket.setblocking(False)
        asyncio.get_running_loop().add_reader(self._socket, self._readable)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _readable(self) -> None:
        space = socket.CMSG_SPACE(4 * MAX_DESCRIPTORS)
        for _ in range(AT_ONCE):
            try:
                data, ancillary, _, _ = self._socket.recvmsg(MAX_MESSAGE, space, socket.MSG_CMSG_CLOEXEC)
            except OSError:
                return
            for level, kind, content in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    _close(content)
            lines = (line.partition("=") for line in data.decode(errors="replace").splitlines())
            self._told({name: value for name, sign, value in lines if sign})


def _close(content: bytes) -> None:
    """Descriptors that came along, which a barrier waits to see closed."""
    for (number,) in struct.iter_unpack("i", content[: len(content) - len(content) % 4]):
        with contextlib.suppress(OSError):
            os.close(number)
