"""The memory of a process's output: what a live reader has not taken is never dropped."""

from moonpool.guest.agent.output import Output, Reader
from moonpool.guest.agent.process import READ


def test_live_reader_that_lags_as_far_as_allowed_loses_nothing() -> None:
    output = Output(0, lambda: None)
    reader = Reader(output, replay=True)
    written = bytearray()
    for number in range(50):
        piece = bytes([number]) * (READ - number)
        while not output.congested():  # The process is held back from here on, after at most one more read.
            output.append(0, piece)
            written += piece
        output.append(1, piece)
        written += piece
        taken = bytearray()
        while reader.behind:
            taken += reader.take(READ)[1]
        assert taken == written
        assert reader.dropped == 0
        written.clear()
