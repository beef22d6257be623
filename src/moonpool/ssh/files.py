"""SFTP, and scp by it, over the agent's files: everything is done with the rights of the sandbox's user."""

import posixpath
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any

import asyncssh
from asyncssh import SFTPAttrs, SFTPName
from asyncssh.constants import (
    FILEXFER_TYPE_DIRECTORY,
    FILEXFER_TYPE_REGULAR,
    FILEXFER_TYPE_SPECIAL,
    FILEXFER_TYPE_SYMLINK,
)

from moonpool import errors
from moonpool.guest.client import AgentClient
from moonpool.guest.model import FileInfo, ProcessSpec
from moonpool.ssh.handles import ReadHandle, WriteHandle

Visit = Callable[[], AbstractAsyncContextManager[tuple[AgentClient, str]]]

TYPES = {"file": stat.S_IFREG, "directory": stat.S_IFDIR, "symlink": stat.S_IFLNK, "other": stat.S_IFIFO}
# What the older scp goes by, and later versions of SFTP; OpenSSH's goes by the permissions.
WORDS = {
    "file": FILEXFER_TYPE_REGULAR,
    "directory": FILEXFER_TYPE_DIRECTORY,
    "symlink": FILEXFER_TYPE_SYMLINK,
    "other": FILEXFER_TYPE_SPECIAL,
}
FAILURES: tuple[tuple[type[errors.MoonpoolError], Callable[[str], asyncssh.SFTPError]], ...] = (
    (errors.FileNotFound, asyncssh.SFTPNoSuchFile),
    (errors.NotADirectory, asyncssh.SFTPNoSuchFile),
    (errors.AccessDenied, asyncssh.SFTPPermissionDenied),
    (errors.AgentUnavailable, asyncssh.SFTPConnectionLost),
    (errors.InvalidState, asyncssh.SFTPConnectionLost),
    (errors.MoonpoolError, asyncssh.SFTPFailure),
)
COMMAND_TIMEOUT = 30.0  # seconds


@contextmanager
def in_sftp_words() -> Iterator[None]:
    try:
        yield
    except errors.MoonpoolError as error:
        kind = next(wire for ours, wire in FAILURES if isinstance(error, ours))
        raise kind(error.message) from error


