"""A program of its own: what a COPY or ADD names in one folder, as a tar archive, or as a digest of it.

Standard library only, contained like ``unpack.py``: it shuts itself into the folder, so that no pattern, path or link
leads out of it. Reads one JSON document from standard input: ``root``; ``patterns``, as Go's ``filepath.Match`` has
them; ``exclude``, patterns of what is left out, as .dockerignore has them; ``parents``: files keep the folders that
their patterns name, but for those before ``/./``, and ``**`` stands for any number of folders; ``extract``: archives
among the files are taken apart; ``mode`` of every file, a number or as chmod has it ("u+x,go-w"); ``owned``: owners are
kept, they are root's otherwise; ``digest``: no archive, but the SHA-256 of what would be in it, times left out.

The archive goes to standard output, JSON lines to standard error: at last {"done": {"digest", "entries", "single"}} or
{"error", "kind"}; ``single`` when it is one file, which may get another name.
"""

import bz2  # noqa: F401 - what archives are read with is loaded before there is no library to load it from
import gzip  # noqa: F401
import hashlib
import json
import lzma  # noqa: F401
import os
import re
import resource
import stat
import sys
import tarfile
from collections.abc import Iterator
from typing import IO, Any

CHUNK = 1 << 20  # bytes
MEMORY = 1 << 30  # bytes of address space
XATTR = "SCHILY.xattr."
NOT_READ = 32  # exit code
KEPT_XATTRS = ("user.", "security.capability")
MAGIC = re.compile(r"(?<!\\)[*?[]")
TOKEN = re.compile(r"\*\*/|\*\*|\\.|\[\^?[^\]]+\]|.", re.DOTALL)
CLAUSE = re.compile(r"([ugoa]*)((?:[-+=][rwxXst]*)+)")
MASKS = {"u": (0o700, stat.S_ISUID), "g": (0o070, stat.S_ISGID), "o": (0o007, 0)}


Inode = tuple[int, int]


class Missing(Exception):
    """A pattern that nothing matches, or a path that is none."""


