"""Outputs put together in the order in which they were written."""

from collections.abc import Sequence

import pytest

from moonpool.guest.model import GrowthRound
from moonpool.processes import interleaving
from moonpool.processes.interleaving import Outputs

OUT, ERR = 0, 1


def interleaved(outputs: Outputs, starts: Sequence[int], noted: Sequence[GrowthRound]) -> bytes:
    return b"".join(data for _, data in interleaving.interleaved(outputs, starts, noted))


def rounds(*each: tuple[tuple[int, ...], tuple[int, int]]) -> list[GrowthRound]:
    return [GrowthRound(order, grown) for order, grown in each]


def test_rounds_of_one_output_each() -> None:
    noted = rounds(((ERR,), (0, 2)), ((OUT,), (3, 0)), ((ERR,), (0, 2)))
    assert interleaved((b"out", b"e1e2"), (0, 0), noted) == b"e1oute2"


def test_lines_that_alternate_within_a_round() -> None:
    noted = rounds(((OUT, ERR, OUT), (4, 2)))
    assert interleaved((b"a\nc\n", b"b\n"), (0, 0), noted) == b"a\nb\nc\n"


def test_more_lines_than_turns_stay_together_at_the_last_turn() -> None:
    noted = rounds(((OUT, ERR, OUT), (6, 2)))
    assert interleaved((b"a\nc\nd\n", b"b\n"), (0, 0), noted) == b"a\nb\nc\nd\n"


def test_fewer_lines_than_turns_lose_nothing() -> None:
    noted = rounds(((ERR, OUT, ERR, OUT), (2, 3)))
    assert interleaved((b"ac", b"b\nd"), (0, 0), noted) == b"b\nacd"


def test_what_nobody_noted_comes_last() -> None:
    assert interleaved((b"out", b"err"), (0, 0), []) == b"outerr"
    assert interleaved((b"out", b"error"), (0, 0), rounds(((ERR,), (0, 3)))) == b"errout" + b"or"


def test_rounds_beyond_what_was_read() -> None:
    assert interleaved((b"ou", b""), (0, 0), rounds(((OUT,), (2, 0)), ((ERR, OUT), (5, 7)))) == b"ou"


def test_outputs_without_their_beginning() -> None:
    noted = rounds(((OUT,), (6, 0)), ((ERR,), (0, 4)), ((OUT,), (2, 0)))
    assert interleaved((b"f67", b"err"), (5, 1), noted) == b"f" + b"err" + b"67"


@pytest.mark.parametrize("starts", [(0, 0), (1, 3), (4, 2)])
def test_every_byte_comes_once(starts: tuple[int, int]) -> None:
    whole = (b"a1\na2\nxxxxa3\n", b"b1\nb2b3\n")
    noted = rounds(((OUT, ERR, OUT, ERR), (6, 5)), ((ERR, OUT), (3, 2)))
    ends = tuple(data[start:] for data, start in zip(whole, starts, strict=True))
    assert sorted(interleaved(ends, starts, noted)) == sorted(b"".join(ends))


def test_pieces_say_whose_they_are() -> None:
    noted = rounds(((OUT, ERR), (2, 2)))
    assert list(interleaving.interleaved((b"a\nc", b"b\n"), (0, 0), noted)) == [
        (OUT, b"a\n"),
        (ERR, b"b\n"),
        (OUT, b"c"),
    ]
