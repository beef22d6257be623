"""``systemd-tmpfiles``: folders and files that packages want to be there, as their ``tmpfiles.d`` lists them.

A line is about one path, or about all that match a pattern, in the order of the paths. No link is followed at a path's
end, and none on the way to it that somebody other than root could have made: the work is done as root.
"""

import contextlib
import glob
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..errors import AgentError
from ..users import Users, read_small
from ..workers import Workers
from .console import Arguments, Console, Usage
from .settings import general_specifier
from .syntax import BadSetting, expand, words

PLACES = ("/etc/tmpfiles.d", "/run/tmpfiles.d", "/usr/local/lib/tmpfiles.d", "/usr/lib/tmpfiles.d")
# systemd's own lists, which are of a machine's world, and those of packages that do without.
NOT_AT_BOOT = (
    "debian.conf", "etc.conf", "home.conf", "journal-nocow.conf", "legacy.conf", "passwd.conf", "provision.conf",
    "static-nodes-permissions.conf", "sudo.conf", "systemd", "tmp.conf", "var.conf", "x11.conf",
)  # fmt: skip
DEFAULT_SOURCES = "/usr/share/factory"  # what links and copies lead to that name no source
FOLDER_MODE, FILE_MODE = 0o755, 0o644
FOLDERS, FILES, LINKS = "dDevqQ", "fFw", "L"
PATTERNS = "ewzZrRm"  # whose paths may be patterns
REMOVED, REMOVED_AT_BOOT = "rRD", "r"
DATA_ERROR = 65  # exit code: a line could not be read or carried out
WITH_VALUE = frozenset(("root", "prefix", "exclude-prefix"))
KNOWN = WITH_VALUE | {"create", "remove", "boot", "no-pager"}
REFUSED = frozenset(("clean", "user", "image", "replace", "cat-config", "dry-run", "purge"))
UNSUPPORTED = "bctThHaA"  # device nodes, attributes and access lists: passed over


@dataclass(frozen=True)
class Line:
    """``kind`` is one letter; None for what the line leaves open."""

    kind: str
    path: str
    mode: int | None = None
    masked: bool = False
    uid: int | None = None
    gid: int | None = None
    argument: str = ""
    again: bool = False
    at_boot: bool = False
    tolerant: bool = False


