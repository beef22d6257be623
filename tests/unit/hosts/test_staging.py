"""Files of a sandbox's disk that are read from outside: only the very file that the agent was allowed to read."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from moonpool.guest.streams import LARGE, Lent, StagingWriter
from moonpool.hosts.staging import Staging
from moonpool.hosts.threads import Threads

CONTENT = os.urandom(3 << 20)


@pytest.fixture
def threads() -> Iterator[Threads]:
    threads = Threads(2)
    yield threads
    threads.close()


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    (tmp_path / "disk/home").mkdir(parents=True)
    (tmp_path / "disk/home/big").write_bytes(CONTENT)
    (tmp_path / "secret").write_bytes(CONTENT)
    return tmp_path / "disk"


def lent(disk: Path, path: str = "/home/big") -> Lent:
    found = os.stat(disk / "home/big")
    return Lent(path, 7, len(CONTENT) - 10, found.st_size, (found.st_uid, found.st_gid, found.st_mode))


async def test_the_bytes_that_are_wanted(disk: Path, threads: Threads) -> None:
    wanted = lent(disk)
    file = Staging(disk, threads).lent(wanted)
    assert await file.open()
    (disk / "home/big").unlink()  # Who has opened it has it.
    assert b"".join([piece async for piece in file.pieces(wanted.offset, wanted.length)]) == CONTENT[7:-3]
    assert b"".join([piece async for piece in file.pieces(len(CONTENT) - 1, 1 << 30)]) == CONTENT[-1:]
    await file.close()


async def test_pieces_are_laid_in_order_whatever_they_are(disk: Path, threads: Threads) -> None:
    """More at once than Linux takes, empty ones, and one that is large."""
    file = Staging(disk, threads).new()
    await file.write([CONTENT[place : place + 1] for place in range(3000)] + [b""])
    await file.write([b"", CONTENT[3000:]])
    await file.write([])
    await file.finish()
    assert (disk / file.name).read_bytes() == CONTENT
    await file.discard()
    assert not (disk / file.name).exists()


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize(
    "sizes",
    [
        [700_000] * 12,
        [0, LARGE - 1, 0, 1],
        [3 * LARGE],
        [65_536] * 100 + [0, 5],
        [LARGE - 1],
        [],
    ],
)
async def test_what_is_large_is_laid_outside_without_loss(
    disk: Path, threads: Threads, sizes: list[int], announced: bool
) -> None:
    pieces = [bytes([number % 251]) * size for number, size in enumerate(sizes)]
    writer = StagingWriter(Staging(disk, threads), sum(sizes) if announced else None)
    for piece in pieces:
        await writer.write(piece)
    await writer.finish()
    assert writer.written == sum(sizes)
    assert (writer.staged is not None) is (sum(sizes) >= LARGE)
    if writer.staged is None:
        assert b"".join(writer.waiting) == b"".join(pieces)
    else:
        assert (disk / writer.staged.name).read_bytes() == b"".join(pieces)
        await writer.staged.discard()


@pytest.mark.parametrize(
    "path", ["/home/../../secret", "/link", "/out/secret", "/home", "/", "/gone", "/home/big\0", "/pipe"]
)
async def test_nothing_else_is_opened(disk: Path, threads: Threads, path: str) -> None:
    (disk / "link").symlink_to("../secret")
    (disk / "out").symlink_to("..")
    os.mkfifo(disk / "pipe")
    file = Staging(disk, threads).lent(lent(disk, path))
    assert not await file.open()
    await file.close()


@pytest.mark.parametrize("change", [{"size": 1}, {"owner": (1, 0, 0o100644)}, {"owner": (0, 0, 0o100777)}], ids=str)
async def test_a_file_that_was_exchanged(disk: Path, threads: Threads, change: dict[str, object]) -> None:
    file = Staging(disk, threads).lent(replace(lent(disk), **change))  # type: ignore[arg-type]
    assert not await file.open()
    await file.close()


async def test_one_that_was_closed_is_not_opened_any_more(disk: Path, threads: Threads) -> None:
    file = Staging(disk, threads).lent(lent(disk))
    await file.close()  # As by a caller who left before a thread had come to it.
    assert not await file.open()
