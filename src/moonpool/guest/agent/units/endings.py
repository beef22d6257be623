"""How processes end, and what follows from that."""

import contextlib
import os
import signal

from .launch import STATUS_NAMES
from .signals import name_of

CLEAN_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)
RESTARTING = {
    "success": ("always", "on-success"),
    "exit-code": ("always", "on-failure"),
    "signal": ("always", "on-failure", "on-abnormal", "on-abort"),
    "core-dump": ("always", "on-failure", "on-abnormal", "on-abort"),
    "timeout": ("always", "on-failure", "on-abnormal"),
    "watchdog": ("always", "on-failure", "on-abnormal", "on-watchdog"),
    "protocol": ("always", "on-failure", "on-abnormal"),
    "resources": ("always", "on-failure"),
}


class Failed(Exception):
    """A step went wrong; ``result`` is systemd's word for how."""

    def __init__(self, result: str) -> None:
        super().__init__(result)
        self.result = result


class Skipped(Exception):
    """A condition does not hold."""


def decoded(status: int) -> tuple[int | None, int | None]:
    """Exit code, or the signal that ended it."""
    return (None, os.WTERMSIG(status)) if os.WIFSIGNALED(status) else (os.WEXITSTATUS(status), None)


def told(status: int) -> str:
    code, number = decoded(status)
    if number is not None:
        kind = "dumped" if os.WCOREDUMP(status) else "killed"
        return f"code={kind}, status={number}/{name_of(number)}"
    assert code is not None
    return f"code=exited, status={code}/{STATUS_NAMES.get(code, 'FAILURE' if code == 1 else 'n/a')}"


def pid_in(path: str) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        with open(path) as file:
            pid = int(file.read(32).split()[0])
        return pid if pid > 1 and os.path.exists(f"/proc/{pid}") else None
    return None