class TemporaryFiles:
    """Applies the lines; what went wrong is a sentence each in ``problems``."""

    def __init__(self, users: Users, *, boot: bool = False) -> None:
        self._users, self._boot = users, boot
        self.problems: list[str] = []

    def apply(self, names: list[str], *, create: bool, remove: str, wanted: Callable[[str], bool]) -> None:
        """Of these files (paths, or names in ``PLACES``), or of all; ``remove``: the kinds of lines whose paths go;
        ``wanted`` says of a path whether it counts."""
        lines = [line for path in self._files(names) for line in self._lines(path) if wanted(line.path)]
        lines = [line for line in lines if self._boot or not line.at_boot]
        lines.sort(key=lambda line: line.path)  # a folder before what is in it
        for line in reversed(lines):
            if line.kind in remove:
                self._try(line, _remove)
        for line in lines if create else ():
            self._try(line, self._create)

    # -- what the files say ---------------------------------------------------------------------------------------

    def _files(self, names: list[str]) -> Iterator[str]:
        found = files()
        if not names:
            yield from found.values()
        for name in names:
            path = name if name.startswith("/") else found.get(name)
            if path is None or not os.path.isfile(path):
                self.problems.append(f"Failed to open '{name}': No such file or directory")
            else:
                yield path

    def _lines(self, path: str) -> Iterator[Line]:
        for number, text in enumerate(read_small(path).decode(errors="surrogateescape").splitlines(), 1):
            if not text.strip() or text.lstrip().startswith("#"):
                continue
            try:
                line = self._line(text)
            except (BadSetting, AgentError, ValueError) as error:
                self.problems.append(f"{path}:{number}: {getattr(error, 'message', error)}, ignoring line.")
                continue
            if line is not None:
                yield line

    def _line(self, text: str) -> Line | None:
        fields = words(text, relaxed=True)
        kind, flags = fields[0][0], fields[0][1:]
        if kind in UNSUPPORTED or kind in "xX":
            return None
        if kind not in FOLDERS + FILES + PATTERNS + "LpCR" or len(fields) < 2:
            raise BadSetting(f"Unknown command type '{fields[0][:20]}'")
        path = os.path.normpath(expand(fields[1], general_specifier))
        if not path.startswith("/") or path == "/":
            raise BadSetting(f"Path '{fields[1][:100]}' is not absolute")
        mode, user, group, _, *rest = (*fields[2:6], *[""] * (4 - len(fields[2:6])), *fields[6:])
        argument = expand(" ".join(rest), general_specifier)
        return Line(
            kind,
            path,
            None if mode in ("", "-") else int(mode.lstrip("~:"), 8) & 0o7777,
            mode.startswith("~"),
            None if user in ("", "-") else self._users.named(user.lstrip(":")).uid,
            None if group in ("", "-") else self._users.group(group.lstrip(":")),
            "" if argument == "-" else argument,
            "+" in flags or kind == "F",
            "!" in flags,
            "-" in flags,
        )

    # -- doing it -------------------------------------------------------------------------------------------------

    def _try(self, line: Line, act: Callable[[Line, str], None]) -> None:
        paths = sorted(glob.glob(line.path)) if line.kind in PATTERNS else [line.path]
        for path in paths:
            try:
                _check_way(path)
                act(line, path)
            except OSError as error:
                if not line.tolerant:
                    self.problems.append(f"Failed to set up '{path}': {error.strerror or error}")

    def _create(self, line: Line, path: str) -> None:
        if line.kind in FOLDERS:
            if line.kind != "e":
                _make_folder(path, line.mode)
            if os.path.isdir(path) and not os.path.islink(path):
                _own(path, line)
        elif line.kind in FILES:
            self._write(line, path)
        elif line.kind == "L":
            _link(line, path)
        elif line.kind == "p":
            _parent(path)
            with contextlib.suppress(FileExistsError):
                os.mkfifo(path, FILE_MODE)
            _own(path, line)
        elif line.kind == "C":
            _copy(line, path)
        elif line.kind in "zZm":
            for each in _below(path) if line.kind == "Z" else (path,):
                _own(each, line)

    def _write(self, line: Line, path: str) -> None:
        """``f`` makes a file where there is none; with a plus it is made anew. ``w`` writes into one."""
        there = os.path.lexists(path)
        if line.kind == "w":
            flags = os.O_WRONLY | (os.O_APPEND if line.again else 0)
        elif there and not line.again:
            if stat.S_ISREG(os.lstat(path).st_mode):
                _own(path, line)
            return
        else:
            _parent(path)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, FILE_MODE)
        with open(descriptor, "wb") as file:
            file.write(os.fsencode("".join(words(f'"{line.argument}"', relaxed=True)) if line.argument else ""))
        if line.kind != "w":
            _own(path, line)


def files() -> dict[str, str]:
    """Paths by name, in the order of names; the first place wins, and a link to /dev/null takes one out."""
    found: dict[str, str] = {}
    for place in PLACES:
        with contextlib.suppress(OSError):
            for name in os.listdir(place):
                if name.endswith(".conf"):
                    found.setdefault(name, f"{place}/{name}")
    return {name: path for name, path in sorted(found.items()) if os.path.realpath(path) != os.devnull}


def of_a_boot() -> list[str]:
    """Names of the files that a boot goes by."""
    return [name for name in files() if not name.startswith(NOT_AT_BOOT)]


def at_boot(users: Users) -> list[str]:
    """What a boot does: everything that is to be there is made, and what went wrong is told. Of what a boot removes
    only single files are: a sandbox keeps its files when it is stopped, those for a while too."""
    work = TemporaryFiles(users, boot=True)
    if names := of_a_boot():
        work.apply(names, create=True, remove=REMOVED_AT_BOOT, wanted=lambda path: True)
    return work.problems


