"""Files of a sandbox, for every dialect, with the rights of the sandbox's own user."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from moonpool.access.model import Principal
from moonpool.files.paths import checked_path, checked_pattern, checked_patterns
from moonpool.guest.client import AgentClient
from moonpool.guest.model import FileEvent, FileInfo, GrepMatch, ReplaceResult
from moonpool.guest.streams import FileReader, FileWriter
from moonpool.guest.watching import lasting
from moonpool.sandboxes.model import AgentSession

SEARCH_LIMIT = 10_000  # results


class Sandboxes(Protocol):
    """The way into a sandbox; ``sandboxes.service.SandboxService`` is one."""

    def session(
        self, principal: Principal, sandbox: str, *, active: bool = True
    ) -> AbstractAsyncContextManager[AgentSession]: ...


@dataclass(frozen=True)
class OpenFiles:
    """The files of one sandbox while a session is open; several can be moved in it one after the other.

    All raise InvalidPath, FileNotFound, AccessDenied, NotADirectory, IsADirectory, FileOperationFailed as fits.
    """

    agent: AgentClient
    user: str

    async def stat(self, path: str, *, follow: bool = True) -> FileInfo:
        return await self.agent.stat(checked_path(path), follow=follow, user=self.user)

    async def entries(self, path: str, depth: int = 1) -> list[FileInfo]:
        return await self.agent.list(checked_path(path), depth, user=self.user)

    async def mkdir(self, path: str, mode: int = 0o755, *, parents: bool = True, exist_ok: bool = True) -> None:
        await self.agent.mkdir(checked_path(path), mode, parents=parents, exist_ok=exist_ok, user=self.user)

    async def move(self, source: str, target: str, *, overwrite: bool = True) -> None:
        """Raises FileExists when there is something at ``target`` that may not be overwritten."""
        await self.agent.move(checked_path(source), checked_path(target), overwrite=overwrite, user=self.user)

    async def copy(self, source: str, target: str, *, recursive: bool = True, overwrite: bool = True) -> None:
        """FileExists as with ``move``; IsADirectory for a folder without ``recursive``."""
        source, target = checked_path(source), checked_path(target)
        await self.agent.copy(source, target, recursive, overwrite=overwrite, user=self.user)

    async def remove(self, path: str, *, recursive: bool = False) -> None:
        await self.agent.remove(checked_path(path), recursive=recursive, user=self.user)

    async def set_mode(self, path: str, mode: int) -> None:
        await self.agent.chmod(checked_path(path), mode, user=self.user)

    async def set_owner(self, path: str, owner: str | None, group: str | None) -> None:
        await self.agent.chown(checked_path(path), owner, group, user=self.user)

    async def search(self, path: str, pattern: str) -> list[str]:
        """Paths below ``path`` whose name matches a glob pattern."""
        return await self.agent.glob(checked_path(path), checked_pattern(pattern), SEARCH_LIMIT, user=self.user)

    async def find(self, path: str, pattern: str) -> list[GrepMatch]:
        """Lines that contain ``pattern`` in the text files at or below ``path``."""
        return await self.agent.grep(checked_path(path), checked_pattern(pattern), SEARCH_LIMIT, user=self.user)

    async def replace(self, paths: Sequence[str], pattern: str, new: str) -> list[ReplaceResult]:
        checked = [checked_path(path) for path in paths]
        return await self.agent.replace(checked, checked_pattern(pattern), new, user=self.user)

    def read(self, path: str, offset: int = 0, length: int | None = None) -> AbstractAsyncContextManager[FileReader]:
        return self.agent.read(checked_path(path), offset=offset, length=length, user=self.user)

    def archive(self, path: str, *, excludes: Sequence[str] = ()) -> AbstractAsyncContextManager[FileReader]:
        """A folder as a zip archive, made while it is read: large ones take no more memory than small ones."""
        return self.agent.archive(checked_path(path), excludes=checked_patterns(excludes), user=self.user)

    def write(
        self, path: str, *, mode: int | None = None, append: bool = False, size: int | None = None
    ) -> AbstractAsyncContextManager[FileWriter]:
        """A file that is there, whole, when the context is left, and not at all when it is left by an error.

        Folders above it are made. ``size`` in bytes, where it is known beforehand, is checked.
        """
        return self.agent.write(checked_path(path), mode=mode, parents=True, append=append, size=size, user=self.user)

    def watch(
        self, path: str, *, recursive: bool = False, excludes: Sequence[str] = ()
    ) -> AbstractAsyncContextManager[AsyncIterator[FileEvent]]:
        """What happens to a file or in a folder while the session is open. LimitExceeded: too many folders."""
        patterns = checked_patterns(excludes)
        return self.agent.watch(checked_path(path), recursive=recursive, excludes=patterns, user=self.user)


class FileService:
    def __init__(self, sandboxes: Sandboxes) -> None:
        self._sandboxes = sandboxes

    @asynccontextmanager
    async def open(self, principal: Principal, sandbox: str, *, user: str | None = None) -> AsyncIterator[OpenFiles]:
        """``user`` None is the sandbox's own."""
        async with self._sandboxes.session(principal, sandbox) as session:
            yield OpenFiles(session.agent, user or session.sandbox.user)

    @asynccontextmanager
    async def watch(
        self,
        principal: Principal,
        sandbox: str,
        path: str,
        *,
        recursive: bool = False,
        excludes: Sequence[str] = (),
        user: str | None = None,
    ) -> AsyncIterator[AsyncIterator[FileEvent]]:
        """What happens to a file, or in a folder, for as long as the sandbox runs; it is no use of the sandbox, so
        idle rules go on. FileNotFound, AccessDenied, LimitExceeded when it begins.

        It ends when the folder is gone, and with InvalidState when the sandbox runs no more. An ``overflow`` says that
        changes may have been missed.
        """

        @asynccontextmanager
        async def opening() -> AsyncIterator[AsyncIterator[FileEvent]]:
            async with self._sandboxes.session(principal, sandbox, active=False) as session:
                files = OpenFiles(session.agent, user or session.sandbox.user)
                async with files.watch(path, recursive=recursive, excludes=excludes) as events:
                    yield events

        async with lasting(opening, [FileEvent("overflow", path, True)]) as events:
            yield events
