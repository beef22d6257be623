"""The start of the agent, as the first process of a sandbox or, in tests, as an ordinary one."""

import asyncio
import ctypes
import gc
import itertools
import os
import signal
import socket

from .limits import Limits
from .root import renew_proc
from .server import Server

DEFAULT_LISTEN = "0.0.0.0:49983"
# Of mallopt: buffers of bulk transfers come from memory that is used again. Fresh pages cost gVisor more than copying.
MALLOC = {-3: 8 << 20, -1: 16 << 20, -8: 1}  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD (bytes), M_ARENA_MAX
# Signals whose default is to end or stop a process. A handler, not "ignore", since children would inherit the latter.
HARMLESS = ("HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "ALRM", "VTALRM", "PROF", "TSTP", "TTIN", "TTOU", "IO", "PWR")


def main() -> None:
    """MOONPOOL_AGENT_SECRET is what the first connections must say; MOONPOOL_AGENT_LISTEN is ADDRESS:PORT, and means
    that this is no sandbox of its own."""
    secret = _take_secret("MOONPOOL_AGENT_SECRET")
    listen = os.environ.pop("MOONPOOL_AGENT_LISTEN", None)
    address, _, port = (listen or DEFAULT_LISTEN).rpartition(":")
    library = ctypes.CDLL(None)
    for option, value in MALLOC.items():
        library.mallopt(option, value)
    os.umask(0o022)
    os.chdir("/")
    for name in HARMLESS:
        signal.signal(signal.Signals[f"SIG{name}"], _nothing)
    listener = socket.create_server((address, int(port)))
    limits = Limits()
    if listen is None:
        renew_proc()
        limits.begin()
    server = Server(secret, listener.getsockname()[1], limits, alone=listen is None)
    gc.collect()
    gc.freeze()
    asyncio.run(server.serve(listener))


def _take_secret(name: str) -> bytes:
    """The secret, which is then no longer in this process's environment as /proc shows it."""
    secret = os.environ.get(name, "").encode()
    if not secret:
        raise SystemExit(f"{name} is not set")
    variables = ctypes.POINTER(ctypes.c_void_p).in_dll(ctypes.CDLL(None), "environ")
    start = f"{name}=".encode()
    for address in itertools.takewhile(bool, (variables[index] for index in itertools.count())):
        if ctypes.string_at(address).startswith(start):
            ctypes.memset(address + len(start), ord("x"), len(secret))
    del os.environ[name]
    return secret


def _nothing(number: int, frame: object) -> None:
    """The first process of a sandbox ends with the sandbox only."""
