"""What builds say: kept in files, and followed live by any number of readers."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

CHUNK = 64 * 1024  # bytes
CUT = "\n(The log has reached its limit; what follows is not kept.)\n"


class BuildLog:
    """Of one build. Written by the build alone; ``close`` tells readers that nothing follows."""

    def __init__(self, path: Path, limit: int) -> None:
        self._path, self._limit = path, limit
        self._size = path.stat().st_size if path.exists() else 0
        self._changed = asyncio.Event()
        self.closed = False

    def write(self, text: str) -> None:
        """A small write to the page cache: cheap enough to be done where it happens."""
        if self._size >= self._limit:
            return
        data = text.encode(errors="replace")
        if self._size + len(data) > self._limit:
            data = data[: self._limit - self._size] + CUT.encode()
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, data)
        finally:
            os.close(descriptor)
        self._size += len(data)
        self._wake()

    def line(self, text: str) -> None:
        self.write(text.rstrip("\n") + "\n")

    def close(self) -> None:
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def follow(self) -> AsyncIterator[bytes]:
        """All of it from the start, then what is added, until it is closed."""
        at = 0
        while True:
            changed, closed = self._changed, self.closed
            async for data in read_from(self._path, at):
                at += len(data)
                yield data
            if closed:
                return
            await changed.wait()


async def read_from(path: Path, offset: int = 0) -> AsyncIterator[bytes]:
    """What a log holds now."""
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(await asyncio.to_thread(open, path, "rb"))
        except FileNotFoundError:
            return
        file.seek(offset)
        while data := await asyncio.to_thread(file.read, CHUNK):
            yield data


class BuildLogs:
    """All of them, in one folder."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self._limit = folder, limit
        self._open: dict[str, BuildLog] = {}

    def prepare(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def open(self, build_id: str) -> BuildLog:
        """For the build itself; the one that readers follow meanwhile."""
        log = self._open.get(build_id)
        if log is None:
            log = self._open[build_id] = BuildLog(self._path(build_id), self._limit)
        return log

    def close(self, build_id: str) -> None:
        log = self._open.pop(build_id, None)
        if log is not None:
            log.close()

    async def read(self, build_id: str, *, follow: bool) -> AsyncIterator[bytes]:
        log = self._open.get(build_id)
        if log is None or not follow:
            async for data in read_from(self._path(build_id)):
                yield data
            return
        async for data in log.follow():
            yield data

    def remove(self, build_id: str) -> None:
        self._path(build_id).unlink(missing_ok=True)

    def _path(self, build_id: str) -> Path:
        return self._folder / f"{build_id}.log"
