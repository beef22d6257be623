"""``sudo`` for a kernel that ignores the set-user-id bit: this service, as root, starts the real one for whom it may.

The image's ``sudo`` command speaks to it over an abstract socket: a length with three descriptors, then the request in
JSON; afterwards each byte is a signal for the program's process group. The answer is the exit code, or the negative
number of the signal that ended it. Whoever is not in one of GROUPS gets none.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import struct

from .callers import Callers
from .errors import AgentError
from .processes import Processes
from .spawn import Program, start
from .users import ROOT, Users

SERVICE = "\0sandbox-sudo"
PROGRAM = "/usr/bin/sudo.real"  # nothing else is started, so that the image's own rules hold
GROUPS = ("sudo", "wheel")
# What the loader and the C library read, and would not of a set-user-id program.
UNSAFE = ("LD_", "GLIBC_", "GCONV_PATH", "MALLOC_", "LOCALDOMAIN", "NLSPATH", "RES_OPTIONS", "HOSTALIASES", "TMPDIR")
HEADER, RESULT = struct.Struct("!I"), struct.Struct("!i")
DESCRIPTOR, CREDENTIALS = struct.Struct("i"), struct.Struct("3i")
MAX_REQUEST = 8 << 20  # bytes
MAX_CALLERS = 256  # at once
REQUEST_TIMEOUT = 10.0  # seconds


class Elevated:
    """A program that was started for a caller."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def exited(self, status: int) -> None:
        if not self.ended.done():
            self.ended.set_result(os.waitstatus_to_exitcode(status))


class Elevation:
    def __init__(self, users: Users, processes: Processes) -> None:
        self._users, self._processes = users, processes
        self._callers = Callers(SERVICE, MAX_CALLERS, self._serve)

    def listen(self) -> None:
        self._callers.listen()

    def _allowed(self, uid: int) -> bool:
        return uid == 0 or any(self._users.is_member(uid, group) for group in GROUPS)

    async def _serve(self, caller: socket.socket) -> None:
        streams: list[int] = []
        try:
            with caller, contextlib.suppress(OSError, TimeoutError, ValueError, KeyError, TypeError, AgentError):
                async with asyncio.timeout(REQUEST_TIMEOUT):
                    length, uid = await _receive_header(caller, streams)
                    if not self._allowed(uid):
                        return
                    request = await _receive_request(caller, length)
                elevated = Elevated()
                pid = self._start(request, streams, elevated)
                _close(streams)
                code = await _accompany(caller, pid, elevated)
                await asyncio.get_running_loop().sock_sendall(caller, RESULT.pack(code))
        finally:
            _close(streams)

    def _start(self, request: dict[str, object], streams: list[int], elevated: Elevated) -> int:
        arguments, environment = request["arguments"], request["environment"]
        if not isinstance(arguments, list) or not isinstance(environment, dict):
            raise TypeError
        program = Program(
            argv=(PROGRAM, *(str(argument) for argument in arguments[1:])),
            shell=None,
            cwd=str(request["directory"]),
            user=ROOT,
            environment={str(name): str(text) for name, text in environment.items() if not name.startswith(UNSAFE)},
            streams=(streams[0], streams[1], streams[2]),
            terminal=os.ttyname(streams[0]) if request.get("terminal") else None,
        )
        pid = start(program)
        self._processes.watch(pid, elevated)
        return pid


async def _receive_header(caller: socket.socket, streams: list[int]) -> tuple[int, int]:
    """The request's length and the caller's user, with three descriptors added to ``streams``.

    The user is the one the kernel attaches to the message: gVisor's SO_PEERCRED names another.
    """
    await _readable(caller)
    space = socket.CMSG_SPACE(3 * DESCRIPTOR.size) + socket.CMSG_SPACE(CREDENTIALS.size)
    header, ancillary, _, _ = caller.recvmsg(HEADER.size, space, socket.MSG_CMSG_CLOEXEC)
    uid = None
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            whole = len(content) - len(content) % DESCRIPTOR.size
            streams.extend(number for (number,) in DESCRIPTOR.iter_unpack(content[:whole]))
        elif level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            _, uid, _ = CREDENTIALS.unpack(content)
    (length,) = HEADER.unpack(header)
    if uid is None or length > MAX_REQUEST or len(streams) != 3:
        raise ValueError
    return length, uid


async def _receive_request(caller: socket.socket, length: int) -> dict[str, object]:
    text = bytearray()
    while len(text) < length:
        piece = await asyncio.get_running_loop().sock_recv(caller, length - len(text))
        if not piece:
            raise ValueError
        text += piece
    request = json.loads(text)
    if not isinstance(request, dict):
        raise TypeError
    return request


async def _readable(caller: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(caller, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(caller)


async def _accompany(caller: socket.socket, pid: int, elevated: Elevated) -> int:
    """Passes the caller's signals on until the program has ended; a caller that hangs up takes it along."""
    loop = asyncio.get_running_loop()
    while not elevated.ended.done():
        listening = asyncio.ensure_future(loop.sock_recv(caller, 64))
        await asyncio.wait((listening, elevated.ended), return_when=asyncio.FIRST_COMPLETED)
        if not listening.done():
            listening.cancel()
            break
        numbers = b"" if listening.exception() else listening.result()
        for number in numbers or bytes([signal.SIGKILL]):
            with contextlib.suppress(OSError, ValueError):
                os.killpg(pid, number)
        if not numbers:
            break
    return await elevated.ended


def _close(streams: list[int]) -> None:
    while streams:
        os.close(streams.pop())
