"""A folder as a zip archive that is made while it is sent: nothing of it is kept but the list of its entries."""

import contextlib
import errno
import os
import stat
import time
import zipfile
from collections.abc import Generator, Iterator
from functools import partial
from typing import Any

from ..protocol import CHUNK, EVENT, Stream, encode
from . import search
from .errors import AgentError
from .files import MAX_DEPTH, MODE_BITS, Files
from .request import Request, check_path
from .watch import MAX_EXCLUDES
from .workers import Stop, Workers

MAX_ENTRIES = 100_000
LEVEL = 1  # of zlib: twice as fast as its own default, and a few percent larger
EARLIEST, LATEST = (1980, 1, 1, 0, 0, 0), (2107, 12, 31, 23, 59, 58)  # that an archive can say


class Archives:
    def __init__(self, files: Files, workers: Workers) -> None:
        self._files, self._workers = files, workers

    async def archive(self, stream: Stream, request: Request) -> dict[str, Any]:
        """What is known of the folder, then the archive. What the user may not read is left out, and counted."""
        user = self._files.user(request)
        path = check_path(user.resolve(request.path("path")))
        archive = Archive(path, request.texts("excludes")[:MAX_EXCLUDES])
        pieces = archive.pieces()
        try:
            info = await self._workers.call(user, partial(self._begin, path))
            stream.connection.send_message(EVENT, stream.number, encode(info))
            while piece := await self._workers.call(user, partial(next, pieces, b""), archive.stop):
                await stream.send_data(piece)
            return {"entries": archive.entries, "left_out": archive.left_out}
        finally:
            pieces.close()

    def _begin(self, path: str) -> dict[str, Any]:
        os.scandir(path).close()
        return self._files.describe(path, follow=True)


class Archive:
    """`entries` are in it; `left_out` could not be read, and may be there in part."""

    def __init__(self, path: str, excludes: list[str]) -> None:
        self.entries = self.left_out = 0
        self.stop = Stop()
        self._path, self._excludes = path.rstrip("/") or "/", excludes

    def pieces(self) -> Generator[bytes, None, None]:
        """Of some CHUNK bytes each."""
        sink = Sink()
        with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=LEVEL) as archive:
            for entry in self._below(self._path, 1):
                try:
                    for _ in self._add(archive, entry):
                        if sink.size >= CHUNK:
                            yield sink.take()
                except OSError:
                    self.left_out += 1
                if self.entries > MAX_ENTRIES:
                    raise AgentError("too_large", f"more than {MAX_ENTRIES} entries below {self._path}")
        yield sink.take()

    def _below(self, folder: str, depth: int) -> Iterator[os.DirEntry[str]]:
        """A folder before what is in it; links are not followed."""
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError:
            self.left_out += 1
            return
        for entry in entries:
            if self.stop.wanted:
                return
            if any(search.matches(entry.path, self._path, pattern) for pattern in self._excludes):
                continue
            yield entry
            if depth < MAX_DEPTH and entry.is_dir(follow_symlinks=False):
                yield from self._below(entry.path, depth + 1)

    def _add(self, archive: zipfile.ZipFile, entry: os.DirEntry[str]) -> Iterator[None]:
        """Stops now and then, so that what has been written can be taken away."""
        found = entry.stat(follow_symlinks=False)
        name = entry.path[len(self._path.rstrip("/")) + 1 :]
        if stat.S_ISDIR(found.st_mode):
            archive.writestr(_header(f"{name}/", found), b"")
        elif stat.S_ISLNK(found.st_mode):
            archive.writestr(_header(name, found), os.fsencode(os.readlink(entry.path)))
        elif stat.S_ISREG(found.st_mode):
            yield from _add_file(archive, entry.path, _header(name, found))
        else:
            return
        self.entries += 1
        yield


def _add_file(archive: zipfile.ZipFile, path: str, header: zipfile.ZipInfo) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(descriptor, "rb", buffering=0) as source:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a file any more", path)
        with archive.open(header, "w", force_zip64=True) as target:
            while data := source.read(CHUNK):
                target.write(data)
                yield


def _header(name: str, found: os.stat_result) -> zipfile.ZipInfo:
    modified = EARLIEST
    with contextlib.suppress(OverflowError, ValueError, OSError):
        modified = min(max(time.gmtime(found.st_mtime)[:6], EARLIEST), LATEST)
    header = zipfile.ZipInfo(os.fsencode(name).decode(errors="replace"), modified)
    header.external_attr = (stat.S_IFMT(found.st_mode) | found.st_mode & MODE_BITS) << 16
    header.compress_type = zipfile.ZIP_DEFLATED
    return header


class Sink:
    """What an archive is written to; it cannot go back."""

    def __init__(self) -> None:
        self.size = 0
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is kept back."""

    def close(self) -> None:
        """What is there can still be taken."""

    def take(self) -> bytes:
        pieces, self._pieces, self.size = self._pieces, [], 0
        return b"".join(pieces)
