"""Characters that interrupt: where they stand in what is typed, and what they throw away."""

import os
import termios
import tty
from collections.abc import Iterator

import pytest

from moonpool.guest.agent.interrupts import discard_unread, next_piece, takes_lines, until_started


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of a new pseudo-terminal: the agent's and the program's."""
    ends = os.openpty()
    yield ends
    for end in ends:
        os.close(end)


def pieces(master: int, data: bytes) -> list[tuple[bytes, bool]]:
    found, start = [], 0
    while start < len(data):
        end, interrupts = next_piece(master, data, start)
        found.append((data[start:end], interrupts))
        start = end
    return found


def test_cut_after_what_interrupts(terminal: tuple[int, int]) -> None:
    assert pieces(terminal[0], b"plain\r") == [(b"plain\r", False)]
    assert pieces(terminal[0], b"a\x03\x03b\r\x1a\x1cc") == [
        (b"a\x03\x03", True),
        (b"b\r\x1a\x1c", True),
        (b"c", False),
    ]


def test_other_characters_may_interrupt(terminal: tuple[int, int]) -> None:
    attributes = termios.tcgetattr(terminal[1])
    attributes[6][termios.VINTR], attributes[6][termios.VQUIT] = b"]", b"\0"  # the second is switched off
    termios.tcsetattr(terminal[1], termios.TCSANOW, attributes)
    assert pieces(terminal[0], b"\x03]\0z") == [(b"\x03]", True), (b"\0z", False)]


def test_nothing_interrupts_a_raw_terminal(terminal: tuple[int, int]) -> None:
    assert takes_lines(terminal[0])
    tty.setraw(terminal[1])
    assert not takes_lines(terminal[0])
    assert pieces(terminal[0], b"a\x03b") == [(b"a\x03b", False)]


def test_unread_lines_are_thrown_away(terminal: tuple[int, int]) -> None:
    os.write(terminal[0], b"one\ntwo\nbegun")
    discard_unread(os.ttyname(terminal[1]))
    os.write(terminal[0], b" and ended\n")
    assert os.read(terminal[1], 100) == b"begun and ended\n"


def test_a_terminal_that_is_gone() -> None:
    discard_unread("/dev/pts/nothing")


async def test_only_shells_are_waited_for() -> None:
    await until_started(lambda: pytest.fail("it was asked"), os.getpid())
