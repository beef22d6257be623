"""Acting as another user on one thread only, and coming back.

libc's own setuid functions change every thread of a process. The system calls behind them change the calling thread
alone, so these are called directly. The saved id stays 0, which is what lets the thread return; on execve the kernel
copies the effective id over the saved one, so a child that was started meanwhile cannot.
"""

import contextlib
import ctypes
import os
import platform
from collections.abc import Iterator

from .users import User

SETRESUID, SETRESGID, SETGROUPS = {
    "x86_64": (117, 119, 116),
    "aarch64": (147, 149, 159),
}[platform.machine()]
UNCHANGED = -1
_ROOT_GROUPS = os.getgroups()
# PyDLL keeps the interpreter's lock: handing it over would take longer than these calls do.
_syscall = ctypes.PyDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long


def _call(number: int, *arguments: object) -> None:
    if _syscall(number, *arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"cannot change user: {os.strerror(code)}")


def _set_ids(number: int, real: int, effective: int, saved: int) -> None:
    _call(number, ctypes.c_long(real), ctypes.c_long(effective), ctypes.c_long(saved))


def _set_groups(groups: list[int]) -> None:
    _call(SETGROUPS, ctypes.c_long(len(groups)), (ctypes.c_uint * max(1, len(groups)))(*groups))


@contextlib.contextmanager
def file_rights(user: User | None) -> Iterator[None]:
    """Let this thread have the rights of `user` to files. Only the effective ids change: were the real one the user's,
    the user could send signals to this thread."""
    if user is None or user.uid == user.gid == 0:
        yield
        return
    try:
        _set_groups(list(user.groups))
        _set_ids(SETRESGID, UNCHANGED, user.gid, UNCHANGED)
        _set_ids(SETRESUID, UNCHANGED, user.uid, UNCHANGED)
        yield
    finally:
        _return()


@contextlib.contextmanager
def whole_identity(user: User) -> Iterator[None]:
    """Let this thread be `user`, so that a program started now is the user's and holds no capability."""
    if user.uid == user.gid == 0:
        yield
        return
    try:
        _set_groups(list(user.groups))
        _set_ids(SETRESGID, user.gid, user.gid, 0)
        _set_ids(SETRESUID, user.uid, user.uid, 0)
        yield
    finally:
        _return()


def _return() -> None:
    _set_ids(SETRESUID, 0, 0, 0)
    _set_ids(SETRESGID, 0, 0, 0)
    _set_groups(_ROOT_GROUPS)
