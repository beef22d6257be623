"""Reading ahead: the first files of a disk reach the kernel's cache, and nothing that an image has can hold it up."""

import ctypes
import mmap
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from moonpool.hosts.readahead import ReadAhead

PAGES = 64
PATIENCE = 60.0  # seconds
libc = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def root() -> Iterator[Path]:
    """A disk's root folder on a real disk: a file system in memory has nothing to read ahead."""
    with tempfile.TemporaryDirectory(prefix="moonpool-readahead-", dir="/var/tmp") as folder:
        (Path(folder) / "usr/bin").mkdir(parents=True)
        (Path(folder) / "etc").mkdir()
        yield Path(folder)


def forgotten(path: Path) -> None:
    """A file whose pages are on the disk alone."""
    path.write_bytes(os.urandom(PAGES * mmap.PAGESIZE))
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def cached_pages(path: Path) -> int:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as mapped:
        address = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
        resident = (ctypes.c_ubyte * PAGES)()
        assert libc.mincore(ctypes.c_void_p(address), ctypes.c_size_t(len(mapped)), resident) == 0
        return sum(page & 1 for page in resident)


def test_the_shell_is_in_the_cache_before_it_is_read(root: Path) -> None:
    shell, other = root / "usr/bin/bash", root / "usr/bin/other"
    for path in (shell, other):
        forgotten(path)
        assert cached_pages(path) == 0
    ReadAhead().of("image", root)
    deadline = time.monotonic() + PATIENCE
    while cached_pages(shell) < PAGES:
        assert time.monotonic() < deadline
        time.sleep(0.01)  # The kernel reads in its own time, and tells nobody.
    assert cached_pages(other) == 0


def test_pipes_links_and_missing_files_hold_nothing_up(root: Path) -> None:
    ahead = ReadAhead()
    os.mkfifo(root / "usr/bin/bash")
    (root / "usr/bin/dash").symlink_to(root / "usr/bin/bash")
    (root / "etc/passwd").write_text("root:x:0:0\n")
    ahead.of("image", root)
    (root / "etc/passwd").unlink()
    ahead.of("image", root)
