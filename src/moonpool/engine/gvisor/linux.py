"""System calls that Python 3.11 has no wrapper for. What names an architecture stands in one table here."""

import contextlib
import ctypes
import errno
import os
from pathlib import Path

CLONE_FS = 0x200
CLONE_NEWNS = 0x20000
CLONE_NEWNET = 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 0x1, 0x2, 0x4, 0x8, 0x20
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000

OPEN_TREE_CLONE, AT_RECURSIVE, AT_EMPTY_PATH, AT_FDCWD = 0x1, 0x8000, 0x1000, -100
MOVE_MOUNT_F_EMPTY_PATH = 0x4
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC = 0x1, 0x2, 0x4, 0x8
MNT_DETACH = 2
FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC = 0x1, 0x1
FSCONFIG_SET_STRING, FSCONFIG_CMD_CREATE = 1, 6

BALLOONS = Path("/sys/bus/virtio/drivers/virtio_balloon")
FREE_PAGE_REPORTING = 5  # a feature's bit, see "Traditional Memory Balloon Device" in the virtio specification

# The calls younger than Linux 5.0 have the same number everywhere; a further architecture is one more line.
_YOUNG = {"open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "mount_setattr": 442}
SYSCALLS = {"x86_64": _YOUNG, "aarch64": _YOUNG}

_libc = ctypes.CDLL(None, use_errno=True)


class _MountAttributes(ctypes.Structure):
    """``struct mount_attr``, see mount_setattr(2)."""

    _fields_ = (
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("namespace", ctypes.c_uint64),
    )


def unshare(flags: int) -> None:
    """Give the calling thread its own copies; see unshare(2)."""
    _check(_libc.unshare(flags), "unshare")


def setns(descriptor: int, kind: int) -> None:
    """Move the calling thread into a namespace; see setns(2)."""
    _check(_libc.setns(descriptor, kind), "setns")


def mount(source: str, target: Path | str, kind: str | None, flags: int, data: str | None = None) -> None:
    arguments = (source.encode(), os.fsencode(target), kind.encode() if kind else None)
    _check(_libc.mount(*arguments, ctypes.c_ulong(flags), data.encode() if data else None), f"mount on {target}")


def bind(source: Path, target: Path, *, read_only: bool = False) -> None:
    """Bind ``source`` on ``target`` without device nodes and set-user-id programs; a remount is what sets flags."""
    mount(str(source), target, None, MS_BIND | MS_REC)
    flags = MS_NODEV | MS_NOSUID | (MS_RDONLY if read_only else 0)
    mount("none", target, None, MS_REMOUNT | MS_BIND | flags)


def detach(target: str) -> bool:
    """Take away what is mounted at ``target``, on top; False where nothing is. What is open there stays usable."""
    if _libc.umount2(os.fsencode(target), MNT_DETACH) == 0:
        return True
    if (code := ctypes.get_errno()) == errno.EINVAL:
        return False
    raise OSError(code, f"umount of {target}: {os.strerror(code)}")


def clone_tree(source: Path, *, read_only: bool = False) -> int:
    """A descriptor of a copy of ``source``'s mounts that is mounted nowhere and propagates nothing."""
    flags = OPEN_TREE_CLONE | os.O_CLOEXEC | AT_RECURSIVE
    descriptor = _syscall("open_tree", AT_FDCWD, os.fsencode(source), flags)
    wanted = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (MOUNT_ATTR_RDONLY if read_only else 0)
    attributes = _MountAttributes(set=wanted, propagation=MS_PRIVATE)
    try:
        size = ctypes.c_size_t(ctypes.sizeof(attributes))
        _syscall("mount_setattr", descriptor, b"", AT_EMPTY_PATH | AT_RECURSIVE, ctypes.byref(attributes), size)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def move_mount(tree: int, target: str) -> None:
    """Put what clone_tree() gave at ``target``, as the calling thread sees it."""
    _syscall("move_mount", tree, b"", AT_FDCWD, target.encode(), MOVE_MOUNT_F_EMPTY_PATH)


def host_takes_free_memory(balloons: Path = BALLOONS) -> bool:
    """Whether this is a virtual machine that reports memory which is free to its host, which takes it away."""
    for file in balloons.glob("*/features"):
        with contextlib.suppress(OSError):
            if file.read_text()[FREE_PAGE_REPORTING : FREE_PAGE_REPORTING + 1] == "1":
                return True
    return False


def memory_filesystem() -> int:
    """A descriptor of a new, empty tmpfs that is mounted nowhere: it ends with its last user, however that ends.

    In pages of 2 MiB where the kernel has them, which makes writing several times cheaper; but not where whole ones are
    what the host takes away while they are free: to get them back costs five times what smaller ones do.
    """
    context = _syscall("fsopen", b"tmpfs", FSOPEN_CLOEXEC)
    try:
        if not host_takes_free_memory():
            with contextlib.suppress(OSError):
                _syscall("fsconfig", context, FSCONFIG_SET_STRING, b"huge", b"always", 0)
        _syscall("fsconfig", context, FSCONFIG_SET_STRING, b"mode", b"700", 0)
        _syscall("fsconfig", context, FSCONFIG_CMD_CREATE, None, None, 0)
        attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC
        return _syscall("fsmount", context, FSMOUNT_CLOEXEC, attributes)
    finally:
        os.close(context)


def _syscall(name: str, *arguments: object) -> int:
    number = SYSCALLS[os.uname().machine][name]
    return _check(_libc.syscall(ctypes.c_long(number), *arguments), name)


def _check(result: int, name: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result
