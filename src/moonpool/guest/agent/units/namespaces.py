"""A confined program's start: in a mount namespace of its own, which the kernel takes away with its last process.

A thread leaves the agent's namespace, builds the program's file system below STAGE, makes that its root, starts the
program, which inherits all of it, and ends. The agent itself sees none of it.
"""

import contextlib
import ctypes
import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from ..users import read_small
from .confinement import INTERFACES, TEMPORARY, Confinement, Entry, Kind

CLONE_NEWNS = 0x20000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC, MS_SLAVE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 19
FLAGS = {"nosuid": MS_NOSUID, "nodev": MS_NODEV, "noexec": MS_NOEXEC, "ro": MS_RDONLY}
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
STAGE = "/run/systemd/unit-root"
HIDDEN = "/run/systemd/inaccessible"
DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm", "mqueue", "log", "fd", "stdin",
           "stdout", "stderr")  # fmt: skip
_libc = ctypes.CDLL(None, use_errno=True)
Result = TypeVar("Result")


class NotConfined(Exception):
    """What a program asks for could not be had; the message names the path."""


@dataclass(frozen=True)
class Mounted:
    """A mount, with the flags that a remount has to repeat."""

    path: str
    flags: int = 0


def confined(wanted: Confinement, temporary: tuple[str, ...], start: Callable[[], Result]) -> Result:
    """What ``start`` gives, called in the confinement. ``temporary``: the service's own folders for TEMPORARY, where it
    is to have some. NotConfined; whatever ``start`` raises."""
    found: list[Result] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            _apply(wanted, temporary)
            found.append(start())
        except BaseException as error:  # noqa: BLE001 - the edge of a thread: whatever it is belongs to the caller
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return found[0]


def _apply(wanted: Confinement, temporary: tuple[str, ...]) -> None:
    try:
        if wanted.of_files:
            _Builder(wanted, temporary).build()
    except OSError as error:
        raise NotConfined(f"{error.filename or 'the file system'}: {error.strerror}") from error
    _give_up_rights(wanted)


def _give_up_rights(wanted: Confinement) -> None:
    """Of this thread's bounding set: its own rights stay as they are, so it still can become the program's user."""
    for number in wanted.dropped:
        _libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)  # EINVAL: not one of this kernel's
    if wanted.no_new_privileges:
        _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


