"""Operations on files, each with the rights of the user who asked."""

import builtins
import contextlib
import errno
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from typing import Any

from ..protocol import Message, Stream
from . import search
from .errors import AgentError
from .request import Request, check_path
from .upload import make_folders
from .users import User, Users
from .workers import Stop, Workers

MAX_DEPTH = 64
MAX_ENTRIES = 100_000  # that a search finds
MAX_ANSWER = 24 << 20  # bytes
MODE_BITS = 0o7777
KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}


class Files:
    def __init__(self, users: Users, workers: Workers) -> None:
        self._users = users
        self._workers = workers

    def user(self, request: Request) -> User:
        """Who asked; root where no user is named."""
        name = request.optional_text("user")
        return self._users.find(name) if name else self._users.named("root")

    def _path(self, request: Request, user: User, name: str = "path") -> str:
        return check_path(user.resolve(request.path(name)))

    def describe(self, path: str, *, follow: bool = False) -> dict[str, Any]:
        """The entry itself, or what it points to; for a symbolic link also where it points and what is there."""
        found, link = os.lstat(path), {}
        if stat.S_ISLNK(found.st_mode):
            link = {"target": os.readlink(path), "target_kind": None}
            with contextlib.suppress(OSError):
                link["target_kind"] = _kind(os.stat(path))
            if follow:
                found = os.stat(path)
        return {
            "path": path,
            "name": os.path.basename(path.rstrip("/")) or "/",
            "kind": _kind(found),
            "size": found.st_size,
            "mode": found.st_mode & MODE_BITS,
            "uid": found.st_uid,
            "gid": found.st_gid,
            "owner": self._users.user_name(found.st_uid),
            "group": self._users.group_name(found.st_gid),
            "modified_at": found.st_mtime,
            "changed_at": found.st_ctime,
            "accessed_at": found.st_atime,
            **link,
        }

    async def at(self, request: Request, look: Callable[[str], bool]) -> bool:
        """What ``look`` says of the request's path, on a thread, with its user's rights."""
        user = self.user(request)
        path = self._path(request, user)
        return await self._workers.call(user, lambda: look(path))

    # -- operations -------------------------------------------------------------------------------------------------

    async def stat(self, stream: Stream, request: Request) -> dict[str, Any]:
        user = self.user(request)
        path, follow = self._path(request, user), request.flag("follow", True)
        return await self._workers.call(user, lambda: self.describe(path, follow=follow))

    async def list(self, stream: Stream, request: Request) -> Message:
        """Everything below a folder, to a depth; what cannot be read further down is left out. The entries come as
        JSON in the body: encoded one by one they take a fraction of the memory."""
        user, stop = self.user(request), Stop()
        path, depth = self._path(request, user), request.integer("depth", 1, MAX_DEPTH, 1)

        def collect() -> bytes:
            entries: builtins.list[bytes] = []
            size = 0
            for entry in walk(path, depth, stop):
                with contextlib.suppress(FileNotFoundError):
                    entries.append(json.dumps(self.describe(entry.path), separators=(",", ":")).encode())
                    size += len(entries[-1]) + 1
                if size > MAX_ANSWER:
                    raise AgentError("too_large", f"too many entries below {path}")
            return b"[%s]" % b",".join(entries)

        return Message({}, await self._workers.call(user, collect, stop))

    async def mkdir(self, stream: Stream, request: Request) -> dict[str, Any]:
        user = self.user(request)
        path, mode = self._path(request, user), request.integer("mode", 0, MODE_BITS, 0o755)
        parents, exist_ok = request.flag("parents", True), request.flag("exist_ok", True)

        def make() -> dict[str, Any]:
            if parents:
                make_folders(os.path.dirname(path.rstrip("/")) or "/")
            try:
                os.mkdir(path)
                os.chmod(path, mode)  # the process's mask does not apply to what was asked for
            except FileExistsError:
                if not exist_ok or not os.path.isdir(path):
                    raise
            return self.describe(path)

        return await self._workers.call(user, make)

    async def move(self, stream: Stream, request: Request) -> dict[str, Any]:
        user = self.user(request)
        source, target = self._path(request, user, "source"), self._path(request, user, "target")
        overwrite = request.flag("overwrite", True)

        def move() -> dict[str, Any]:
            os.lstat(source)
            if not overwrite and os.path.lexists(target):
                raise FileExistsError(errno.EEXIST, "the file exists already", target)
            try:
                os.rename(source, target)
            except OSError as error:
                if error.errno != errno.EXDEV:  # another file system, so copy and remove
                    raise
                shutil.move(source, target)
            return self.describe(target)

        return await self._workers.call(user, move)

    async def copy(self, stream: Stream, request: Request) -> dict[str, Any]:
        user, stop = self.user(request), Stop()
        source, target = self._path(request, user, "source"), self._path(request, user, "target")
        recursive, overwrite = request.flag("recursive"), request.flag("overwrite", True)

        def copy() -> dict[str, Any]:
            if not overwrite and os.path.lexists(target):
                raise FileExistsError(errno.EEXIST, "the file exists already", target)
            if os.path.isdir(source) and not os.path.islink(source):
                if not recursive:
                    raise IsADirectoryError(errno.EISDIR, "is a directory", source)
                if f"{os.path.realpath(target)}/".startswith(f"{os.path.realpath(source)}/"):
                    raise AgentError("invalid_path", "a folder cannot be copied into itself")
                _copy_tree(source, target, stop)
            else:
                _copy_file(source, target)
            return self.describe(target)

        return await self._workers.call(user, copy, stop)

    async def remove(self, stream: Stream, request: Request) -> None:
        user, stop = self.user(request), Stop()
        path, recursive = self._path(request, user), request.flag("recursive")

        def remove() -> None:
            if os.path.realpath(path) == "/" and not os.path.islink(path):
                raise AgentError("invalid_path", "the root folder cannot be removed")
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                os.unlink(path)
            elif recursive:
                shutil.rmtree(path)
            else:
                os.rmdir(path)

        await self._workers.call(user, remove, stop)

    async def chmod(self, stream: Stream, request: Request) -> None:
        user = self.user(request)
        path, mode = self._path(request, user), request.integer("mode", 0, MODE_BITS)
        await self._workers.call(user, lambda: os.chmod(path, mode))

    async def chown(self, stream: Stream, request: Request) -> None:
        user = self.user(request)
        path = self._path(request, user)
        owner, group = request.optional_text("owner"), request.optional_text("group")
        uid = self._users.find(owner).uid if owner else -1
        gid = self._users.group(group) if group else -1
        await self._workers.call(user, lambda: os.chown(path, uid, gid))

    # -- search -----------------------------------------------------------------------------------------------------

    async def glob(self, stream: Stream, request: Request) -> dict[str, Any]:
        user, stop = self.user(request), Stop()
        path, pattern = self._path(request, user), request.text("pattern")
        limit = request.integer("limit", 1, MAX_ENTRIES, MAX_ENTRIES)
        return await self._workers.call(user, lambda: {"paths": search.glob(path, pattern, limit, stop)}, stop)

    async def grep(self, stream: Stream, request: Request) -> dict[str, Any]:
        user, stop = self.user(request), Stop()
        path, pattern = self._path(request, user), request.text("pattern")
        limit = request.integer("limit", 1, MAX_ENTRIES, MAX_ENTRIES)
        return await self._workers.call(user, lambda: {"matches": search.grep(path, pattern, limit, stop)}, stop)

    async def replace(self, stream: Stream, request: Request) -> dict[str, Any]:
        user, stop = self.user(request), Stop()
        paths = [check_path(user.resolve(check_path(path))) for path in request.texts("files")]
        pattern, new = request.text("pattern"), request.text("new")
        if not pattern:
            raise AgentError("invalid_input", "pattern: empty")
        replace = search.replace
        return await self._workers.call(user, lambda: {"results": replace(paths, pattern, new, stop)}, stop)


