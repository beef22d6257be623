"""A program of its own: lays the layers of an image over each other in one folder, which is all that it can write to.

Standard library only. It is started with few capabilities, without a network, in namespaces of its own; it opens
nothing but the descriptors it is handed, and shuts itself into the folder before it looks at the first byte of a layer.
So a path or a link in a layer can lead nowhere else, whatever it says.

Reads one JSON document from standard input: ``root``; ``layers``, each with ``descriptor``, ``digest`` and ``diff_id``
(SHA-256, hexadecimal), ``size`` (bytes, as it is stored) and ``compression`` ("", "gzip" or "zstd"); ``unpacked``
(bytes) and ``files``, the limits. With ``descriptor`` null, the layer's is received over the socket
``socket``. A layer without ``size`` is a tar archive that comes through a pipe, without whiteouts: it goes to folder
``target``, or with ``as_file`` its one file becomes that path (or goes into it, where it is a folder), and ``owner``
("USER:GROUP", names or numbers of the root itself) is everybody's. With ``strict``, no folder takes the place of a file
or a link, nor the other way round. ``folders`` are made where they are missing, for ``owner``.

Writes JSON lines: {"bytes": so far} now and then, at last {"done": ...} or {"error": ...}.
"""

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import queue
import resource
import shutil
import socket
import stat
import subprocess
import sys
import tarfile
import threading
import zlib
from collections.abc import Iterator
from typing import IO, Any

CHUNK = 1 << 20  # bytes
HOLE = 64 << 10  # bytes of zeros that become a hole
MEMORY = 1 << 30  # bytes of address space
REPORT_EVERY = 16 << 20  # bytes
WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
XATTR = "SCHILY.xattr."
KEPT_XATTRS = ("user.", "security.capability")
OWNERS = 4 << 20  # bytes of /etc/passwd that are read
MAX_DEPTH = 255  # components of a path
SLACK = 64 << 20  # bytes that a layer's archive may be larger than what is in it, for headers and padding


