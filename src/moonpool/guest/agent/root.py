"""Entering an image's root: its own files, with the sandbox's /proc, /dev, /sys and agent folder in it.

The image is not trusted: where it has a symbolic link in the place of one of these folders, a mount through it would
land elsewhere. So every step starts from a descriptor and follows no link.
"""

import contextlib
import ctypes
import os
import stat
from collections.abc import Iterator

from .errors import AgentError

MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC = 2, 4, 8, 4096, 16384
PROC = "/proc"
# gVisor keeps a thousand names of its /proc, and with each all it knows of a process that may be long dead. That would
# be saved with the sandbox's memory, and make each copy slower than the one before.
PROC_OPTIONS = "dentry_cache_limit=32"
FOLDERS = ("proc", "dev", "sys", ".agent")
TEMPORARY = "/tmp"  # noqa: S108 - nothing is written to it here
NO_LINK = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_libc = ctypes.CDLL(None, use_errno=True)


def renew_proc() -> None:
    """Before anything is mounted in it; roots that are entered get it. Only in a sandbox's own kernel."""
    try:
        mount("proc", PROC, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, PROC_OPTIONS)
    except AgentError as error:
        print(f"/proc keeps the names of the dead: {error.message}", flush=True)


def enter(root: str) -> None:
    """Make `root` the file system of the agent and of everything it starts."""
    top = os.open(root, NO_LINK)
    try:
        for name in FOLDERS:
            if os.path.isdir(f"/{name}"):
                with _folder(top, name) as target:
                    _mount_on(target, f"/{name}", None, MS_BIND | MS_REC)
        _shared_memory(top)
        os.fchdir(top)
        os.chroot(".")
    finally:
        os.chdir("/")
        os.close(top)
    _temporary_folder()


@contextlib.contextmanager
def _folder(parent: int, name: str) -> Iterator[int]:
    """A real folder of that name; whatever else the image has there gives way."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=parent)
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o755, dir_fd=parent)
    descriptor = os.open(name, NO_LINK, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    coded = [None if text is None else text.encode() for text in (source, target, kind, options)]
    if _libc.mount(coded[0], coded[1], coded[2], flags, coded[3]) != 0:
        raise AgentError("guest_error", f"cannot mount {source}: {os.strerror(ctypes.get_errno())}")


def _mount_on(target: int, source: str, kind: str | None, flags: int, options: str | None = None) -> None:
    """Mount on the folder behind a descriptor: no path is walked, so no link can be followed."""
    os.fchdir(target)
    try:
        mount(source, ".", kind, flags, options)
    finally:
        os.chdir("/")


def _shared_memory(top: int) -> None:
    """Shared memory, which programs expect to be in memory and writable by all."""
    device = os.open("dev", NO_LINK, dir_fd=top)
    try:
        with _folder(device, "shm") as target:
            if os.fstat(target).st_dev == os.fstat(device).st_dev:
                _mount_on(target, "shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    finally:
        os.close(device)


def _temporary_folder() -> None:
    """The folder for temporary files is on the image's own disk."""
    with contextlib.suppress(OSError):
        os.mkdir(TEMPORARY)
        os.chmod(TEMPORARY, 0o1777)  # noqa: S103 - the mode that it has everywhere
