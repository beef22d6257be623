"""Events of interpreters, in which code can write what it likes."""

import pytest

from moonpool.processes.interpreters import event_of


def test_an_event() -> None:
    assert event_of(b'{"type": "stdout", "text": "a"}') == {"type": "stdout", "text": "a"}


@pytest.mark.parametrize("line", [b"", b"7", b'{"type": ["stdout"]}', b'{"type": "other"}', b"[" * 100_000, b"\xff"])
def test_lines_that_are_none(line: bytes) -> None:
    assert event_of(line) == {}
