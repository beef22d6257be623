"""How much of the machine's memory this process may take: beyond that, what is large is refused.

Whoever asks for much at once, or takes it slowly, would otherwise end the server for everybody.
"""

import os

from moonpool.errors import Overloaded

SHARE = 4  # the server takes at most one part in so many of the machine's memory
LEAST = 1 << 30  # bytes, however small the machine is
PAGE = os.sysconf("SC_PAGE_SIZE")  # bytes
LIMIT = max(LEAST, os.sysconf("SC_PHYS_PAGES") * PAGE // SHARE)  # bytes


def ensure_room() -> None:
    """Before another piece of something large is taken into memory, some microseconds. Overloaded."""
    if resident() > LIMIT:
        raise Overloaded


def resident() -> int:
    """Bytes of memory that this process has."""
    with open("/proc/self/statm", "rb") as figures:
        return int(figures.read().split()[1]) * PAGE
