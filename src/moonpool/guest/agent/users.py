"""Users and groups of the image, read from its own files: the agent's C library knows nothing of them."""

import os
import stat
from dataclasses import dataclass, field, replace

from .errors import AgentError

MAX_FILE = 4 << 20  # bytes of /etc/passwd or /etc/group that are read
MAX_ID = (1 << 32) - 2
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class User:
    """Who a process or a file operation acts as."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    home: str = "/"
    shell: str = "/bin/sh"

    def environment(self) -> dict[str, str]:
        """What a login would set."""
        return {
            "HOME": self.home,
            "USER": self.name,
            "LOGNAME": self.name,
            "SHELL": self.shell,
            "PATH": PATH,
            "LANG": "C.UTF-8",
        }

    def resolve(self, path: str) -> str:
        """An absolute path: ``~`` and relative ones start at the user's home."""
        if path.startswith("/"):
            return path
        if path == "~" or path.startswith("~/"):
            return self.home + path[1:]
        return f"{self.home.rstrip('/')}/{path}"


ROOT = User("root", 0, 0, (), "/root", "/bin/sh")


def read_small(path: str, limit: int = MAX_FILE) -> bytes:
    """The start of a regular file; nothing if it is missing or something else (opening it never blocks)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return b""
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(limit)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def _lines(path: str, fields: int) -> list[list[str]]:
    rows = [line.split(":") for line in read_small(path).decode(errors="surrogateescape").split("\n")]
    return [row for row in rows if len(row) >= fields]


def _identifier(text: str) -> int | None:
    """A user or group number; None for anything that is not one."""
    if not text.isascii() or not text.isdigit() or len(text) > 10:
        return None
    number = int(text)
    return number if number <= MAX_ID else None


@dataclass
class Users:
    """The image's users, read again whenever the files have changed. Where there is a ``default_group``, the default
    user acts with that group and no other."""

    default: str = "root"
    default_group: str = ""
    _seen: tuple[object, ...] = ()
    _by_name: dict[str, User] = field(default_factory=dict)
    _names: dict[int, str] = field(default_factory=dict)
    _group_names: dict[int, str] = field(default_factory=dict)
    _groups: dict[str, int] = field(default_factory=dict)

    def find(self, name: str | None) -> User:
        """The user of that name or number; the default one for None."""
        user = self.named(name or self.default)
        if not self.default_group or (name or self.default) != self.default:
            return user
        gid = self.group(self.default_group)
        return replace(user, gid=gid, groups=(gid,))

    def named(self, wanted: str) -> User:
        """With the groups that the image's files give it."""
        self._refresh()
        if wanted in self._by_name:
            return self._by_name[wanted]
        uid = _identifier(wanted)
        if uid is not None:
            known = self._names.get(uid)
            return self._by_name[known] if known else User(wanted, uid, uid)
        if wanted == "root":
            return ROOT
        raise AgentError("user_not_found", f"no such user: {wanted[:100]}")

    def group(self, name: str) -> int:
        self._refresh()
        number = self._groups.get(name, _identifier(name))
        if number is None:
            raise AgentError("user_not_found", f"no such group: {name[:100]}")
        return number

    def is_member(self, uid: int, group: str) -> bool:
        self._refresh()
        name = self._names.get(uid)
        return name is not None and self._groups.get(group) in self._by_name[name].groups

    def user_name(self, uid: int) -> str:
        return self._names.get(uid) or ("root" if uid == 0 else str(uid))

    def group_name(self, gid: int) -> str:
        return self._group_names.get(gid) or ("root" if gid == 0 else str(gid))

    def _refresh(self) -> None:
        seen = tuple(_signature(path) for path in ("/etc/passwd", "/etc/group"))
        if seen != self._seen:
            self._read()
            self._seen = seen

    def _read(self) -> None:
        members: dict[str, list[int]] = {}
        self._groups, self._group_names, self._by_name, self._names = {}, {}, {}, {}
        for row in _lines("/etc/group", 4):
            gid = _identifier(row[2])
            if gid is None:
                continue
            self._groups.setdefault(row[0], gid)
            self._group_names.setdefault(gid, row[0])
            for member in row[3].strip().split(","):
                members.setdefault(member, []).append(gid)
        for row in _lines("/etc/passwd", 7):
            uid, gid = _identifier(row[2]), _identifier(row[3])
            if uid is None or gid is None or row[0] in self._by_name:
                continue
            groups = tuple(dict.fromkeys([gid, *members.get(row[0], [])]))
            home = row[5] if row[5].startswith("/") else "/"
            self._by_name[row[0]] = User(row[0], uid, gid, groups, home, row[6].strip() or "/bin/sh")
            self._names.setdefault(uid, row[0])


def _signature(path: str) -> tuple[int, ...]:
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return (found.st_ino, found.st_mtime_ns, found.st_size)