class Archive:
    """Either writes an archive or takes its digest."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._mode, self._owned = order.get("mode"), order.get("owned", False)
        self.digest = hashlib.sha256()
        self.entries = 0
        self._names: dict[Inode, str] = {}
        self._inodes: dict[str, Inode] = {}
        self._tar: tarfile.TarFile | None = None
        if not order["digest"]:
            settings: dict[str, Any] = {"format": tarfile.PAX_FORMAT, "bufsize": CHUNK, "errors": "surrogateescape"}
            self._tar = tarfile.open(fileobj=sys.stdout.buffer, mode="w|", **settings)  # noqa: SIM115 - see close

    def close(self) -> None:
        if self._tar is not None:
            self._tar.close()
            sys.stdout.buffer.flush()

    def name_of(self, inode: Inode | None) -> str | None:
        """Under which name it is in the archive."""
        return None if inode is None else self._names.get(inode)

    def add(self, member: tarfile.TarInfo, content: IO[bytes] | None, inode: Inode | None = None) -> None:
        """``inode`` of a file that may come again under another name."""
        self.entries += 1
        before = self._inodes.pop(member.name, None)  # What had that name is not there any more.
        if before is not None:
            del self._names[before]
        if inode is not None:
            self._names[inode], self._inodes[member.name] = member.name, inode
        if not self._owned:
            member.uid = member.gid = 0
        member.uname = member.gname = ""
        if self._mode is not None and not member.issym():
            member.mode = self._mode if isinstance(self._mode, int) else changed(self._mode, member)
        if self._tar is not None:
            self._tar.addfile(member, content)
            return
        facts = [member.name, member.type.decode("latin-1"), member.mode, member.uid, member.gid, member.size]
        extra = [member.linkname, sorted(member.pax_headers.items())]
        self.digest.update(json.dumps([*facts, *extra], ensure_ascii=True).encode() + b"\0")
        while content is not None and (data := content.read(CHUNK)):
            self.digest.update(data)


def pack(order: dict[str, Any], archive: Archive) -> bool:
    """Whether it was a single file."""
    excluded = Excluded(order.get("exclude", ()))
    if order.get("parents"):
        pack_with_parents(order["patterns"], archive, excluded)
        return False
    found = [path for pattern in order["patterns"] for path in matches(pattern)]
    single = len(found) == 1
    for path in found:
        status = os.stat(path) if os.path.exists(path) else os.lstat(path)
        name = os.path.basename(path)
        if stat.S_ISDIR(status.st_mode):
            single = False
            for below, relative in walk(path, ""):
                if not excluded(relative):
                    add(archive, below, relative)
        elif excluded(name):
            single = False
        elif order.get("extract") and stat.S_ISREG(status.st_mode) and is_archive(path):
            single = False
            extract(archive, path)
        else:
            add(archive, path if stat.S_ISLNK(status.st_mode) else os.path.realpath(path), name)
    return single


def pack_with_parents(patterns: list[str], archive: Archive, excluded: "Excluded") -> None:
    there: set[str] = set()
    for pattern in patterns:
        before, pivot, after = pattern.partition("/./")
        for start in matches(before) if pivot else ["/"]:
            for path in matches(after if pivot else pattern, start, deep=True):
                keep(path, start, archive, excluded, there)


def keep(path: str, start: str, archive: Archive, excluded: "Excluded", there: set[str]) -> None:
    """One match, and what is below it, with the folders that lead to it from ``start``."""
    parts = [] if path == start else os.path.relpath(path, start).split("/")
    is_folder = os.path.isdir(path) and not os.path.islink(path)
    below = walk(path, "".join(f"{part}/" for part in parts)) if is_folder else iter(())
    above = ["/".join(parts[:length]) for length in range(1, len(parts) + 1)]
    for place, name in [*((os.path.join(start, name), name) for name in above), *below]:
        if name not in there and not excluded(name):
            there.add(name)
            add(archive, place, name)


def matches(pattern: str, start: str = "/", *, deep: bool = False) -> list[str]:
    """What a pattern names from ``start`` on. ``deep``: ``**`` is any number of folders, none included."""
    found = [start]
    for part in parts_of(pattern):
        if deep and part == "**":
            found = [each for path in found for each in (path, *folders_below(path))]
        elif MAGIC.search(part):
            known = compiled(part)
            found = [os.path.join(path, name) for path in found for name in names_in(path) if known.fullmatch(name)]
        else:
            name = re.sub(r"\\(.)", r"\1", part)
            found = [each for path in found if os.path.lexists(each := os.path.join(path, name))]
    if not MAGIC.search(pattern):
        found = [each for each in found if os.path.exists(each)]
    if not found:
        raise Missing(f"{pattern} {'matches nothing' if MAGIC.search(pattern) else 'is not there'}")
    return list(dict.fromkeys(found))


def parts_of(pattern: str) -> list[str]:
    parts: list[str] = []
    for part in pattern.split("/"):
        if part == "..":
            if not parts:
                raise Missing(f"{pattern} leads out of what is copied from")
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return parts


def names_in(path: str) -> list[str]:
    return sorted(os.listdir(path)) if os.path.isdir(path) else []


def folders_below(path: str) -> Iterator[str]:
    for below, _relative in walk(path, "") if os.path.isdir(path) else ():
        if os.path.isdir(below) and not os.path.islink(below):
            yield below


def compiled(pattern: str) -> "re.Pattern[str]":
    """As ``filepath.Match`` of Go reads it, with ``**`` and the slashes around it as .dockerignore has them."""
    text = ""
    for part in TOKEN.findall(pattern):
        if part == "**/":
            text += "(?:.*/)?"
        elif part == "**":
            text += ".*"
        elif part == "*":
            text += "[^/]*"
        elif part == "?":
            text += "[^/]"
        elif len(part) > 2 and part[0] == "[":
            text += "[" + ("^" if part[1] == "^" else "") + part[1 + (part[1] == "^") : -1].replace("[", "\\[") + "]"
        else:
            text += re.escape(part[-1] if part[0] == "\\" else part)
    try:
        return re.compile(text, re.DOTALL)
    except re.error as error:
        raise Missing(f"{pattern} is not a pattern") from error


class Excluded:
    """Whether a path, or a folder that it is in, is left out: the last pattern that says anything counts."""

    def __init__(self, patterns: "list[str] | tuple[str, ...]") -> None:
        cleaned = [(each.startswith("!"), "/".join(parts_of(each.removeprefix("!")))) for each in patterns]
        self._rules = [(keeps, compiled(text)) for keeps, text in cleaned if text]

    def __call__(self, path: str) -> bool:
        parts, left_out = path.split("/"), False
        for keeps, rule in self._rules:
            if left_out == keeps and any(rule.fullmatch("/".join(parts[: at + 1])) for at in range(len(parts))):
                left_out = not keeps
        return left_out


def changed(text: str, member: tarfile.TarInfo) -> int:
    """The mode after what chmod would do, which ``text`` was found to be."""
    mode = member.mode
    for who, operations in CLAUSE.findall(text):
        masks = [MASKS[each] for each in MASKS if each in who or not who or "a" in who]
        for operator, letters in re.findall(r"([-+=])([rwxXst]*)", operations):
            bits = 0
            for mask, special in masks:
                wanted = {"r": 0o444, "w": 0o222, "x": 0o111, "X": 0o111 if member.isdir() or mode & 0o111 else 0}
                bits |= sum({wanted[letter] & mask for letter in letters if letter in wanted})
                bits |= special if "s" in letters else 0
            bits |= 0o1000 if "t" in letters else 0
            whole = 0
            for mask, special in masks:
                whole |= mask | special
            mode = mode | bits if operator == "+" else mode & ~bits if operator == "-" else mode & ~whole | bits
    return mode


def walk(folder: str, prefix: str) -> Iterator[tuple[str, str]]:
    for name in sorted(os.listdir(folder)):
        path, relative = os.path.join(folder, name), f"{prefix}{name}"
        yield path, relative
        if os.path.isdir(path) and not os.path.islink(path):
            yield from walk(path, f"{relative}/")


def add(archive: Archive, path: str, name: str) -> None:
    status = os.lstat(path)
    member = tarfile.TarInfo(name)
    member.mode, member.uid, member.gid = stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid
    member.mtime = int(status.st_mtime)
    headers: dict[str, str] = {}
    member.pax_headers = headers
    if stat.S_ISLNK(status.st_mode):
        member.type, member.linkname = tarfile.SYMTYPE, os.readlink(path)
    elif stat.S_ISDIR(status.st_mode):
        member.type = tarfile.DIRTYPE
    elif stat.S_ISREG(status.st_mode):
        member.size = status.st_size
    elif stat.S_ISFIFO(status.st_mode):
        member.type = tarfile.FIFOTYPE
    else:
        return  # Sockets and device nodes are nothing that can be copied.
    if not stat.S_ISLNK(status.st_mode):
        for key in os.listxattr(path, follow_symlinks=False):
            if key.startswith(KEPT_XATTRS):
                value = os.getxattr(path, key, follow_symlinks=False)
                headers[XATTR + key] = value.decode("utf-8", "surrogateescape")
    if not member.isreg():
        archive.add(member, None)
        return
    inode = (status.st_dev, status.st_ino) if status.st_nlink > 1 else None
    before = archive.name_of(inode)
    if before is not None and before != name:
        member.type, member.linkname, member.size = tarfile.LNKTYPE, before, 0
        archive.add(member, None)
        return
    with open(path, "rb") as file:
        archive.add(member, file, inode)


def is_archive(path: str) -> bool:
    try:
        with tarfile.open(path, "r:*") as archive:
            return archive.next() is not None
    except (tarfile.TarError, OSError, EOFError, ValueError):
        return False


def extract(archive: Archive, path: str) -> None:
    with tarfile.open(path, "r:*", errors="surrogateescape") as source:
        for member in source:
            source.members.clear()  # type: ignore[attr-defined]  # Kept for random access, which nobody needs.
            archive.add(member, source.extractfile(member) if member.isreg() else None)


def tell(document: dict[str, Any]) -> None:
    sys.stderr.write(json.dumps(document) + "\n")
    sys.stderr.flush()


def main() -> int:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.setrecursionlimit(10_000)
    order = json.load(sys.stdin)
    "".encode("idna")  # Loaded now: there is nothing to load it from later.
    archive = Archive(order)
    os.chroot(order["root"])
    os.chdir("/")
    try:
        single = pack(order, archive)
        archive.close()
    except BrokenPipeError:
        os._exit(NOT_READ)  # Whoever reads it says why it has stopped.
    except Missing as error:
        tell({"error": str(error), "kind": "missing"})
        return 1
    except (OSError, tarfile.TarError, EOFError, ValueError, RecursionError) as error:
        tell({"error": f"Cannot read what is to be copied: {error}", "kind": "invalid"})
        return 1
    tell({"done": {"digest": archive.digest.hexdigest(), "entries": archive.entries, "single": single}})
    return 0


if __name__ == "__main__":
    sys.exit(main())
