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
from subprocess import PIPE

from tests.cli.program import Cli
from tests.servers import Server

Start = Callable[..., "subprocess.Popen[bytes]"]
CHUNK = 65536
PROMPT = r"\$ \x07?$"
PATIENCE = 60.0  # seconds without a sign, so that a wait in vain ends


def set_size(terminal: int, rows: int, columns: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def read_until(terminal: int, pattern: str) -> str:
    """What is shown, once it has the pattern in it."""
    seen = ""
    while not re.search(pattern, seen):
        ready, _, _ = select.select([terminal], [], [], PATIENCE)
        assert ready, f"no {pattern!r} in {seen!r}"
        seen += os.read(terminal, CHUNK).decode(errors="replace")
    return seen


def test_commands_and_sizes(box: str, start: Start, terminal: tuple[int, int]) -> None:
    ours, theirs = terminal
    set_size(ours, 33, 101)
    shell = start("sandbox", "shell", box, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    read_until(ours, PROMPT)
    os.write(ours, b"echo $((6*7)) $(stty size)\r")
    read_until(ours, r"\b42 33 101\r")

    set_size(ours, 40, 120)
    shell.send_signal(signal.SIGWINCH)
    os.write(ours, b"until [ \"$(stty size)\" = '40 120' ]; do sleep 0.1; done; echo now ''resized\r")
    read_until(ours, r"\bnow resized\r")


def test_interrupts_and_the_exit_code(box: str, start: Start, terminal: tuple[int, int]) -> None:
    ours, theirs = terminal
    before = termios.tcgetattr(theirs)
    shell = start("sandbox", "shell", box, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    read_until(ours, PROMPT)
    os.write(ours, b"echo wait''ing; sleep 1000\r")
    read_until(ours, r"\bwaiting\r")
    os.write(ours, b"\x03")  # Before the sleep has begun: it ends nevertheless, and the shell does not.
    read_until(ours, PROMPT)

    os.write(ours, b"echo wait''ing; sleep 1000\r")
    read_until(ours, r"\bwaiting\r")
    os.write(ours, b"echo never ''run\r")
    read_until(ours, r"never ''run\r\n")
    os.write(ours, b"\x03")  # A line that nobody reads does not hold it back, and is forgotten.
    assert "never run" not in read_until(ours, PROMPT)

    os.write(ours, b"exit 5\r")
    assert shell.wait(PATIENCE) == 5
    assert termios.tcgetattr(theirs) == before


def test_of_a_sandbox_that_is_removed(cli: Cli, start: Start, terminal: tuple[int, int]) -> None:
    ours, theirs = terminal
    box = cli("sandbox", "run").stdout.strip()
    before = termios.tcgetattr(theirs)
    shell = start("sandbox", "shell", box, stdin=theirs, stdout=theirs, stderr=PIPE, start_new_session=True)
    read_until(ours, PROMPT)
    cli("sandbox", "rm", box)
    assert_lost(shell, theirs, before)


def test_of_a_server_that_is_killed(server: Server, box: str, start: Start, terminal: tuple[int, int]) -> None:
    ours, theirs = terminal
    before = termios.tcgetattr(theirs)
    shell = start("sandbox", "shell", box, stdin=theirs, stdout=theirs, stderr=PIPE, start_new_session=True)
    read_until(ours, PROMPT)
    server.kill()
    try:
        assert_lost(shell, theirs, before)
    finally:
        server.start_again()


def test_of_a_terminal_that_is_closed(box: str, start: Start) -> None:
    ours, theirs = os.openpty()
    shell = start("sandbox", "shell", box, stdin=theirs, stdout=PIPE, stderr=PIPE, start_new_session=True)
    os.close(theirs)
    assert shell.stdout is not None
    assert shell.stderr is not None
    read_until(shell.stdout.fileno(), PROMPT)
    os.close(ours)
    assert shell.wait(PATIENCE) == 1
    said = shell.stderr.read()
    assert b"the terminal was closed" in said
    assert b"Traceback" not in said


def assert_lost(shell: "subprocess.Popen[bytes]", terminal: int, before: list[object]) -> None:
    """It has ended with a sentence, and left the terminal as it was."""
    assert shell.wait(PATIENCE) == 1
    assert shell.stderr is not None
    said = shell.stderr.read().decode()
    assert "connection" in said
    assert "Traceback" not in said
    assert termios.tcgetattr(terminal) == before


def test_without_a_terminal(cli: Cli, box: str) -> None:
    assert "needs a terminal" in cli.refused("sandbox", "shell", box)


def test_of_an_unknown_sandbox(cli: Cli) -> None:
    assert "not found" in cli.refused("sandbox", "shell", "nobody")
