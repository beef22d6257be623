"""Writing a file so that nobody ever sees half of it."""

import contextlib
import errno
import os
import stat

from .errors import AgentError
from .privileges import file_rights
from .users import User

TEMPORARY = ".moonpool-upload-"
REPLACING = f"{TEMPORARY}over-"  # beside a file that is there already, for those who watch the folder

STAGED = f"{TEMPORARY}staged-"  # in the root folder, laid there from outside
COPY = 1 << 20  # bytes at a time


def make_folders(path: str) -> None:
    """A folder and those above it, as far as they are missing."""
    try:
        os.makedirs(path, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, "Not a directory", path) from error


def _open_staged(path: str) -> int:
    """A descriptor. Once the folder has been listed, gVisor takes what it saw for all that there is, until something
    is made in it from inside."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        made = f"{path}-looked-for"
        os.close(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        os.unlink(made)
        return os.open(path, flags)


class Upload:
    """A file being written: beside its target under another name, and put in its place when it is whole."""

    def __init__(
        self,
        path: str,
        *,
        mode: int | None = None,
        size: int | None = None,
        append: bool = False,
        parents: bool = False,
    ) -> None:
        self.path = path
        self._mode, self._size, self._append, self._parents = mode, size, append, parents
        self._written = 0
        self._temporary: str | None = None
        self._descriptor = -1

    @property
    def unfinished(self) -> bool:
        return self._descriptor >= 0 or self._temporary is not None

    def write(self, pieces: list[bytes], *, last: bool) -> None:
        """With the user's rights. After the `last` pieces the file is in its place."""
        if self._descriptor < 0:
            self._open()
        for piece in pieces:
            view = memoryview(piece)
            while len(view):
                count = os.write(self._descriptor, view)
                view = view[count:]
                self._written += count
        if last:
            if self._size is not None and self._written != self._size:
                raise AgentError("invalid_input", f"{self._written} bytes arrived where {self._size} were announced")
            self._commit()

    def place(self, staged: str, user: User) -> None:
        """Put a file that is whole already in its place, as if `user` had written it. Needs the agent's own rights."""
        with file_rights(user):
            self._open()
        source = _open_staged(f"/{staged}")
        try:
            self._written = os.fstat(source).st_size
            if self._size is not None and self._written != self._size:
                raise AgentError("invalid_input", f"{self._written} bytes arrived where {self._size} were announced")
            if not self._take_over(staged, source, user):
                self._copy(source)
        finally:
            os.close(source)
        with file_rights(user):
            self._commit()

    def _take_over(self, staged: str, source: int, user: User) -> bool:
        """Replace the empty temporary file by the staged one; False where that cannot be, as on another file system."""
        if self._temporary is None:
            return False
        folder, name = os.path.split(self._temporary)
        with file_rights(user):
            parent = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            made = os.fstat(self._descriptor)
            # A folder that was exchanged meanwhile is not the one in which the user was allowed to make a file.
            if not os.path.samestat(os.stat(name, dir_fd=parent, follow_symlinks=False), made):
                return False
            os.fchown(source, made.st_uid, made.st_gid)
            os.fchmod(source, stat.S_IMODE(made.st_mode))
            os.rename(f"/{staged}", name, dst_dir_fd=parent)
        except OSError:
            return False
        finally:
            os.close(parent)
        return True

    def _copy(self, source: int) -> None:
        while data := os.read(source, COPY):
            view = memoryview(data)
            while len(view):
                view = view[os.write(self._descriptor, view) :]

    def _open(self) -> None:
        """An existing file keeps its mode and owner; links are followed."""
        self.path = os.path.realpath(self.path)
        folder = os.path.dirname(self.path)
        if self._parents:
            make_folders(folder)
        existing = self._check_target()
        if self._append or (existing is not None and not stat.S_ISREG(existing.st_mode)):
            self._open_in_place(os.O_APPEND | os.O_CREAT)
        else:
            self._open_beside(folder, existing)
        if self._mode is not None:
            os.fchmod(self._descriptor, self._mode)
        elif existing is not None and self._temporary is not None:
            os.fchmod(self._descriptor, existing.st_mode & 0o7777)

    def _check_target(self) -> os.stat_result | None:
        """The existing file, which the user must be allowed to write."""
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno != errno.ETXTBSY or self._append:  # a running program cannot be written, only replaced
                raise
            return os.stat(self.path)
        try:
            return os.fstat(descriptor)
        finally:
            os.close(descriptor)

    def _open_beside(self, folder: str, existing: os.stat_result | None) -> None:
        temporary = f"{folder}/{TEMPORARY if existing is None else REPLACING}{os.urandom(8).hex()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            self._descriptor = os.open(temporary, flags, 0o644 if existing is None else 0o600)
            self._temporary = temporary
            if existing is not None:
                self._keep_owner(existing)
        except OSError as error:
            if existing is None or not isinstance(error, PermissionError):
                error.filename = self.path  # nobody asked for the temporary one
                raise
            self.abandon()
            self._open_in_place(os.O_TRUNC)  # the file may be written though nothing may be added to its folder

    def _keep_owner(self, existing: os.stat_result) -> None:
        made = os.fstat(self._descriptor)
        if (made.st_uid, made.st_gid) != (existing.st_uid, existing.st_gid):
            os.fchown(self._descriptor, existing.st_uid, existing.st_gid)

    def _open_in_place(self, how: int) -> None:
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | how
        self._descriptor = os.open(self.path, flags, 0o644)

    def _commit(self) -> None:
        """What was there before is replaced in one step, the last that happens to it: who watches is told once."""
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)
        if self._temporary is not None:
            os.rename(self._temporary, self.path)
            self._temporary = None

    def abandon(self) -> None:
        """Close, and remove what has not been put in its place. With the agent's own rights; never fails."""
        temporary, self._temporary = self._temporary, None
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(descriptor)