class _Builder:
    """Builds it, in a thread that has nothing else to do ever after. While it does, the working folder is the root as
    it was: what is bound from there is named relative to it, and so is the same whatever lies over it by then."""

    def __init__(self, wanted: Confinement, temporary: tuple[str, ...]) -> None:
        self._wanted = wanted
        self._table = _table()
        self._mounts = [Mounted("/"), *(each for each in self._table if each.path != "/")]
        folders = zip(TEMPORARY, temporary, strict=True) if temporary else ()
        own = (Entry(path, Kind.TEMPORARY, source=source) for path, source in folders)
        self._entries = [replace(each, source=os.path.realpath(each.source)) for each in (*wanted.entries, *own)]

    def build(self) -> None:
        _check(_libc.unshare(CLONE_NEWNS), "unshare")
        with contextlib.suppress(NotConfined):  # A root that is no mount tells others nothing anyway.
            _mount("none", "/", None, MS_SLAVE | MS_REC)
        os.chdir("/")
        self._enter_stage()
        self._entries = _ordered(self._entries)
        for entry in self._entries:
            self._carry_out(entry)
        self._seal()
        os.chdir("/")

    def _enter_stage(self) -> None:
        source = self._wanted.root or "/"
        if self._wanted.root_optional and not os.path.isdir(source):
            source = "/"
        for folder in (STAGE, f"{HIDDEN}/dir"):
            os.makedirs(folder, exist_ok=True)
        os.close(os.open(f"{HIDDEN}/reg", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0))
        os.chmod(f"{HIDDEN}/dir", 0)
        _mount(source, STAGE, None, MS_BIND | MS_REC)
        if source != "/":
            self._mounts = [Mounted("/"), *_moved(self._table, os.path.realpath(source), "")]
            self._add_interfaces()
        _check(_libc.chroot(os.fsencode(STAGE)), STAGE)

    def _add_interfaces(self) -> None:
        for path in INTERFACES if self._wanted.interfaces else ():
            os.makedirs(f"{STAGE}{path}", exist_ok=True)
            _mount(path, f"{STAGE}{path}", None, MS_BIND | MS_REC)
            self._mounts += [Mounted(path), *_moved(self._table, path, path)]

    def _carry_out(self, entry: Entry) -> None:
        kind, path = entry.kind, entry.path
        if kind in (Kind.BIND, Kind.BIND_ALL, Kind.TEMPORARY):
            self._bind(entry)
        elif kind is Kind.MEMORY:
            _make(path, folder=True)
            _mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, entry.options)
            self._cover(path)
        elif not os.path.lexists(path):
            if not entry.optional:
                raise NotConfined(f"{path}: No such file or directory")
        elif kind is Kind.INACCESSIBLE:
            _mount(f".{HIDDEN}/{'dir' if os.path.isdir(path) else 'reg'}", path, None, MS_BIND)
            self._cover(path)
        elif kind is Kind.DEVICES:
            self._devices(path)
        elif all(each.path != path for each in self._mounts):
            _mount(path, path, None, MS_BIND | MS_REC)
            self._mounts.append(Mounted(path))

    def _bind(self, entry: Entry) -> None:
        source = f".{entry.source}"
        if not os.path.exists(source):
            if entry.optional:
                return
            raise NotConfined(f"{entry.source}: No such file or directory")
        _make(entry.path, folder=os.path.isdir(source))
        deep = entry.kind is not Kind.BIND
        _mount(source, entry.path, None, MS_BIND | (MS_REC if deep else 0))
        self._cover(entry.path)
        self._mounts += _moved(self._table, entry.source, entry.path) if deep else ()

    def _devices(self, path: str) -> None:
        """The pseudo devices that every service has, and no others."""
        _mount("tmpfs", path, "tmpfs", MS_NOSUID, "mode=0755")
        self._cover(path)
        for name in DEVICES:
            source, target = f"./dev/{name}", f"{path}/{name}"
            if os.path.islink(source):
                os.symlink(os.readlink(source), target)
            elif os.path.exists(source):
                _make(target, folder=os.path.isdir(source))
                _mount(source, target, None, MS_BIND | MS_REC)

    def _cover(self, path: str) -> None:
        """Something is mounted on the path: what was there and below is hidden."""
        self._mounts = [each for each in self._mounts if not _inside(each.path, path)]
        self._mounts.append(Mounted(path))

    def _seal(self) -> None:
        """Every mount is read-only, or not, as the entry says that is nearest above it."""
        for mounted in self._mounts:
            above = [entry for entry in self._entries if _inside(mounted.path, entry.path)]
            nearest = max(above, key=lambda entry: len(entry.path.rstrip("/")), default=None)
            if nearest is not None and nearest.seals(mounted.path):
                _mount(None, mounted.path, None, MS_REMOUNT | MS_BIND | MS_RDONLY | mounted.flags)


def _ordered(entries: list[Entry]) -> list[Entry]:
    """One for each path, without links; folders before what is in them, and nothing in what is out of reach."""
    resolved = [replace(entry, path=os.path.realpath(entry.path)) for entry in entries]
    found: dict[str, Entry] = {}
    for entry in sorted(resolved, key=lambda each: (each.path.rstrip("/").split("/"), each.kind)):
        above = (each for path, each in found.items() if _inside(entry.path, path))
        if all(each.path != entry.path and each.kind is not Kind.INACCESSIBLE for each in above):
            found[entry.path] = entry
    return list(found.values())


def _inside(path: str, folder: str) -> bool:
    """Whether it is the folder or in it."""
    return f"{path}/".startswith(f"{folder.rstrip('/')}/")


def _moved(mounts: list[Mounted], source: str, target: str) -> list[Mounted]:
    """Those below ``source``, as they are below ``target``."""
    cut = len(source.rstrip("/"))
    return [
        replace(each, path=target.rstrip("/") + each.path[cut:])
        for each in mounts
        if each.path.rstrip("/") != source.rstrip("/") and _inside(each.path, source)
    ]


def _make(path: str, *, folder: bool) -> None:
    """A place to mount on, where there is none."""
    with contextlib.suppress(OSError):  # The mount says what is wrong.
        os.makedirs(path if folder else os.path.dirname(path), exist_ok=True)
        if not folder:
            os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))


def _table() -> list[Mounted]:
    """The agent's own mounts, with the flags that a remount has to repeat."""
    found = []
    for line in read_small("/proc/self/mountinfo").decode(errors="surrogateescape").splitlines():
        path, options = line.split(" ")[4:6]
        plain = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), path)
        found.append(Mounted(plain, sum(FLAGS.get(option, 0) for option in options.split(","))))
    return found


def _mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    coded = [None if text is None else os.fsencode(text) for text in (source, target, kind, options)]
    _check(_libc.mount(coded[0], coded[1], coded[2], flags, coded[3]), target)


def _check(result: int, what: str) -> None:
    if result != 0:
        raise NotConfined(f"{what}: {os.strerror(ctypes.get_errno())}")
