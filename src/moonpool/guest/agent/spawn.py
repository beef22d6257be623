"""Starting a program: as whom, where, with which descriptors.

``posix_spawn`` does not copy the agent's memory, which in gVisor is what makes a plain fork slow. It cannot change the
folder or the user, so the agent itself is in that folder and is that user for the moment of the call.
"""

import contextlib
import errno
import os
import signal
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from . import shell
from .errors import AgentError
from .privileges import whole_identity
from .users import PATH, User

MAX_ARGUMENT = 128 << 10  # bytes: the kernel's limit for one argument, its end included
SCRIPT = 9  # descriptor under which a shell reads text that is too long for an argument
FIRST_PASSED = 3
RESET_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ)  # what Python ignores, and what a child would inherit so
NO_SUCH = (errno.ENOENT, errno.ENOTDIR)


class NotStarted(AgentError):
    """The command is missing or may not be executed."""


@dataclass(frozen=True)
class Program:
    """What is started. `streams` are the descriptors that become 0, 1 and 2. A `terminal` is opened as 0, and stands
    for those that are -1. `executable` where it is another than the first of `argv`."""

    argv: tuple[str, ...]
    shell: str | None
    cwd: str | None
    user: User
    environment: dict[str, str]
    streams: tuple[int, int, int] = (-1, -1, -1)
    terminal: str | None = None
    executable: str | None = None
    descriptors: tuple[int, ...] = ()  # what become 3 and so on; their own numbers are higher


def start(program: Program) -> int:
    """Start it in a session of its own and give its process id."""
    if program.shell is None:
        return _start(program, list(program.argv))
    words = shell.plain_words(program.shell, program.environment)
    if words is not None and shell.same_in_sh(words):
        return _start(program, [shell.path(small=True), "-c", program.shell])
    if words is not None and words[0] not in shell.OWN_WORDS:
        with contextlib.suppress(NotStarted):  # the shell says why in its own words
            return _start(program, words)
    if len(os.fsencode(program.shell)) < MAX_ARGUMENT:
        return _start(program, [shell.path(), "-c", program.shell])
    with _script(program.shell) as script:
        return _start(program, [shell.path(), "-c", f". /proc/self/fd/{SCRIPT}"], script)


def _start(program: Program, argv: list[str], script: int | None = None) -> int:
    try:
        with whole_identity(program.user):
            _enter_folder(program)
            path = _find(program.executable or argv[0], program.environment.get("PATH", PATH))
            try:
                return os.posix_spawn(
                    path,
                    argv,
                    program.environment,
                    file_actions=_file_actions(program, script),
                    setsid=True,
                    setsigmask=(),
                    setsigdef=RESET_SIGNALS,
                )
            except OSError as error:
                raise _refused(error, argv[0]) from error
    finally:
        os.chdir("/")


def _file_actions(program: Program, script: int | None) -> list[tuple[object, ...]]:
    if program.terminal is None:
        actions: list[tuple[object, ...]] = [(os.POSIX_SPAWN_DUP2, at, to) for to, at in enumerate(program.streams)]
    else:
        # A session leader without a terminal gets the first one that it opens as its controlling terminal.
        actions = [(os.POSIX_SPAWN_OPEN, 0, program.terminal, os.O_RDWR, 0)]
        actions += [(os.POSIX_SPAWN_DUP2, max(program.streams[to], 0), to) for to in (1, 2)]
    actions += [(os.POSIX_SPAWN_DUP2, at, to) for to, at in enumerate(program.descriptors, FIRST_PASSED)]
    if script is not None:
        actions.append((os.POSIX_SPAWN_DUP2, script, SCRIPT))
    return actions


@contextlib.contextmanager
def _script(text: str) -> Iterator[int]:
    """A file in memory that holds the text. The shell has read all of it when it closes the descriptor."""
    descriptor = os.memfd_create("script", os.MFD_CLOEXEC)
    try:
        os.fchmod(descriptor, 0o444)
        view = memoryview(f"exec {SCRIPT}<&-; ".encode() + os.fsencode(text))
        while len(view):
            view = view[os.write(descriptor, view) :]
        yield descriptor
    finally:
        os.close(descriptor)


def _enter_folder(program: Program) -> None:
    """Be in the program's folder. Everything else in the agent uses absolute paths only."""
    if program.cwd is None:
        with contextlib.suppress(OSError):
            os.chdir(program.user.home)
        return
    try:
        os.chdir(program.user.resolve(program.cwd))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise AgentError("working_directory_not_found", f"no such folder: {program.cwd[:1000]}") from error


def _find(name: str, search: str) -> str:
    """The file to execute, as the user who executes it sees it."""
    if "/" in name:
        return name
    denied = False
    for folder in search.split(":"):
        path = f"{folder or '.'}/{name}"
        try:
            if stat.S_ISREG(os.stat(path).st_mode):
                if os.access(path, os.X_OK):
                    return path
                denied = True
        except (OSError, ValueError):
            continue
    if denied:
        raise NotStarted("access_denied", f"may not be executed: {name[:200]}")
    raise NotStarted("command_not_found", f"no such command: {name[:200]}")


def _refused(error: OSError, name: str) -> AgentError:
    if error.errno in NO_SUCH:
        return NotStarted("command_not_found", f"no such command: {name[:200]}")
    if error.errno in (errno.EACCES, errno.EPERM):
        return NotStarted("access_denied", f"may not be executed: {name[:200]}")
    if error.errno == errno.ENOEXEC:
        return NotStarted("command_not_found", f"not a program for this machine: {name[:200]}")
    if error.errno in (errno.E2BIG, errno.ENAMETOOLONG):  # gVisor says the latter of one that is too long by itself
        return AgentError("invalid_input", "the arguments or the environment are too long")
    if error.errno in (errno.EAGAIN, errno.ENOMEM):
        return AgentError("process_limit_reached", "another process cannot be started now")
    return AgentError("guest_error", f"cannot start {name[:200]}: {error.strerror}")
