"""Mounts as programs have them that left the agent's mount namespace: services that are confined, among others."""

import contextlib
import ctypes
import errno
import os
import threading
from collections.abc import Iterator

CLONE_FS, CLONE_NEWNS = 0x200, 0x20000
UMOUNT_NOFOLLOW = 8
_libc = ctypes.CDLL(None, use_errno=True)


def unmount(path: str) -> None:
    """In every such namespace, where it is the same that the agent has there. OSError (EBUSY): a program uses it."""
    for pid in _strangers():
        with contextlib.suppress(OSError):
            if not os.path.samestat(os.stat(path), os.stat(f"/proc/{pid}/root{path}")):
                continue
        codes: list[int] = []
        thread = threading.Thread(target=_unmount, args=(pid, path, codes), daemon=True)
        thread.start()
        thread.join()
        if errno.EBUSY in codes:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)


def _strangers() -> Iterator[int]:
    """A process of each other namespace."""
    seen = {os.readlink("/proc/self/ns/mnt")}
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError):  # It ended meanwhile.
            if entry.isdigit() and (name := os.readlink(f"/proc/{entry}/ns/mnt")) not in seen:
                seen.add(name)
                yield int(entry)


def _unmount(pid: int, path: str, codes: list[int]) -> None:
    """In a thread of its own, which never comes back from there. The path is not one of the agent's: links in it are
    that process's, and none at its end is followed."""
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        namespace, root = (os.open(f"/proc/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC) for name in ("ns/mnt", "root"))
        stack.callback(os.close, namespace)
        stack.callback(os.close, root)
        if _libc.unshare(CLONE_FS) == 0 and _libc.setns(namespace, CLONE_NEWNS) == 0:
            os.fchdir(root)
            if _libc.chroot(b".") == 0 and _libc.umount2(os.fsencode(path), UMOUNT_NOFOLLOW) != 0:
                codes.append(ctypes.get_errno())
