"""JSON with a lot of text in it: made piece by piece while it is sent, so that nobody else waits for that, and nothing
is held several times over."""

import asyncio
import codecs
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from starlette.responses import Response, StreamingResponse

BULK = 1 << 20  # bytes or characters from which on it is made in pieces
PIECE = 128 << 10
MANY = 500  # documents of a list that are made at once
MEDIA_TYPE = "application/json"
Item = TypeVar("Item")


def json_answer(document: Mapping[str, object], status: int = 200) -> Response:
    """``bytes`` are told as text; what is no UTF-8, or no valid Unicode, becomes a replacement."""
    if sum(len(value) for value in document.values() if isinstance(value, str | bytes)) > BULK:
        return StreamingResponse(_pieces(document), status, media_type=MEDIA_TYPE)
    plain = {
        name: value.decode(errors="replace") if isinstance(value, bytes) else value for name, value in document.items()
    }
    return Response(_encoded(plain), status, media_type=MEDIA_TYPE)


def json_list(items: Sequence[Item], make: Callable[[Item], object], name: str | None = None) -> Response:
    """What ``make`` gives for each item, when it is its turn. With a ``name`` the list is that member of an object."""
    before, after = (b"", b"") if name is None else (b"{" + _encoded(name) + b":", b"}")
    if len(items) > MANY:
        return StreamingResponse(_parts(items, make, before, after), media_type=MEDIA_TYPE)
    return Response(before + _encoded([make(item) for item in items]) + after, media_type=MEDIA_TYPE)


async def _parts(
    items: Sequence[Item], make: Callable[[Item], object], before: bytes, after: bytes
) -> AsyncIterator[bytes]:
    for start in range(0, len(items), MANY):
        some = _encoded([make(item) for item in items[start : start + MANY]])
        yield (b"," if start else before + b"[") + some[1:-1]
        await asyncio.sleep(0)
    yield b"]" + after


async def _pieces(document: Mapping[str, object]) -> AsyncIterator[bytes]:
    separator = b"{"
    for name, value in document.items():
        yield separator + _encoded(name) + b":"
        separator = b","
        if isinstance(value, str | bytes):
            yield b'"'
            for text in _texts(value):
                yield _encoded(text)[1:-1]
                await asyncio.sleep(0)
            yield b'"'
        else:
            yield _encoded(value)
    yield b"}"


def _texts(value: str | bytes) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for start in range(0, len(value), PIECE):
        piece = value[start : start + PIECE]
        yield piece if isinstance(piece, str) else decoder.decode(piece)
    yield decoder.decode(b"", final=True)


def _encoded(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