def _kind(found: os.stat_result) -> str:
    return KINDS.get(stat.S_IFMT(found.st_mode), "other")


def walk(path: str, depth: int, stop: Stop) -> Iterator[os.DirEntry[str]]:
    """Entries below a folder, sorted, a folder before what is in it; links are not followed. The first folder must be
    readable, others are passed over."""
    with os.scandir(path) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if stop.wanted:
            return
        yield entry
        if depth > 1 and entry.is_dir(follow_symlinks=False):
            with contextlib.suppress(OSError):
                yield from walk(entry.path, depth - 1, stop)


def _copy_file(source: str, target: str) -> None:
    if os.path.isdir(target):
        target = os.path.join(target, os.path.basename(source))
    found = os.stat(source)
    if not stat.S_ISREG(found.st_mode):
        raise AgentError("invalid_path", f"not a regular file: {source}")
    try:
        shutil.copy2(source, target, follow_symlinks=True)
    except shutil.SameFileError as error:
        raise AgentError("invalid_path", "source and target are the same file") from error


def _copy_tree(source: str, target: str, stop: Stop) -> None:
    os.makedirs(target, exist_ok=True)
    shutil.copystat(source, target)
    with os.scandir(source) as found:
        entries = list(found)
    for entry in entries:
        if stop.wanted:
            return
        there = os.path.join(target, entry.name)
        if entry.is_symlink():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(there)
            os.symlink(os.readlink(entry.path), there)
        elif entry.is_dir():
            _copy_tree(entry.path, there, stop)
        elif entry.is_file():
            _copy_file(entry.path, there)
