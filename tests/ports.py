"""Ports for servers that are told theirs before they have it.

The kernel gives ports of its own range to whoever asks for any, so that one of those may be taken again before its
server has begun. These are from below it, and each process of pytest-xdist has its own.
"""

import contextlib
import itertools
import os
import secrets
import socket
from collections.abc import Iterator
from functools import cache

FIRST = 10_000
SHARES, SIZE = 8, 2_800  # the last port is below 32,768, where the kernel's range begins


def free_port() -> int:
    """Of 127.0.0.1; another one each time."""
    for port in _ports():
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("an endless list has ended")


@cache
def _ports() -> Iterator[int]:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first, begin = FIRST + worker % SHARES * SIZE, secrets.randbelow(SIZE)
    return itertools.cycle([*range(first + begin, first + SIZE), *range(first, first + begin)])
