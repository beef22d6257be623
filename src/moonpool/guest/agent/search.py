"""Looking for files and for text in them. Patterns of text are literal: an expression could keep the agent busy for
ever, since Python's engine for them cannot be interrupted."""

import contextlib
import errno
import fnmatch
import io
import os
import stat
from collections.abc import Iterator
from typing import Any

from .upload import Upload
from .workers import Stop

BINARY_SAMPLE = 8 << 10  # bytes in which a NUL marks a file as binary
MAX_SEARCHED = 64 << 20  # bytes of a file that are searched or replaced in
MAX_FOUND = 4 << 20  # characters of matches that one search gives
MAX_LINE = 4 << 10  # characters of a matching line that are told


def glob(root: str, pattern: str, limit: int, stop: Stop) -> list[str]:
    """Paths below `root`: a pattern without a slash is matched with names, another with the path below `root`
    (``**`` stands for any number of folders)."""
    parts = pattern.strip("/").split("/")
    found: list[str] = []
    if not os.path.isdir(root):
        raise NotADirectoryError(errno.ENOTDIR, "not a directory", root)
    for folder, folders, files in os.walk(root):
        folders.sort()
        for name in sorted([*folders, *files]):
            if stop.wanted or len(found) >= limit:
                return found
            path = os.path.join(folder, name)
            if len(parts) == 1:
                matches = fnmatch.fnmatchcase(name, parts[0])
            else:
                matches = _match(os.path.relpath(path, root).split("/"), parts)
            if matches:
                found.append(path)
    return found


def matches(path: str, root: str, pattern: str) -> bool:
    """Whether a path below `root` matches a pattern as `glob` does, or, where that begins with a slash, as a whole."""
    parts = pattern.strip("/").split("/")
    if pattern.startswith("/"):
        return _match(path.strip("/").split("/"), parts)
    if len(parts) == 1:
        return fnmatch.fnmatchcase(os.path.basename(path), parts[0])
    return _match(path[len(root.rstrip("/")) + 1 :].split("/"), parts)


def _match(names: list[str], parts: list[str]) -> bool:
    """Match names with patterns; `reachable` holds the pattern positions possible after each name."""
    reachable = _skip({0}, parts)
    for name in names:
        following = set()
        for position in reachable:
            if position < len(parts):
                if parts[position] == "**":
                    following.add(position)
                elif fnmatch.fnmatchcase(name, parts[position]):
                    following.add(position + 1)
        reachable = _skip(following, parts)
    return len(parts) in reachable


def _skip(positions: set[int], parts: list[str]) -> set[int]:
    """``**`` may stand for nothing."""
    reached = set(positions)
    for position in sorted(positions):
        while position < len(parts) and parts[position] == "**":
            position += 1
            reached.add(position)
    return reached


def _text(path: str) -> bytes | None:
    """The content of a regular file; None when it is binary, too large or something else."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_SEARCHED:
            return None
        with open(descriptor, "rb", closefd=False) as file:
            start = file.read(BINARY_SAMPLE)
            return None if b"\0" in start else start + file.read(MAX_SEARCHED)
    finally:
        os.close(descriptor)


def grep(root: str, pattern: str, limit: int, stop: Stop) -> list[dict[str, Any]]:
    """Lines that contain `pattern`, in one file or in all below a folder."""
    wanted = os.fsencode(pattern)
    matches: list[dict[str, Any]] = []
    size = 0
    os.stat(root)
    for path in _files(root):
        with contextlib.suppress(OSError):
            content = _text(path)
            for match in _lines(path, content, wanted) if content is not None and wanted in content else ():
                size += len(path) + len(match["content"])
                if stop.wanted or len(matches) >= limit or size > MAX_FOUND:
                    return matches
                matches.append(match)
        if stop.wanted:
            break
    return matches


def _files(root: str) -> Iterator[str]:
    if not os.path.isdir(root):
        yield root
        return
    for folder, folders, files in os.walk(root):
        folders.sort()
        for name in sorted(files):
            yield os.path.join(folder, name)


def _lines(path: str, content: bytes, wanted: bytes) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(io.BytesIO(content), 1):
        if wanted in line:
            text = line[: 4 * MAX_LINE].decode(errors="replace").rstrip("\r\n")
            yield {"file": path, "line": number, "content": text[:MAX_LINE]}


def replace(paths: list[str], pattern: str, new: str, stop: Stop) -> list[dict[str, Any]]:
    """Put `new` in the place of every `pattern`; a file that cannot be changed does not keep the others from it."""
    results = []
    for path in paths:
        if stop.wanted:
            break
        try:
            content = _text(path)
            if content is None:
                raise OSError("not a text file")
            changed = content.replace(os.fsencode(pattern), os.fsencode(new))
            if changed != content:
                _write(path, changed)
            results.append({"file": path, "success": True, "error": None})
        except OSError as error:
            results.append({"file": path, "success": False, "error": error.strerror or str(error)})
    return results


def _write(path: str, content: bytes) -> None:
    upload = Upload(path)
    try:
        upload.write([content], last=True)
    finally:
        upload.abandon()
