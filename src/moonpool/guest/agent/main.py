"""The start of the agent, as the first process of a sandbox or, in tests, as an ordinary one."""

import asyncio
import contextlib
import ctypes
import gc
import os
import signal
import socket

from .server import Server

DEFAULT_LISTEN = "0.0.0.0:49983"
PR_SET_CHILD_SUBREAPER = 36
# Signals whose default is to end or stop a process. A handler, not "ignore", since children would inherit the latter.
HARMLESS = ("HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "ALRM", "VTALRM", "PROF", "TSTP", "TTIN", "TTOU", "IO", "PWR")


def main() -> None:
    """MOONPOOL_AGENT_SECRET is what the first connections must say; MOONPOOL_AGENT_LISTEN is ADDRESS:PORT."""
    secret = os.environ.pop("MOONPOOL_AGENT_SECRET", "").encode()
    if not secret:
        raise SystemExit("MOONPOOL_AGENT_SECRET is not set")
    address, _, port = os.environ.pop("MOONPOOL_AGENT_LISTEN", DEFAULT_LISTEN).rpartition(":")
    os.umask(0o022)
    os.chdir("/")
    for name in HARMLESS:
        signal.signal(signal.Signals[f"SIG{name}"], _nothing)
    if os.getpid() != 1:
        with contextlib.suppress(OSError):
            ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    listener = socket.create_server((address, int(port)))
    server = Server(secret, listener.getsockname()[1])
    gc.collect()
    gc.freeze()
    asyncio.run(server.serve(listener))


def _nothing(number: int, frame: object) -> None:
    """The first process of a sandbox ends with the sandbox only."""
