"""Markers of streams in the Daytona API's ``output``."""

import pytest

from moonpool.dialects.daytona.toolbox.session_logs import marked
from moonpool.processes.model import LogChunk

OUT, ERR = b"\x01\x01\x01", b"\x02\x02\x02"


@pytest.mark.parametrize(
    ("chunks", "wanted"),
    [
        ((), b""),
        ((LogChunk("stdout", b"a\n\nb\n"),), OUT + b"a\n" + OUT + b"\n" + OUT + b"b\n"),
        ((LogChunk("stdout", b"a"), LogChunk("stdout", b"b\n"), LogChunk("stdout", b"c")), OUT + b"ab\n" + OUT + b"c"),
        (
            (LogChunk("stdout", b"a"), LogChunk("stderr", b"b"), LogChunk("stdout", b"c")),
            OUT + b"a" + ERR + b"b" + OUT + b"c",
        ),
        ((LogChunk("stderr", b"\n"), LogChunk("stderr", b"x")), ERR + b"\n" + ERR + b"x"),
    ],
)
def test_each_line_begins_with_its_streams_marker(chunks: tuple[LogChunk, ...], wanted: bytes) -> None:
    assert marked(chunks) == wanted