class Bad(Exception):
    """``kind`` is "invalid", "damaged", "too_large" or "conflict"."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Unpacked(threading.Thread):
    """A layer's bytes, checked and uncompressed, at the other end of a pipe."""

    def __init__(self, layer: dict[str, Any], limit: int) -> None:
        super().__init__(daemon=True)
        self._layer, self._limit = layer, limit
        self._tool: subprocess.Popen[bytes] | None = None
        self._queue: queue.Queue[bytes | None] = queue.Queue(8)
        self.failure: BaseException | None = None
        self._data, self._used, self._position = b"", 0, 0
        self._content = hashlib.sha256()
        self._produced = 0
        self.piped = layer["size"] is None
        if layer["compression"] == "zstd":
            self._tool = subprocess.Popen(["zstd", "-dcq"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(self) -> None:
        try:
            if self._layer["descriptor"] is None:
                self._layer["descriptor"] = received(self._layer["socket"])
            if self._tool is None:
                self._inflate()
            else:
                self._through(self._tool)
            os.close(self._layer["descriptor"])  # Whoever sends more than was said shall know.
        except BaseException as error:  # noqa: BLE001 - carried to the thread that reads
            self.failure = error
        self._queue.put(None)

    def read(self, size: int) -> bytes:
        """As a file's; the end of a layer that fails looks like any end, so look at ``failure`` then."""
        pieces = []
        while size > 0:
            data, start, stop = self._take(size)
            if start == stop:
                break
            pieces.append(data if stop - start == len(data) else data[start:stop])
            size -= stop - start
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> int:
        """Forwards alone, which is all that ``tarfile`` needs for reading members in their order."""
        while self._position < position:
            _data, start, stop = self._take(position - self._position)
            if start == stop:
                break
        return self._position

    def seekable(self) -> bool:
        return True

    def pour(self, file: int, size: int) -> None:
        """The next ``size`` bytes into a file, as they lie here: no copy is made of them."""
        left = size
        while left:
            data, start, stop = self._take(left)
            if start == stop:
                raise self.failure or Bad("damaged", "A layer ends in the middle of a file")
            write(file, data, start, stop)
            left -= stop - start
        os.ftruncate(file, size)

    def _take(self, most: int) -> tuple[bytes, int, int]:
        """What comes next: that part of those bytes, at most so many; nothing at the end."""
        if self._used == len(self._data):
            data = self._queue.get()
            if data is None:
                self._queue.put(None)
                return b"", 0, 0
            self._data, self._used = data, 0
        start, stop = self._used, min(self._used + most, len(self._data))
        self._used = stop
        self._position += stop - start
        return self._data, start, stop

    def finish(self) -> None:
        """Take what is left, and see that all of it was what it should be."""
        while self._take(CHUNK)[2]:
            pass
        if self.failure is not None:
            raise self.failure
        if self._layer["size"] is not None and self._content.hexdigest() != self._layer["diff_id"]:
            raise Bad("damaged", "A layer's content is not what the image's configuration says (diff_id)")

    def _stored(self) -> Iterator[bytes]:
        if self._layer["size"] is None:
            while data := os.read(self._layer["descriptor"], CHUNK):
                yield data
            return
        plain, left = self._layer["compression"] == "", self._layer["size"]
        digest = self._content if plain else hashlib.sha256()  # The same bytes are not looked at twice.
        while left > 0 and (data := os.read(self._layer["descriptor"], min(CHUNK, left))):
            if not plain:
                digest.update(data)
            left -= len(data)
            yield data
        if left:
            raise Bad("damaged", f"A layer is cut short: {left} bytes are missing")
        if digest.hexdigest() != self._layer["digest"]:
            raise Bad("damaged", "A layer's digest is not the one in the manifest")

    def _inflate(self) -> None:
        plain = self._layer["compression"] == ""
        engine = zlib.decompressobj(31)
        for data in self._stored():
            if plain:
                self._put(data)
                continue
            while data:
                if engine.eof:
                    engine = zlib.decompressobj(31)
                self._put(engine.decompress(data, CHUNK))
                while engine.unconsumed_tail:
                    self._put(engine.decompress(engine.unconsumed_tail, CHUNK))
                data = engine.unused_data
        if not plain and not engine.eof:
            raise Bad("damaged", "A layer's compressed data ends too early")

    def _through(self, tool: "subprocess.Popen[bytes]") -> None:
        assert tool.stdin
        assert tool.stdout
        source, failures = tool.stdin, list[BaseException]()

        def feed() -> None:
            try:
                with source:
                    for data in self._stored():
                        source.write(data)
            except BaseException as error:  # noqa: BLE001 - carried to the thread that began this one
                failures.append(error)

        feeder = threading.Thread(target=feed, daemon=True)
        feeder.start()
        while data := tool.stdout.read(CHUNK):
            self._put(data)
        feeder.join()
        code = tool.wait()
        for failure in failures:  # For want of the rest of its data the tool ends with an error, too.
            if code == 0 or not isinstance(failure, BrokenPipeError):
                raise failure
        if code != 0:
            raise Bad("damaged", "A layer's compressed data is damaged")

    def _put(self, data: bytes) -> None:
        self._produced += len(data)
        if self._produced > self._limit:
            raise Bad("too_large", "A layer is larger than allowed when it is unpacked")
        self._content.update(data)
        if data:
            self._queue.put(data)


def received(number: int) -> int:
    """The next layer's descriptor."""
    with socket.socket(fileno=os.dup(number)) as sender:
        _data, descriptors, _flags, _address = socket.recv_fds(sender, 1, 1)
    if not descriptors:
        raise Bad("damaged", "A layer is missing")
    return descriptors[0]


class Place:
    """Where a plain archive goes."""

    def __init__(self, target: str, as_file: bool, owner: tuple[int, int] | None, strict: bool) -> None:
        self._target, self.owner, self.strict = target.rstrip("/"), owner, strict
        self._as_file = as_file and not os.path.isdir(target)

    @classmethod
    def of(cls, order: dict[str, Any]) -> "Place":
        """From within the root: names of owners are looked up in its own files."""
        owner = order.get("owner")
        target, as_file = clean(order.get("target", "/")), order.get("as_file", False)
        return cls(target, as_file, owner_of(owner) if owner else None, order.get("strict", False))

    def path(self, name: str) -> str:
        return self._target if self._as_file else self._target + clean(name)


def owner_of(text: str) -> tuple[int, int]:
    """Of "USER", "USER:GROUP", or numbers; without a group it is the user's number, as for root."""
    user, _, group = text.partition(":")
    uid = int(user) if user.isdigit() else number_of("/etc/passwd", user)
    if not group:
        return uid, primary_group(user) if not user.isdigit() else uid
    return uid, int(group) if group.isdigit() else number_of("/etc/group", group)


def number_of(path: str, name: str) -> int:
    for row in rows_of(path):
        if row[0] == name and row[2].isdigit():
            return int(row[2])
    raise Bad("invalid", f"There is no {shown(name)} in the image's {path}")


def primary_group(user: str) -> int:
    return next((int(row[3]) for row in rows_of("/etc/passwd") if row[0] == user and row[3].isdigit()), 0)


def rows_of(path: str) -> list[list[str]]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            rows = [line.rstrip("\n").split(":") for line in file.read(OWNERS).splitlines()]
    except OSError:
        return []
    return [row for row in rows if len(row) > 3 or (len(row) == 3 and path.endswith("group"))]


class Tree:
    """The folder, from within."""

    def __init__(self, unpacked: int, files: int) -> None:
        self._bytes_left, self._files_left = unpacked, files
        self._place: Place | None = None
        self._reported = self.written = self.entries = 0
        self._new: set[str] = set()
        self._folders: dict[str, tarfile.TarInfo] = {}
        self._last_folder: str | None = None  # known to be there

    def apply(self, stream: Unpacked, archive: tarfile.TarFile, place: Place | None) -> None:
        self._stream, self._place = stream, place
        self._new.clear()
        self._folders.clear()
        for member in archive:
            archive.members.clear()  # type: ignore[attr-defined]  # Kept for random access, which nobody needs.
            self._files_left -= 1
            if self._files_left < 0:
                raise Bad("too_large", "The image has more files than allowed")
            self._take(archive, member)
        for path in sorted(self._folders, reverse=True):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                os.utime(path, (self._folders[path].mtime,) * 2, follow_symlinks=False)

    def _take(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        path = clean(member.name) if self._place is None else self._place.path(member.name)
        folder, name = os.path.split(path)
        if name.startswith(WHITEOUT) and self._place is None:
            self._whiteout(folder, name)
            return
        if member.isdev() and not member.isfifo():
            if path.startswith("/dev/"):  # Every sandbox has its own.
                return
            raise Bad("invalid", f"The image has a device node at {shown(path)}; only /dev may have some")
        if path == "/":
            self._dress("/", member)
            return
        self._parents(folder)
        if not member.isfile():
            self._make_room(path, member)
        self._make(archive, member, path)
        self.entries += 1
        self._new.add(path)

    def _make(self, archive: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
        if member.isdir():
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, 0o700)
            self._folders[path] = member
        elif member.issym():
            os.symlink(member.linkname, path)
        elif member.islnk():
            try:
                target = clean(member.linkname) if self._place is None else self._place.path(member.linkname)
                os.link(target, path, follow_symlinks=False)
            except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
                raise Bad("invalid", f"{shown(path)} is a hard link to something that is not there") from error
            return
        elif member.isfifo():
            os.mkfifo(path, 0o600)
        elif member.isfile():
            self._write(archive, member, path)
            return
        else:
            raise Bad("invalid", f"{shown(path)} is of a kind that images cannot have")
        self._dress(path, member)

    def _write(self, archive: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
        self._bytes_left -= member.size
        if self._bytes_left < 0:
            raise Bad("too_large", "The image is larger than allowed when it is unpacked")
        file = self._opened(path)
        try:
            if member.issparse():
                source = archive.extractfile(member)
                assert source
                copy(source, file, member.size)
            else:
                self._stream.pour(file, member.size)
            self._dress_file(file, member)
        finally:
            os.close(file)
        self.written += member.size
        if self.written - self._reported >= REPORT_EVERY:
            self._reported = self.written
            say({"bytes": self.written})

    def _opened(self, path: str) -> int:
        """A new file in the place of whatever is there; mostly there is nothing, so that is tried first."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        try:
            return os.open(path, flags, 0o600)
        except FileExistsError:
            if self._place is not None and self._place.strict and stat.S_ISDIR(os.lstat(path).st_mode):
                raise conflict(path, "is a folder there, and a file here") from None
            self._remove(path)
            return os.open(path, flags, 0o600)

    def _owner(self, member: tarfile.TarInfo) -> tuple[int, int]:
        owner = (member.uid, member.gid)
        return owner if self._place is None else self._place.owner or owner

    def _dress(self, path: str, member: tarfile.TarInfo) -> None:
        """Owner before mode and attributes: a change of owner takes set-user-id bits and capabilities away."""
        os.chown(path, *self._owner(member), follow_symlinks=False)
        if not member.issym():
            os.chmod(path, stat.S_IMODE(member.mode))
        for key, value in attributes(member):
            with contextlib.suppress(OSError):  # Links have none, and some names mean nothing here.
                os.setxattr(path, key, value, follow_symlinks=False)
        if not member.isdir():
            os.utime(path, (member.mtime,) * 2, follow_symlinks=False)

    def _dress_file(self, file: int, member: tarfile.TarInfo) -> None:
        """As ``_dress``, by its descriptor: no path is walked again."""
        os.fchown(file, *self._owner(member))
        os.fchmod(file, stat.S_IMODE(member.mode))
        for key, value in attributes(member):
            with contextlib.suppress(OSError):
                os.setxattr(file, key, value)
        os.utime(file, (member.mtime,) * 2)

    def ensure(self, folder: str, place: Place) -> None:
        self._place = place
        self._parents(folder)

    def _parents(self, folder: str) -> None:
        """Links among them are followed, as everywhere: there is nothing outside of this folder. What a COPY makes of
        them belongs to whom it gives its files."""
        if folder == self._last_folder or os.path.isdir(folder):
            self._last_folder = folder
            return
        at = "/"
        for part in folder.split("/")[1:]:
            at = os.path.join(at, part)
            if not os.path.isdir(at):
                if os.path.lexists(at):
                    at = self._instead(at)
                os.makedirs(at, 0o755)
                if self._place is not None and self._place.owner is not None:
                    os.chown(at, *self._place.owner)
                self._new.add(at)

    def _instead(self, path: str) -> str:
        """Where a folder is to be made, since there is something else in its place: in a layer, there; in a COPY, where
        a link leads."""
        if self._place is not None and self._place.strict:
            target = os.path.realpath(path)
            if os.path.lexists(target):
                raise conflict(path, "is a file there, and a folder here")
            return target
        os.unlink(path)
        return path

    def _make_room(self, path: str, member: tarfile.TarInfo) -> None:
        try:
            there = os.lstat(path)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(there.st_mode) and member.isdir():
            return
        if self._place is not None and self._place.strict and stat.S_ISDIR(there.st_mode) != member.isdir():
            before = (
                "a folder" if stat.S_ISDIR(there.st_mode) else "a link" if stat.S_ISLNK(there.st_mode) else "a file"
            )
            raise conflict(path, f"is {before} there, and {'a folder' if member.isdir() else 'another kind'} here")
        self._remove(path)

    def _remove(self, path: str) -> None:
        self._last_folder = None
        if stat.S_ISDIR(os.lstat(path).st_mode):
            shutil.rmtree(path)
        else:
            os.unlink(path)

    def _whiteout(self, folder: str, name: str) -> None:
        """Hides what layers below have, and not what this one has brought."""
        self._last_folder = None
        if name == OPAQUE:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                for entry in os.listdir(folder):
                    self._hide(os.path.join(folder, entry))
            return
        hidden = name.removeprefix(WHITEOUT)
        if not hidden or hidden in (".", ".."):
            raise Bad("invalid", f"An entry of the image removes something with an impossible name in {shown(folder)}")
        self._hide(os.path.join(folder, hidden))

    def _hide(self, path: str) -> None:
        if path in self._new:
            return
        try:
            if stat.S_ISDIR(os.lstat(path).st_mode):
                if any(new.startswith(path + "/") for new in self._new):
                    for entry in os.listdir(path):
                        self._hide(os.path.join(path, entry))
                else:
                    shutil.rmtree(path)
            else:
                os.unlink(path)
        except (FileNotFoundError, NotADirectoryError):
            return  # Nothing below has it.


def clean(name: str) -> str:
    """An absolute path without anything to be worked out."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise Bad("invalid", f"The path {shown(name)} leads out of the image")
    long = len(os.fsencode(name)) > MAX_DEPTH
    if long and (len(parts) > MAX_DEPTH or any(len(os.fsencode(part)) > MAX_DEPTH for part in parts)):
        raise Bad("invalid", f"The path {shown(name)} is too long")
    return "/" + "/".join(parts)


def conflict(path: str, words: str) -> Bad:
    return Bad("conflict", f"{shown(path)} {words}")


def shown(path: str) -> str:
    return ascii(path[:200])


def attributes(member: tarfile.TarInfo) -> list[tuple[str, bytes]]:
    """Its extended attributes, as far as they are kept."""
    named = ((name.removeprefix(XATTR), name, value) for name, value in member.pax_headers.items())
    kept = ((key, value) for key, name, value in named if key != name and key.startswith(KEPT_XATTRS))
    return [(key, value.encode("utf-8", "surrogateescape")) for key, value in kept]


def copy(source: IO[bytes], file: int, size: int) -> None:
    """A file that the archive has with holes in it."""
    while data := source.read(CHUNK):
        write(file, data, 0, len(data))
    if os.lseek(file, 0, os.SEEK_CUR) != size:
        raise Bad("damaged", "A layer ends in the middle of a file")
    os.ftruncate(file, size)


def write(file: int, data: bytes, start: int, stop: int) -> None:
    """That part of the data, at the file's position. Long runs of zeros become holes, whether or not the archive has
    them as such."""
    view, begun, at = memoryview(data), start, start
    while at < stop:
        end = min(at + HOLE, stop)
        if not data[at] and data.count(0, at, end) == end - at:
            put(file, view[begun:at])
            os.lseek(file, end - at, os.SEEK_CUR)
            begun = end
        at = end
    put(file, view[begun:stop])


def put(file: int, view: memoryview) -> None:
    while view:
        view = view[os.write(file, view) :]


def say(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def unpack(order: dict[str, Any], streams: list[Unpacked]) -> Tree:
    os.chroot(order["root"])
    os.chdir("/")
    give_up_chroot()
    os.umask(0)
    tree = Tree(order["unpacked"], order["files"])
    place = Place.of(order)
    for folder in order.get("folders", ()):
        tree.ensure(clean(folder), place)
    for stream in streams:
        stream.start()
        try:
            with tarfile.TarFile(fileobj=stream, errors="surrogateescape") as archive:  # type: ignore[arg-type]
                tree.apply(stream, archive, place if stream.piped else None)
        except (tarfile.TarError, EOFError, ValueError) as error:
            if stream.failure is None:
                raise Bad("damaged", f"A layer is not a tar archive: {error}") from error
        stream.finish()
    for folder in ("/etc", "/tmp"):  # noqa: S108 - every root has them
        if not os.path.lexists(folder):
            os.mkdir(folder, 0o1777 if folder == "/tmp" else 0o755)  # noqa: S108
    return tree


def give_up_chroot() -> None:
    """Nothing but the folder from here on: the way out of a chroot is another one."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    library = ctypes.CDLL(None, use_errno=True)
    if library.capget(header, data):
        raise OSError(ctypes.get_errno(), "capget")
    for index in range(3):  # effective, permitted, inheritable; CAP_SYS_CHROOT is 18
        data[index] &= ~(1 << 18)
    if library.capset(header, data):
        raise OSError(ctypes.get_errno(), "capset")


def main() -> int:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    order = json.load(sys.stdin)
    "".encode("idna")  # Loaded now: there is no library to load anything from later.
    try:
        streams = [Unpacked(layer, order["unpacked"] + SLACK) for layer in order["layers"]]
        tree = unpack(order, streams)
    except Bad as error:
        say({"error": str(error), "kind": error.kind})
        return 1
    except zlib.error as error:
        say({"error": f"A layer's compressed data is damaged: {error}", "kind": "damaged"})
        return 1
    except MemoryError:
        say({"error": "A layer has headers of an absurd size", "kind": "invalid"})
        return 1
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        message = "The image does not fit on the disk" if full else f"The image cannot be unpacked: {error}"
        say({"error": message, "kind": "too_large" if full else "invalid"})
        return 1
    say({"done": {"bytes": tree.written, "files": tree.entries}})
    return 0


if __name__ == "__main__":
    sys.exit(main())
