"""A program of its own: what a COPY or ADD names in one folder, as a tar archive, or as a digest of it.

Standard library only, contained like ``unpack.py``: it shuts itself into the folder, so that no pattern, path or link
leads out of it. Reads one JSON document from standard input: ``root``; ``patterns``, as Go's ``filepath.Match`` has
them; ``extract``: archives among the files are taken apart; ``mode``, of every file; ``owned``: owners are kept, they
are root's otherwise; ``digest``: no archive, but the SHA-256 of what would be in it, times left out.

The archive goes to standard output, JSON lines to standard error: at last {"done": {"digest", "entries", "single"}} or
{"error", "kind"}; ``single`` when it is one file, which may get another name.
"""

import bz2  # noqa: F401 - what archives are read with is loaded before there is no library to load it from
import glob
import hashlib
import json
import lzma  # noqa: F401
import os
import resource
import stat
import sys
import tarfile
import zlib  # noqa: F401
from collections.abc import Iterator
from typing import IO, Any

CHUNK = 1 << 20  # bytes
MEMORY = 1 << 30  # bytes of address space
XATTR = "SCHILY.xattr."
NOT_READ = 32  # exit code
KEPT_XATTRS = ("user.", "security.capability")


class Missing(Exception):
    """A pattern that nothing matches, or a path that is none."""


class Archive:
    """Either writes an archive or takes its digest."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._mode, self._owned = order.get("mode"), order.get("owned", False)
        self.digest = hashlib.sha256()
        self.entries = 0
        self._tar: tarfile.TarFile | None = None
        if not order["digest"]:
            settings: dict[str, Any] = {"format": tarfile.PAX_FORMAT, "bufsize": CHUNK, "errors": "surrogateescape"}
            self._tar = tarfile.open(fileobj=sys.stdout.buffer, mode="w|", **settings)  # noqa: SIM115 - see close

    def close(self) -> None:
        if self._tar is not None:
            self._tar.close()
            sys.stdout.buffer.flush()

    def add(self, member: tarfile.TarInfo, content: IO[bytes] | None) -> None:
        self.entries += 1
        if not self._owned:
            member.uid = member.gid = 0
        member.uname = member.gname = ""
        if self._mode is not None and not member.issym():
            member.mode = self._mode
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
    found = [path for pattern in order["patterns"] for path in matches(pattern)]
    single = len(found) == 1
    for path in found:
        status = os.stat(path)
        name = os.path.basename(path)
        if stat.S_ISDIR(status.st_mode):
            single = False
            for below, relative in walk(path, ""):
                add(archive, below, relative)
        elif order.get("extract") and stat.S_ISREG(status.st_mode) and is_archive(path):
            single = False
            extract(archive, path)
        else:
            add(archive, os.path.realpath(path), name)
    return single


def matches(pattern: str) -> list[str]:
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise Missing(f"{pattern} leads out of what is copied from")
    path = "/" + "/".join(parts)
    if not glob.has_magic(path):
        if not os.path.exists(path):
            raise Missing(f"{pattern} is not there")
        return [path]
    found = sorted(glob.glob(path, include_hidden=True))
    if not found:
        raise Missing(f"{pattern} matches nothing")
    return [each for each in found if os.path.exists(each) or os.path.islink(each)]


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
    if member.isreg():
        with open(path, "rb") as file:
            archive.add(member, file)
    else:
        archive.add(member, None)


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
