"""How much of the machine's memory this process may take: beyond that, what is large is refused.

Whoever asks for much at once, or takes it slowly, would otherwise end the server for everybody.
"""

import contextlib
import ctypes
import os

from moonpool.errors import Overloaded

SHARE = 4  # the server takes at most one part in so many of the machine's memory
LEAST = 1 << 30  # bytes, however small the machine is
# Of mallopt(3). By itself glibc takes ever larger blocks from its heaps once blocks of that size were freed, and keeps
# heaps for each thread: after many megabytes at once hundreds of them would stay with the server.
MALLOC_SETTINGS = (
    (-3, 512 << 10),  # M_MMAP_THRESHOLD: bytes from which on a block has pages of its own, which go when it is freed
    (-1, 4 << 20),  # M_TRIM_THRESHOLD: bytes that may lie free at the end of a heap
    (-8, 2),  # M_ARENA_MAX: heaps
)
PAGE = os.sysconf("SC_PAGE_SIZE")  # bytes
LIMIT = max(LEAST, os.sysconf("SC_PHYS_PAGES") * PAGE // SHARE)  # bytes


def ensure_room() -> None:
    """Before another piece of something large is taken into memory, some microseconds. Overloaded."""
    if resident() > LIMIT:
        raise Overloaded


def return_freed_memory() -> None:
    """From now on the machine has back what was taken for something large, as soon as that is gone. Another C library
    than glibc is left as it is."""
    with contextlib.suppress(AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in MALLOC_SETTINGS:
            mallopt(option, value)


def resident() -> int:
    """Bytes of memory that this process has."""
    with open("/proc/self/statm", "rb") as figures:
        return int(figures.read().split()[1]) * PAGE
