"""Ctrl-C, Ctrl-Z and Ctrl-\\ typed into a terminal, helped where gVisor's terminals fall behind Linux's.

A line that nobody has read holds back all that is typed after it, Ctrl-C too; Linux throws such a line away. And a
shell takes tens of milliseconds to start a program: a Ctrl-C that comes meanwhile ends nothing, and the program then
takes the terminal away from the shell's next prompt. On Linux that moment is too short to be met.
"""

import asyncio
import contextlib
import os
import re
import termios
from collections.abc import Callable

INTERRUPTS = (termios.VINTR, termios.VQUIT, termios.VSUSP)
SHELLS = frozenset({b"ash", b"bash", b"dash", b"fish", b"ksh", b"mksh", b"sh", b"zsh"})
NOTHING_STARTED, NOT_YET_ITSELF = 0.1, 0.5  # seconds, the longest that an interrupt waits for a shell
LOOK = 0.005  # seconds from one look at the shell to the next
READ = 64 << 10  # bytes
READS = 64  # more than a terminal holds


def takes_lines(master: int) -> bool:
    """Whether the terminal gathers lines, as it does for most programs, but not at a shell's prompt."""
    return bool(termios.tcgetattr(master)[3] & termios.ICANON)


def next_piece(master: int, data: bytes, start: int) -> tuple[int, bool]:
    """Where the piece ends that may be typed at once, and whether it ends with characters that interrupt a program."""
    attributes = termios.tcgetattr(master)
    flags, characters = attributes[3], attributes[6]
    meant = b"".join(characters[name] for name in INTERRUPTS if characters[name] != b"\0")
    if not meant or not flags & termios.ISIG or not flags & termios.ICANON:
        return len(data), False
    found = re.compile(b"[" + re.escape(meant) + b"]+").search(data, start)
    return (found.end(), True) if found else (len(data), False)


async def until_started(waiting: Callable[[], bool], leader: int) -> None:
    """Wait while the shell that leads the terminal's session is just starting a program, and `waiting` holds."""
    if _read(f"/proc/{leader}/comm").strip() not in SHELLS:
        return
    loop = asyncio.get_running_loop()
    began = loop.time()
    while waiting():
        youngest = max(map(int, _read(f"/proc/{leader}/task/{leader}/children").split()), default=None)
        if youngest is not None and _program(youngest) != _program(leader):
            return
        await asyncio.sleep(LOOK)
        if loop.time() - began > (NOTHING_STARTED if youngest is None else NOT_YET_ITSELF):
            return


def _program(pid: int) -> bytes:
    return _read(f"/proc/{pid}/cmdline")


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def discard_unread(terminal: str) -> None:
    """Read away the lines that no program has read, which lets through what was typed after them."""
    with contextlib.suppress(OSError):  # nothing more is there, or the terminal is gone
        descriptor = os.open(terminal, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            for _ in range(READS):
                if not os.read(descriptor, READ):
                    break
        finally:
            os.close(descriptor)
