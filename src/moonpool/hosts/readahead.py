"""Telling the kernel beforehand what a new sandbox will read first.

The kernel's cache goes by file, and a new subvolume's files are new to it: the first command's shell and libraries come
from the disk, page by page, while it waits. Asked for all at once, they come while the sandbox is being set up.
"""

import contextlib
import os
import stat
from pathlib import Path

FIRST_READ = (
    "usr/bin/bash",
    "usr/bin/dash",
    "bin/busybox",
    "usr/lib/*/libc.so.6",
    "usr/lib/*/libtinfo.so.6",
    "usr/lib/*/ld-linux*",
    "lib/ld-musl-*",
    "etc/passwd",
    "etc/group",
)
REMEMBERED = 256  # images
FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # an image may have anything in these places


class ReadAhead:
    """Which of those files an image has is looked up once."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[Path, ...]] = {}

    def of(self, image: str, root: Path) -> None:
        """For a disk made from ``image``. Only a hint: what cannot be opened is left out."""
        if image not in self._found:
            if len(self._found) >= REMEMBERED:
                self._found.clear()
            self._found[image] = tuple(path.relative_to(root) for pattern in FIRST_READ for path in root.glob(pattern))
        for path in self._found[image]:
            with contextlib.suppress(OSError):
                _hint(root / path)


def _hint(path: Path) -> None:
    descriptor = os.open(path, FLAGS)
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_WILLNEED)
    finally:
        os.close(descriptor)
