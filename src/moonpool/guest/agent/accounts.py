"""Making users and groups, on any image: its own files are edited here, since not every image has tools for it."""

import asyncio
import contextlib
import fcntl
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..protocol import Stream
from .elevation import GROUPS as TRUSTED
from .errors import AgentError
from .request import Request, check_path
from .users import MAX_ID
from .workers import Workers

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
UNFIT = re.compile(r"[:\x00-\x1f\x7f]")  # in a field of these files
ORDINARY, SYSTEM = range(1000, 60_000), range(999, 99, -1)  # numbers given out, in this order
LOCK, LOCK_TIMEOUT = "/etc/.pwd.lock", 15.0  # seconds: both as of the C library's lckpwdf
PASSWD, GROUP, SHADOW, GSHADOW = "/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow"
SUDOERS = "/etc/sudoers.d"
DAY = 86_400  # seconds


@dataclass(frozen=True)
class Account:
    """What a user is to be; None: as it is, or whatever is usual."""

    name: str
    uid: int | None
    gid: int | None
    home: str | None
    shell: str | None
    groups: tuple[str, ...]
    system: bool
    sudo: bool
    full_name: str | None = None


class Accounts:
    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._turn = asyncio.Lock()  # the lock on the file is the whole process's

    async def ensure_group(self, stream: Stream, request: Request) -> None:
        """A group of that name; with `gid`, of that number."""
        name, gid = _name(request.text("name")), request.optional_integer("gid", 0, MAX_ID)
        system = request.flag("system")
        await self._change(lambda: _ensure_group(name, gid, system=system))

    async def ensure_user(self, stream: Stream, request: Request) -> None:
        """A user of that name. One that is there keeps its numbers, and gets what it lacks of the rest."""
        account = Account(
            name=_name(request.text("name")),
            uid=request.optional_integer("uid", 0, MAX_ID),
            gid=request.optional_integer("gid", 0, MAX_ID),
            home=_path(request, "home"),
            shell=_path(request, "shell"),
            groups=tuple(request.texts("groups")),
            system=request.flag("system"),
            sudo=request.flag("sudo"),
            full_name=_full_name(request),
        )
        await self._change(lambda: _ensure_user(account))

    async def _change(self, change: Callable[[], object]) -> None:
        def locked() -> None:
            with _locked():
                change()

        async with self._turn:
            await self._workers.call(None, locked)


def _name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise AgentError("invalid_input", f"name: not a name for a user or group: {name[:80]!r}")
    return name


def _full_name(request: Request) -> str | None:
    text = request.optional_text("full_name")
    if text is not None and any(character in text for character in ":\n\r"):
        raise AgentError("invalid_input", "full_name: no colon and no line break")
    return text


def _path(request: Request, field: str) -> str | None:
    path = request.optional_text(field)
    if path is None:
        return None
    if not check_path(path).startswith("/") or UNFIT.search(path):
        raise AgentError("invalid_input", f"{field}: must be an absolute path without colons and control characters")
    return path


# -- the files ------------------------------------------------------------------------------------------------------


