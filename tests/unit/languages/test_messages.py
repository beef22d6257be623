"""Frames of the Language Server Protocol, however they are cut."""

import json

import pytest

from moonpool.languages.messages import MESSAGE_LIMIT, Frames, framed


def body_of(message: bytes) -> object:
    return json.loads(message.partition(b"\r\n\r\n")[2])


def test_a_message_says_its_length_in_bytes() -> None:
    message = framed({"method": "x", "params": {"text": "ü"}})
    assert body_of(message) == {"jsonrpc": "2.0", "method": "x", "params": {"text": "ü"}}
    assert message.startswith(b"Content-Length: %d\r\n\r\n" % len(message.partition(b"\r\n\r\n")[2]))


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_any_cut(size: int) -> None:
    data = framed({"id": 1}) + framed({"id": 2, "result": "Content-Length: 5"}) + framed({"id": 3})
    frames = Frames()
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    assert [message["id"] for piece in pieces for message in frames.feed(piece)] == [1, 2, 3]


def test_further_headers_are_passed_over() -> None:
    data = b'Content-Length: 8\r\nContent-Type: application/vscode-jsonrpc\r\n\r\n{"id":1}'
    assert list(Frames().feed(data)) == [{"id": 1}]


@pytest.mark.parametrize(
    "rubbish",
    [
        b'"}]}}',
        b"a word on standard output\n",
        b"Content-Length: many\r\n\r\n{}",
        b"Content-Length: %d\r\n\r\n" % (MESSAGE_LIMIT + 1),
        b"Content-Length: 3\r\n\r\n{]}",
        b"Content-Length: 2\r\n\r\n[]",
    ],
)
def test_what_is_no_message_is_passed_over(rubbish: bytes) -> None:
    assert list(Frames().feed(rubbish + framed({"id": 9}))) == [{"jsonrpc": "2.0", "id": 9}]


def test_what_is_no_message_is_not_kept() -> None:
    frames = Frames()
    for _ in range(100):
        assert list(frames.feed(b"x" * 10_000)) == []
    assert list(frames.feed(framed({"id": 1}))) == [{"jsonrpc": "2.0", "id": 1}]
