"""A terminal in a sandbox, from inside a terminal."""

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import termios
from collections.abc import Callable

from tests.cli.program import Cli

Start = Callable[..., "subprocess.Popen[bytes]"]
CHUNK = 65536
PATIENCE = 60.0  # seconds without a sign, so that a wait in vain ends


def set_size(terminal: int, rows: int, columns: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def read_until(terminal: int, pattern: str) -> None:
    """Returns once what is shown has the pattern in it."""
    seen = ""
    while not re.search(pattern, seen):
        ready, _, _ = select.select([terminal], [], [], PATIENCE)
        assert ready, f"no {pattern!r} in {seen!r}"
        seen += os.read(terminal, CHUNK).decode(errors="replace")


def test_commands_and_sizes(box: str, start: Start, terminal: tuple[int, int]) -> None:
    ours, theirs = terminal
    set_size(ours, 33, 101)
    shell = start("sandbox", "shell", box, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    read_until(ours, r"\$ \x07?$")
    os.write(ours, b"echo $((6*7)) $(stty size)\r")
    read_until(ours, r"\b42 33 101\r")

    set_size(ours, 40, 120)
    shell.send_signal(signal.SIGWINCH)
    os.write(ours, b"until [ \"$(stty size)\" = '40 120' ]; do sleep 0.1; done; echo now ''resized\r")
    read_until(ours, r"\bnow resized\r")


def test_without_a_terminal(cli: Cli, box: str) -> None:
    assert "needs a terminal" in cli.refused("sandbox", "shell", box)


def test_of_an_unknown_sandbox(cli: Cli) -> None:
    assert "not found" in cli.refused("sandbox", "shell", "nobody")
