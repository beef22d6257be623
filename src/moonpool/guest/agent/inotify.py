"""The kernel's inotify, through ctypes: the standard library has no way to it."""

import contextlib
import ctypes
import errno
import os
import struct
from typing import NamedTuple

from .errors import AgentError

MODIFY, ATTRIB, CLOSE_WRITE = 0x2, 0x4, 0x8
MOVED_FROM, MOVED_TO, CREATE, DELETE, DELETE_SELF, MOVE_SELF = 0x40, 0x80, 0x100, 0x200, 0x400, 0x800
UNMOUNT, Q_OVERFLOW, IGNORED = 0x2000, 0x4000, 0x8000
ONLY_FOLDERS, NO_LINKS, NOT_UNLINKED, IS_FOLDER = 0x1000000, 0x2000000, 0x4000000, 0x40000000
# gVisor does not tell that a file was emptied as it was opened; that it is closed says so too.
CHANGES = MODIFY | ATTRIB | CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE

HEADER = struct.Struct("iIII")
READ = 64 << 10  # bytes at a time
_libc = ctypes.CDLL(None, use_errno=True)


class Record(NamedTuple):
    """One event as the kernel tells it; `name` is empty where the watched thing itself is meant."""

    watch: int
    mask: int
    cookie: int
    name: str


class Inotify:
    """One instance; raises AgentError where the kernel has no room for more."""

    def __init__(self) -> None:
        self.descriptor = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.descriptor < 0:
            raise _refused("too many watches are open")

    def add(self, path: str, mask: int) -> int:
        """The number of the watch; the one it has already for something that is watched."""
        number: int = _libc.inotify_add_watch(self.descriptor, os.fsencode(path), ctypes.c_uint32(mask))
        if number < 0:
            raise _refused(path)
        return number

    def remove(self, number: int) -> None:
        """Nothing to do for one that the kernel has removed already."""
        _libc.inotify_rm_watch(self.descriptor, number)

    def read(self) -> list[Record]:
        """What has happened since; nothing, when nothing has."""
        with contextlib.suppress(BlockingIOError):
            return _parse(os.read(self.descriptor, READ))
        return []

    def close(self) -> None:
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _parse(content: bytes) -> list[Record]:
    records, place = [], 0
    while place < len(content):
        watch, mask, cookie, length = HEADER.unpack_from(content, place)
        place += HEADER.size
        name = content[place : place + length].rstrip(b"\0")
        records.append(Record(watch, mask, cookie, os.fsdecode(name)))
        place += length
    return records


def _refused(what: str) -> Exception:
    code = ctypes.get_errno()
    if code in (errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        return AgentError("limit_exceeded", f"the sandbox's kernel watches no more: {what[:200]}")
    return OSError(code, os.strerror(code), what)
