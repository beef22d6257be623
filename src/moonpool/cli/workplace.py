"""Where a benchmark works: a folder of its own, of which nothing is left, not even of one that was killed."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from moonpool.cli.client import CommandFailed
from moonpool.cli.settings import WRONG_USE, data_lock

FOLDER = Path("/var/tmp")  # noqa: S108 - on a disk, where /tmp may be memory; only folders of one's own are used
PREFIX = "moonpool-bench-"
MARK = "benchmark"  # a file in each such folder: what is in it may be ended and removed


@contextlib.contextmanager
def workplace(data: Path | None) -> Iterator[Path]:
    """``data``, or a temporary folder; CommandFailed where that is somebody else's. What killed benchmarks have left in
    it, and in other temporary ones, is ended first."""
    _clear_temporary()
    with contextlib.ExitStack() as stack:
        folder = data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=PREFIX, dir=FOLDER)))
        folder = folder.resolve()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _held(folder) as free:
            if not free:
                raise CommandFailed(f"Another benchmark works in {folder}, or it is another user's.")
            if (folder / MARK).exists():
                _end(folder)
            elif any(folder.iterdir()):
                raise CommandFailed(f"{folder} is not empty; a benchmark wants a folder of its own.", WRONG_USE)
            (folder / MARK).touch()
            yield folder


def _clear_temporary() -> None:
    for folder in FOLDER.glob(f"{PREFIX}*"):
        with contextlib.suppress(FileNotFoundError), _held(folder) as free:
            if free and (folder / MARK).exists():
                _end(folder)
                shutil.rmtree(folder)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[bool]:
    """Whether it is free, and this process's for the block. What is not this user's own folder is not: anybody may put
    one into a temporary folder."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except NotADirectoryError:  # a symbolic link, too
        yield False
        return
    try:
        yield os.fstat(descriptor).st_uid == os.geteuid() and _locked(descriptor)
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _end(folder: Path) -> None:
    """Ends what runs on it. CommandFailed while the killed benchmark's server has not ended yet."""
    if not any((folder / name).exists() for name in ("pool", "pool.img")):
        return  # It had not come to that.
    import asyncio

    from moonpool.bench.host import opened

    async def open_and_close() -> None:
        async with opened(folder, warm_pool=0):
            pass

    with data_lock(folder, "clears up"):
        asyncio.run(open_and_close())
