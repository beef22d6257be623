"""A process that has imported the server's modules and forks one program after the other, each as ``python`` would
begin it: the imports take two seconds of a processor, a fork hundredths. It has one thread and no event loop, so a fork
has nothing of it but memory. It ends with the tests, killed ones too.

    python -m tests.zygote SOCKET

``tests.programs`` asks it, by messages over the socket with that number; see ``Request``.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import struct
import sys
import threading
from dataclasses import asdict, dataclass
from typing import NoReturn

LARGEST = 1 << 20  # bytes of a message
STATUS = struct.Struct("i")  # how a program ended, as ``subprocess.Popen.returncode``
OURS = 3  # descriptors from here on belong to the zygote
# What servers and commands import, and what the tests' own variants of a server do beyond that.
MODULES = (
    "aiosqlite",
    "typer.rich_utils",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
    "moonpool.app",
    "moonpool.cli.diagnosis",
    "moonpool.cli.main",
    "moonpool.ssh.server",
    "tests.faults.inventory",
)


@dataclass(frozen=True)
class Request:
    """Comes with four descriptors: standard input, output, error, and a pipe for ``STATUS``. The answer is the new
    process' number, with a pidfd of it."""

    program: str  # a module, or a script's path
    arguments: list[str]
    environment: dict[str, str]
    folder: str

    def encoded(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decoded(cls, message: bytes) -> "Request":
        return cls(**json.loads(message))


class Zygote:
    def __init__(self, tests: socket.socket) -> None:
        self._tests = tests
        self._children: dict[int, tuple[int, int]] = {}  # pidfd -> process, pipe

    def serve(self) -> Request | None:
        """In each new process: what it is to be. In the zygote: None, when the tests have ended."""
        while True:
            poll = select.poll()
            for descriptor in (self._tests.fileno(), *self._children):
                poll.register(descriptor, select.POLLIN)
            for descriptor, _ in poll.poll():
                if descriptor in self._children:
                    self._bury(descriptor)
                elif not (message := self._receive())[0]:
                    self._end()
                    return None
                elif request := self._fork(*message):
                    return request

    def _receive(self) -> tuple[bytes, list[int]]:
        message, descriptors, _, _ = socket.recv_fds(self._tests, LARGEST, 4)
        return message, descriptors

    def _fork(self, message: bytes, descriptors: list[int]) -> Request | None:
        *streams, status = descriptors
        process = os.fork()
        if process == 0:
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
            return Request.decoded(message)
        pidfd = os.pidfd_open(process)
        self._children[pidfd] = process, status
        for stream in streams:
            os.close(stream)
        socket.send_fds(self._tests, [str(process).encode()], [pidfd])
        return None

    def _bury(self, pidfd: int) -> None:
        process, status = self._children.pop(pidfd)
        _, ended = os.waitpid(process, 0)
        with contextlib.suppress(BrokenPipeError):  # Nobody wants to know any more.
            os.write(status, STATUS.pack(os.waitstatus_to_exitcode(ended)))
        os.close(status)
        os.close(pidfd)

    def _end(self) -> None:
        for process, _ in self._children.values():
            os.kill(process, signal.SIGTERM)


def become(request: Request) -> NoReturn:
    """This process is the program from now on, and ends as one."""
    try:
        execute(request)
    except SystemExit as end:
        if not isinstance(end.code, int | None):
            raise
        leave(end.code or 0)
    leave(0)


def leave(code: int) -> NoReturn:
    """As the interpreter ends, but that nothing is taken apart: to free all that the zygote had imported would make
    copies of its memory, which takes several times as long as a command of the command line."""
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def execute(request: Request) -> None:
    os.closerange(OURS, os.sysconf("SC_OPEN_MAX"))
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environment)
    sys.argv = [request.program, *request.arguments]
    gc.enable()
    if "/" in request.program:
        runpy.run_path(request.program, run_name="__main__")
    else:
        runpy.run_module(request.program, run_name="__main__", alter_sys=True)


def main() -> None:
    gc.disable()
    for module in MODULES:
        importlib.import_module(module)
    gc.freeze()  # What is never looked at for garbage stays shared with the forks.
    interrupts = signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=int(sys.argv[1])) as tests:
        request = Zygote(tests).serve()
    if request is not None:
        signal.signal(signal.SIGINT, interrupts)
        become(request)


if __name__ == "__main__":
    main()