class SandboxFiles(asyncssh.SFTPServer):
    """Paths that do not begin with a slash are below the user's home."""

    def __init__(self, chan: Any, visit: Visit) -> None:
        super().__init__(chan)
        self._visit = visit
        self._home = ""

    # -- names ---------------------------------------------------------------------------------------------------------

    async def _path(self, path: bytes) -> str:
        text = path.decode(errors="surrogateescape")
        if not text.startswith("/"):
            text = posixpath.join(await self._home_folder(), text)
        return posixpath.normpath(text)

    async def _home_folder(self) -> str:
        if not self._home:
            result = await self._run("pwd")
            self._home = result.strip() or "/"
        return self._home

    async def realpath(self, path: bytes) -> bytes:
        return (await self._path(path)).encode(errors="surrogateescape")

    # -- what is there -------------------------------------------------------------------------------------------------

    async def stat(self, path: bytes) -> SFTPAttrs:
        return attributes(await self._info(path, follow=True))

    async def lstat(self, path: bytes) -> SFTPAttrs:
        return attributes(await self._info(path, follow=False))

    async def fstat(self, file_obj: object) -> SFTPAttrs:
        if isinstance(file_obj, WriteHandle):
            permissions = stat.S_IFREG | (file_obj.mode or 0o644)
            return SFTPAttrs(type=FILEXFER_TYPE_REGULAR, size=file_obj.size, permissions=permissions)
        assert isinstance(file_obj, ReadHandle)
        return attributes(file_obj.info)

    async def scandir(self, path: bytes) -> AsyncIterator[SFTPName]:
        where = await self._path(path)
        with in_sftp_words():
            async with self._visit() as (agent, user):
                entries = await agent.list(where, user=user)
        for name in (b".", b".."):
            yield SFTPName(name, attrs=SFTPAttrs(type=FILEXFER_TYPE_DIRECTORY, permissions=stat.S_IFDIR | 0o755))
        for entry in entries:
            yield SFTPName(entry.name.encode(errors="surrogateescape"), attrs=attributes(entry))

    async def readlink(self, path: bytes) -> bytes:
        info = await self._info(path, follow=False)
        if info.target is None:
            raise asyncssh.SFTPFailure("Not a symbolic link")
        return info.target.encode(errors="surrogateescape")

    async def _info(self, path: bytes, *, follow: bool) -> FileInfo:
        where = await self._path(path)
        with in_sftp_words():
            async with self._visit() as (agent, user):
                return await agent.stat(where, follow=follow, user=user)

    # -- contents ------------------------------------------------------------------------------------------------------

    async def open(self, path: bytes, pflags: int, attrs: SFTPAttrs) -> object:
        where = await self._path(path)
        mode = None if attrs.permissions is None else stat.S_IMODE(attrs.permissions)
        with in_sftp_words():
            if not pflags & (asyncssh.FXF_WRITE | asyncssh.FXF_APPEND):
                return await ReadHandle.open(self._visit, where)
            found = await self._found(where)
            if found is None and not pflags & asyncssh.FXF_CREAT:
                raise errors.FileNotFound
            if found is not None and pflags & asyncssh.FXF_EXCL:
                raise errors.FileExists
            keep = found.size if found is not None and not pflags & asyncssh.FXF_TRUNC else 0
            return await WriteHandle.open(self._visit, where, mode, keep, append=bool(pflags & asyncssh.FXF_APPEND))

    async def _found(self, path: str) -> FileInfo | None:
        async with self._visit() as (agent, user):
            try:
                return await agent.stat(path, user=user)
            except errors.FileNotFound:
                return None

    async def read(self, file_obj: object, offset: int, size: int) -> bytes:
        assert isinstance(file_obj, ReadHandle)
        with in_sftp_words():
            return await file_obj.read(offset, size)

    async def write(self, file_obj: object, offset: int, data: bytes) -> int:
        assert isinstance(file_obj, WriteHandle)
        with in_sftp_words():
            return await file_obj.write(offset, data)

    async def close(self, file_obj: object) -> None:
        if not isinstance(file_obj, WriteHandle):
            return
        with in_sftp_words():
            if self.channel.is_closing():  # The client is gone in the middle of it.
                await file_obj.give_up()
            else:
                await file_obj.close()

    async def fsync(self, file_obj: object) -> None:
        """A file is on the disk once it is closed."""

    def exit(self) -> None:
        """Its client wants to hear that all is well: scp does."""
        if not self.channel.is_closing():
            self.channel.exit(0)

    # -- changes -------------------------------------------------------------------------------------------------------

    async def setstat(self, path: bytes, attrs: SFTPAttrs) -> None:
        await self._set(await self._path(path), attrs)

    async def fsetstat(self, file_obj: object, attrs: SFTPAttrs) -> None:
        """Of a file that is just being written: when it is whole."""
        if isinstance(file_obj, WriteHandle):
            file_obj.when_closed(lambda path: self._set(path, attrs))
        else:
            assert isinstance(file_obj, ReadHandle)
            await self._set(file_obj.info.path, attrs)

    async def _set(self, path: str, attrs: SFTPAttrs) -> None:
        with in_sftp_words():
            async with self._visit() as (agent, user):
                if attrs.permissions is not None:
                    await agent.chmod(path, stat.S_IMODE(attrs.permissions), user=user)
                if attrs.uid is not None and attrs.gid is not None:
                    await agent.chown(path, str(attrs.uid), str(attrs.gid), user=user)
        if attrs.size is not None:
            await self._run("truncate", "-s", str(attrs.size), "--", path)
        if attrs.mtime is not None:
            await self._run("touch", "-c", "-d", f"@{int(attrs.mtime)}", "--", path)

    async def remove(self, path: bytes) -> None:
        if (await self._info(path, follow=False)).kind == "directory":
            raise asyncssh.SFTPFailure("Is a directory")
        await self._remove(path)

    async def rmdir(self, path: bytes) -> None:
        if (await self._info(path, follow=False)).kind != "directory":
            raise asyncssh.SFTPFailure("Not a directory")
        await self._remove(path)

    async def _remove(self, path: bytes) -> None:
        where = await self._path(path)
        with in_sftp_words():
            async with self._visit() as (agent, user):
                await agent.remove(where, user=user)

    async def mkdir(self, path: bytes, attrs: SFTPAttrs) -> None:
        where = await self._path(path)
        mode = 0o755 if attrs.permissions is None else stat.S_IMODE(attrs.permissions)
        with in_sftp_words():
            async with self._visit() as (agent, user):
                await agent.mkdir(where, mode, parents=False, exist_ok=False, user=user)

    async def rename(self, oldpath: bytes, newpath: bytes) -> None:
        await self._move(oldpath, newpath, overwrite=False)

    async def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        await self._move(oldpath, newpath, overwrite=True)

    async def _move(self, old: bytes, new: bytes, *, overwrite: bool) -> None:
        source, target = await self._path(old), await self._path(new)
        with in_sftp_words():
            async with self._visit() as (agent, user):
                await agent.move(source, target, overwrite, user=user)

    async def symlink(self, oldpath: bytes, newpath: bytes) -> None:
        target = oldpath.decode(errors="surrogateescape")
        await self._run("ln", "-s", "-T", "--", target, await self._path(newpath))

    async def link(self, oldpath: bytes, newpath: bytes) -> None:
        await self._run("ln", "-T", "--", await self._path(oldpath), await self._path(newpath))

    async def _run(self, *argv: str) -> str:
        """One of the image's own programs, for what the agent has no words for."""
        with in_sftp_words():
            async with self._visit() as (agent, user):
                result = await agent.run(ProcessSpec(argv=argv, user=user, timeout=COMMAND_TIMEOUT))
        if result.exit_code:
            raise asyncssh.SFTPFailure(result.stderr.decode(errors="replace").strip())
        return result.stdout.decode(errors="surrogateescape")


def attributes(info: FileInfo) -> SFTPAttrs:
    return SFTPAttrs(
        type=WORDS[info.kind],
        size=info.size,
        uid=info.uid,
        gid=info.gid,
        permissions=TYPES[info.kind] | info.mode,
        atime=int(info.accessed_at),
        mtime=int(info.modified_at),
    )
