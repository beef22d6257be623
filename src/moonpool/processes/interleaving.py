"""A command's outputs put together in the order in which they were written."""

from collections.abc import Iterator, Sequence

from moonpool.guest.model import GrowthRound

Outputs = Sequence[bytes]


def interleaved(outputs: Outputs, starts: Sequence[int], rounds: Sequence[GrowthRound]) -> Iterator[tuple[int, bytes]]:
    """Pieces with the index of their output. ``outputs`` are the ends of files of which ``starts`` bytes each are left
    out. What no round speaks of comes last, one output after the other."""
    places = [-start for start in starts]
    for one in rounds:
        fresh = []
        for index, count in enumerate(one.grown):
            fresh.append(outputs[index][max(0, places[index]) : max(0, places[index] + count)])
            places[index] += count
        yield from spread(fresh, one.order)
    for index, (output, place) in enumerate(zip(outputs, places, strict=True)):
        if rest := output[max(0, place) :]:
            yield index, rest


def spread(fresh: Outputs, order: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """What was written in one round, with the index of its output. A file's turn takes a line, its last turn the rest:
    programs write lines."""
    turns = [order.count(index) for index in range(len(fresh))]
    lines = [_lines(data, count) for data, count in zip(fresh, turns, strict=True)]
    for index in order:
        if data := next(lines[index], b""):
            yield index, data
    for index, rest in enumerate(lines):
        for data in rest:
            if data:
                yield index, data


def _lines(data: bytes, turns: int) -> Iterator[bytes]:
    start = 0
    for _ in range(turns - 1):
        end = data.find(b"\n", start) + 1
        if not end:
            break
        yield data[start:end]
        start = end
    yield data[start:]
