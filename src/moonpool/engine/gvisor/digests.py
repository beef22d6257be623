"""sha256 of a checkpoint's files, without reading again what is known.

A gibibyte takes a processor most of a second, as long as the restore that waits for it.
"""

import ctypes
import hashlib
import mmap
import os
from collections import OrderedDict
from pathlib import Path
from typing import BinaryIO, TypeAlias

REMEMBERED = 4096  # files
RESIDENT = bytes(number & 1 for number in range(256))  # the other bits of what mincore(2) tells are reserved

Version: TypeAlias = tuple[int, int, int, int]

_libc = ctypes.CDLL(None)
_libc.mmap.restype = ctypes.c_void_p
FAILED = ctypes.c_void_p(-1).value  # mmap(2)'s answer then


class Digests:
    """Of files that are written once.

    One is known as long as nobody has written to it since this process read it (the same inode, size and time of
    change) and all of its pages are in the machine's memory: whoever reads it then gets them. What a power cut did is
    seen, since this process knows nothing after it. What a disk gave wrongly to somebody who read the whole file in
    between is not.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[Version, str] = OrderedDict()

    def of(self, path: Path) -> str:
        """Blocking; hexadecimal. Raises OSError."""
        with path.open("rb") as file:
            version = _version(file)
            known = self._known.get(version)
            if known is not None and _is_in_memory(file, version[2]):
                return known
            value = hashlib.file_digest(file, "sha256").hexdigest()
            if _version(file) == version:
                self._known[version] = value
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return value


def sha256(path: Path) -> str:
    """Blocking; hexadecimal. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _version(file: BinaryIO) -> Version:
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _is_in_memory(file: BinaryIO, size: int) -> bool:
    """Whether all of it is in the page cache."""
    if size == 0:
        return True
    length = ctypes.c_size_t(size)
    address = _libc.mmap(None, length, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), ctypes.c_long(0))
    if address == FAILED:
        return False
    try:
        pages = ctypes.create_string_buffer(-(-size // mmap.PAGESIZE))
        failed = _libc.mincore(ctypes.c_void_p(address), length, pages)
    finally:
        _libc.munmap(ctypes.c_void_p(address), length)
    return not failed and 0 not in pages.raw[: len(pages)].translate(RESIDENT)
