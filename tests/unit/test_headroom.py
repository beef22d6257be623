"""The server's own memory has a limit, at which large things are refused and small ones are not."""

import subprocess
import sys

import pytest
from starlette.requests import Request
from starlette.types import Message

from moonpool import headroom
from moonpool.dialects.common.bodies import MEBIBYTE, read_body
from moonpool.errors import Overloaded
from moonpool.headroom import ensure_room, resident

# Blocks of 12 MiB, as of uploads, with something small that stays above each. Before that one of 16 MiB has come and
# gone, from which glibc by itself learns to take such blocks from its heap.
GONE_AGAIN = """
import sys
from moonpool.headroom import resident, return_freed_memory

if sys.argv[1] == "set":
    return_freed_memory()
first = bytearray(16 << 20)
del first
before = resident()
kept, blocks = [], []
for _ in range(10):
    blocks.append(bytearray(12 << 20))
    kept.append(bytearray(8 << 10))
del blocks
print(resident() - before)
"""


def request_of(size: int) -> Request:
    pieces = iter([bytes(MEBIBYTE // 2)] * (size * 2 // MEBIBYTE))

    async def receive() -> Message:
        piece = next(pieces, None)
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    return Request({"type": "http", "method": "POST", "path": "/", "headers": []}, receive)


def test_memory_is_counted_as_it_grows() -> None:
    before = resident()
    block = bytearray(b"x") * (64 * MEBIBYTE)
    assert resident() - before > 32 * MEBIBYTE
    assert len(block) == 64 * MEBIBYTE
    ensure_room()


async def test_large_bodies_are_refused_where_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(await read_body(request_of(4 * MEBIBYTE), 8 * MEBIBYTE)) == 4 * MEBIBYTE
    monkeypatch.setattr(headroom, "LIMIT", 1)
    with pytest.raises(Overloaded):
        await read_body(request_of(4 * MEBIBYTE), 8 * MEBIBYTE)
    assert len(await read_body(request_of(MEBIBYTE), 8 * MEBIBYTE)) == MEBIBYTE


@pytest.mark.parametrize(("how", "given_back"), [("set", True), ("as it is", False)])
def test_freed_memory_is_given_back(how: str, given_back: bool) -> None:
    done = subprocess.run([sys.executable, "-c", GONE_AGAIN, how], check=True, capture_output=True, timeout=60)
    assert (int(done.stdout) < 12 * MEBIBYTE) is given_back