async def run(users: Users, workers: Workers, console: Console, words: list[str]) -> int:
    """The program itself."""
    try:
        arguments = Arguments(words, {"E": "exclude-prefix"}, WITH_VALUE, KNOWN, REFUSED)
    except Usage as error:
        console.complain(str(error))
        return 1
    create, remove = arguments.has("create"), arguments.has("remove")
    if (not create and not remove) or arguments.value("root") not in ("", "/"):
        console.complain("You need to specify at least --create or --remove, for this sandbox's own root.")
        return 1
    if not console.privileged:
        console.complain("Only root may do this.")
        return 1
    prefixes, excluded = (tuple(arguments.options.get(key, ())) for key in ("prefix", "exclude-prefix"))
    work = TemporaryFiles(users, boot=arguments.has("boot"))

    def wanted(path: str) -> bool:
        return (not prefixes or path.startswith(prefixes)) and not path.startswith(excluded)

    await workers.call(
        None, lambda: work.apply(arguments.rest, create=create, remove=REMOVED if remove else "", wanted=wanted)
    )
    for problem in work.problems:
        console.complain(problem)
    return DATA_ERROR if work.problems else 0


def _check_way(path: str) -> None:
    """No folder on the way may belong to one user and what follows to another, root aside: a link could be there."""
    owner = 0
    for position in range(1, len(path)):
        if path[position] != "/":
            continue
        try:
            found = os.lstat(path[:position])
        except FileNotFoundError:
            return
        if owner not in (0, found.st_uid):
            raise OSError(f"Detected unsafe path transition at {path[:position]}")
        if stat.S_ISLNK(found.st_mode) and found.st_uid != 0:
            raise OSError(f"Detected unsafe symbolic link at {path[:position]}")
        owner = found.st_uid


def _parent(path: str) -> None:
    os.makedirs(os.path.dirname(path), FOLDER_MODE, exist_ok=True)


def _make_folder(path: str, mode: int | None) -> None:
    _parent(path)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, FOLDER_MODE if mode is None else mode)
        os.chmod(path, FOLDER_MODE if mode is None else mode)  # whatever the mask


def _own(path: str, line: Line) -> None:
    """Owner and mode, of what is there and no link."""
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        handle = f"/proc/self/fd/{descriptor}"
        if line.uid is not None or line.gid is not None:
            uid, gid = (-1 if number is None else number for number in (line.uid, line.gid))
            os.chown(path, uid, gid, follow_symlinks=False)
        if line.mode is not None and not stat.S_ISLNK(found.st_mode):
            os.chmod(handle, _masked(line.mode, found.st_mode) if line.masked else line.mode)
    finally:
        os.close(descriptor)


def _masked(mode: int, present: int) -> int:
    """With a tilde: what the file's own mode has nothing of is left out, and what is no folder is not executable."""
    for bits in (0o444, 0o222, 0o111):
        if not present & bits:
            mode &= ~bits
    return mode if stat.S_ISDIR(present) else mode & 0o777


def _link(line: Line, path: str) -> None:
    target = line.argument or f"{DEFAULT_SOURCES}{path}"
    if os.path.islink(path) and os.readlink(path) == target:
        return
    if os.path.lexists(path):
        if not line.again:
            return
        _remove_all(path)
    _parent(path)
    os.symlink(target, path)


def _copy(line: Line, path: str) -> None:
    """Of a file, or of a folder with all that is in it, where there is nothing yet or an empty folder."""
    source = line.argument or f"{DEFAULT_SOURCES}{path}"
    if not os.path.exists(source):
        return
    _parent(path)
    if os.path.isdir(source):
        if not os.path.isdir(path) or not os.listdir(path):
            shutil.copytree(source, path, symlinks=True, dirs_exist_ok=True)
    elif not os.path.lexists(path):
        shutil.copy2(source, path)
    _own(path, line)


def _below(path: str) -> Iterator[str]:
    yield path
    if os.path.isdir(path) and not os.path.islink(path):
        for folder, folders, names in os.walk(path):
            yield from (f"{folder}/{name}" for name in (*folders, *names))


def _remove(line: Line, path: str) -> None:
    """``D``: what is in a folder. ``R``: all there is. ``r``: a file, or a folder that is empty."""
    folder = os.path.isdir(path) and not os.path.islink(path)
    if line.kind == "D":
        for entry in os.listdir(path) if folder else ():
            _remove_all(f"{path}/{entry}")
    elif line.kind == "R" and os.path.lexists(path):
        _remove_all(path)
    elif folder:
        with contextlib.suppress(OSError):
            os.rmdir(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _remove_all(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)