class Table:
    """One of the files: rows of fields. Rows that are none (comments, those of other services) stay as they are."""

    def __init__(self, path: str, fields: int) -> None:
        self.path, self._fields = os.path.realpath(path), fields
        self.there = os.path.exists(self.path)
        self.changed = False
        self.rows: list[list[str]] = []
        if self.there:
            with open(self.path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
                self.rows = [line.split(":") for line in file.read().split("\n") if line]

    def find(self, field: int, value: str) -> list[str] | None:
        return next((row for row in self.rows if len(row) >= self._fields and row[field] == value), None)

    def numbers(self) -> set[int]:
        return {int(row[2]) for row in self.rows if len(row) >= self._fields and row[2].isdecimal()}

    def add(self, *row: str) -> list[str]:
        self.rows.append(list(row))
        self.changed = True
        return self.rows[-1]

    def set(self, row: list[str], field: int, value: str) -> None:
        if row[field] != value:
            row[field] = value
            self.changed = True

    def save(self, mode: int) -> None:
        """In one step; `mode` is for a file that was not there."""
        if not self.changed:
            return
        content = "".join(":".join(row) + "\n" for row in self.rows).encode(errors="surrogateescape")
        _replace(self.path, content, mode)
        self.changed = False


def _replace(path: str, content: bytes, mode: int) -> None:
    """The file keeps its mode and owner."""
    temporary = f"{path}.moonpool"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(content)
            with contextlib.suppress(FileNotFoundError):
                found = os.stat(path)
                os.fchown(file.fileno(), found.st_uid, found.st_gid)
                mode = found.st_mode & 0o7777
            os.fchmod(file.fileno(), mode)
        os.rename(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    """Alone among all programs that change these files."""
    os.makedirs("/etc", exist_ok=True)
    deadline = time.monotonic() + LOCK_TIMEOUT
    with open(os.open(LOCK, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "wb") as lock:
        while True:
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise AgentError("conflict", "another program keeps the files of users locked") from error
                time.sleep(0.05)
        yield


# -- groups ---------------------------------------------------------------------------------------------------------


def _ensure_group(name: str, gid: int | None, *, system: bool) -> int:
    groups = Table(GROUP, 4)
    found = groups.find(0, name)
    if found is not None:
        if gid is not None and found[2] != str(gid):
            raise AgentError("conflict", f"the group {name} is there already, with the number {found[2]}")
        return int(found[2])
    number = _number("group", groups, gid, system=system)
    groups.add(name, "x", str(number), "")
    groups.save(0o644)
    secrets = Table(GSHADOW, 4)
    if secrets.there and secrets.find(0, name) is None:
        secrets.add(name, "!", "", "")
        secrets.save(0o640)
    return number


def _join(name: str, group: str) -> None:
    """Make the user a member."""
    groups = Table(GROUP, 4)
    found = groups.find(0, group) or groups.find(2, group)
    if found is None:
        raise AgentError("user_not_found", f"no such group: {group[:100]}")
    for table, row in ((groups, found), *_secret_group(found[0])):
        members = [member for member in row[3].split(",") if member]
        if name not in members:
            table.set(row, 3, ",".join([*members, name]))
            table.save(0o640)


def _secret_group(group: str) -> Iterator[tuple[Table, list[str]]]:
    secrets = Table(GSHADOW, 4)
    row = secrets.find(0, group)
    if row is not None:
        yield secrets, row


def _number(what: str, table: Table, wanted: int | None, *, system: bool, preferred: int | None = None) -> int:
    taken = table.numbers()
    if wanted is not None:
        if wanted in taken:
            raise AgentError("conflict", f"the number {wanted} is another {what}'s: {_holder(table, wanted)}")
        return wanted
    if preferred is not None and preferred not in taken:
        return preferred
    number = next((number for number in (SYSTEM if system else ORDINARY) if number not in taken), None)
    if number is None:
        raise AgentError("limit_exceeded", f"no number is left for another {what}")
    return number


def _holder(table: Table, number: int) -> str:
    row = table.find(2, str(number))
    return row[0] if row else "?"


# -- users ----------------------------------------------------------------------------------------------------------


def _ensure_user(account: Account) -> None:
    for group in account.groups:  # before anything is changed
        groups = Table(GROUP, 4)
        if groups.find(0, group) is None and groups.find(2, group) is None:
            raise AgentError("user_not_found", f"no such group: {group[:100]}")
    users = Table(PASSWD, 7)
    found = users.find(0, account.name)
    if found is None:
        _add_user(users, account)
    else:
        for field, wanted, what in ((2, account.uid, "number"), (3, account.gid, "group")):
            if wanted is not None and found[field] != str(wanted):
                raise AgentError("conflict", f"the user {account.name} has the {what} {found[field]} already")
        users.set(found, 4, account.full_name or found[4])
        users.set(found, 5, account.home or found[5])
        users.set(found, 6, account.shell or found[6])
        users.save(0o644)
        if account.home is not None:
            _make_home(account.home, int(found[2]), int(found[3]))
    for group in account.groups:
        _join(account.name, group)
    if account.sudo:
        _trust(account.name)


def _add_user(users: Table, account: Account) -> None:
    uid = _number("user", users, account.uid, system=account.system)
    gid = _primary_group(account, uid)
    home = account.home or ("/" if account.system else f"/home/{account.name}")
    shell = account.shell or _first("/usr/sbin/nologin" if account.system else "/bin/bash", "/bin/sh")
    if not account.system or account.home is not None:
        _make_home(home, uid, gid)
    secrets = Table(SHADOW, 8)
    if secrets.there and secrets.find(0, account.name) is None:
        secrets.add(account.name, "!", str(int(time.time() // DAY)), "0", "99999", "7", "", "", "")
        secrets.save(0o640)
    users.add(account.name, "x" if secrets.there else "!", str(uid), str(gid), account.full_name or "", home, shell)
    users.save(0o644)


def _primary_group(account: Account, uid: int) -> int:
    """The group that was asked for, or else one of the user's own name."""
    groups = Table(GROUP, 4)
    if account.gid is not None and groups.find(2, str(account.gid)) is not None:
        return account.gid
    if account.gid is None and (found := groups.find(0, account.name)) is not None:
        return int(found[2])
    wanted = _number("group", groups, account.gid, system=account.system, preferred=uid)
    return _ensure_group(account.name, wanted, system=account.system)


def _first(*paths: str) -> str:
    return next((path for path in paths if os.path.exists(path)), paths[-1])


def _make_home(home: str, uid: int, gid: int) -> None:
    """A folder with what the image gives every user. One that is there is left as it is."""
    if os.path.isdir(home):
        return
    os.makedirs(os.path.dirname(home.rstrip("/")) or "/", exist_ok=True)
    if os.path.isdir("/etc/skel"):
        shutil.copytree("/etc/skel", home, symlinks=True)
    else:
        os.mkdir(home)
    os.chmod(home, 0o755)  # noqa: S103 - as Debian has it
    for folder, folders, files, descriptor in os.fwalk(home, topdown=False):  # by descriptor: no link is followed
        for name in (*folders, *files):
            os.chown(name, uid, gid, dir_fd=descriptor, follow_symlinks=False)
        if folder == home:
            os.fchown(descriptor, uid, gid)


def _trust(name: str) -> None:
    """Let the user become root without a password: for the image's own sudo, and for the agent, which asks for a
    group."""
    group = next((group for group in TRUSTED if Table(GROUP, 4).find(0, group) is not None), TRUSTED[0])
    _ensure_group(group, None, system=True)
    _join(name, group)
    os.makedirs(SUDOERS, mode=0o750, exist_ok=True)
    rule = f"{SUDOERS}/{name.replace('.', '_')}"  # files with a point in their name are passed over
    _replace(rule, f"{name} ALL=(ALL:ALL) NOPASSWD: ALL\n".encode(), 0o440)
