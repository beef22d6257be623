"""Network namespaces that live as files, made without a fork.

A namespace belongs to a thread, so every step inside one is taken by a thread of its own that ends afterwards; no other
thread of the process ever changes place.
"""

import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from moonpool.engine.network.model import NetworkFailed

CLONE_NEWNET = 0x40000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 1 << 18
MNT_DETACH = 2
_libc = ctypes.CDLL(None, use_errno=True)

Result = TypeVar("Result")


def in_own_thread(function: Callable[[], Result]) -> Result:
    """Run a function in a thread that ends with it, and return or raise what it does."""
    results: list[Result] = []
    failures: list[BaseException] = []

    def body() -> None:
        try:
            results.append(function())
        except BaseException as error:  # noqa: BLE001 - carried to the caller's thread, whatever it is
            failures.append(error)

    thread = threading.Thread(target=body, name="moonpool-network")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def leave_for_new() -> None:
    """Move the calling thread into a network namespace of its own."""
    _check(_libc.unshare(CLONE_NEWNET), "unshare")


def enter(path: Path) -> None:
    """Move the calling thread into the namespace kept at a file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter_descriptor(descriptor)
    finally:
        os.close(descriptor)


def enter_descriptor(descriptor: int) -> None:
    _check(_libc.setns(descriptor, CLONE_NEWNET), "setns")


def prepare_folder(folder: Path) -> None:
    """A mount of its own that shares nothing, so that namespaces below it never show up in other mount namespaces."""
    folder.mkdir(parents=True, exist_ok=True)
    if not _is_mounted(folder):
        _mount(folder, folder, MS_BIND)
    _mount(None, folder, MS_REC | MS_PRIVATE)


def keep_current(path: Path) -> None:
    """Give the calling thread's namespace a file that holds it."""
    path.touch(exist_ok=False)
    _mount(Path("/proc/thread-self/ns/net"), path, MS_BIND)


def is_kept(path: Path) -> bool:
    """Whether the file holds a namespace (a crash may have left an empty one)."""
    try:
        return path.stat().st_dev != path.parent.stat().st_dev
    except FileNotFoundError:
        return False


def forget(path: Path) -> None:
    """Let go of a namespace and its file; nothing happens where there is none."""
    while is_kept(path):
        _unmount(path)
    path.unlink(missing_ok=True)


def remove_folder(folder: Path) -> None:
    """Remove the folder and its mount; everything in it must be forgotten already."""
    while _is_mounted(folder):
        _unmount(folder)
    if folder.is_dir():
        folder.rmdir()


def _is_mounted(folder: Path) -> bool:
    """Asks the kernel's list, since a folder bound onto itself looks like any other folder to `os.path.ismount`."""
    place = str(folder.resolve())
    with Path("/proc/self/mountinfo").open() as mounts:
        return any(line.split(" ", 5)[4].replace("\\040", " ") == place for line in mounts)


def _mount(source: Path | None, target: Path, flags: int) -> None:
    origin = os.fsencode(source) if source else b"none"
    _check(_libc.mount(origin, os.fsencode(target), None, flags, None), f"mount {target}")


def _unmount(target: Path) -> None:
    _check(_libc.umount2(os.fsencode(target), MNT_DETACH), f"umount {target}")


def _check(result: int, what: str) -> None:
    if result:
        code = ctypes.get_errno()
        raise NetworkFailed(f"{what}: {os.strerror(code)}")
