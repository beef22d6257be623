"""``/dev/log``: what programs say to syslog goes into the journal of the service that they belong to."""

import asyncio
import contextlib
import os
import re
import socket
import stat
import struct
from collections.abc import Callable

from .journal import Journal

PATH = "/dev/log"
CREDENTIALS = struct.Struct("3i")
MAX_MESSAGE = 64 << 10  # bytes
AT_ONCE = 100  # messages
NOBODYS = "session.scope"  # what no service has said
MESSAGE = re.compile(
    r"(?:<(?P<priority>\d{1,3})>)?"
    r"(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d )?"
    r"(?:(?P<tag>[^\s:\[\]]{1,64})(?:\[(?P<pid>\d{1,10})\])?: ?)?"
    r"(?P<text>.*)",
    re.DOTALL,
)


class Syslog:
    """``owner`` knows the unit that a process belongs to."""

    def __init__(self, journal: Journal, owner: Callable[[int], str | None]) -> None:
        self._journal, self._owner = journal, owner
        self._socket: socket.socket | None = None

    def listen(self) -> None:
        """Nothing happens where something else listens there, or nothing can be made."""
        with contextlib.suppress(OSError):
            if os.path.lexists(PATH):
                if not stat.S_ISSOCK(os.lstat(PATH).st_mode):
                    return
                os.unlink(PATH)
            made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            made.bind(PATH)
            os.chmod(PATH, 0o666)  # noqa: S103 - everybody may say something
            made.setblocking(False)
            asyncio.get_running_loop().add_reader(made, self.read)
            self._socket = made

    def read(self) -> None:
        """Take what has been said by now."""
        source = self._socket
        if source is None:
            return
        space = socket.CMSG_SPACE(CREDENTIALS.size)
        for _ in range(AT_ONCE):
            try:
                data, ancillary, _, _ = source.recvmsg(MAX_MESSAGE, space, socket.MSG_CMSG_CLOEXEC)
            except OSError:
                return
            pid = 0
            for level, kind, content in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                    pid, _, _ = CREDENTIALS.unpack(content)
            self._take(data.decode(errors="replace"), pid)

    def _take(self, message: str, sender: int) -> None:
        found = MESSAGE.fullmatch(message.rstrip("\0\n"))
        if found is None:
            return
        pid = sender or int(found["pid"] or 0)
        unit = (self._owner(pid) if pid else None) or NOBODYS
        priority = int(found["priority"] or 6) & 7
        self._journal.write(unit, found["text"], priority, found["tag"] or "syslog", int(found["pid"] or pid or 2))
