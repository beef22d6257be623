"""Starting a service's programs: who they are, what they see, where output goes; and finding them again."""

import asyncio
import contextlib
import dataclasses
import errno
import fcntl
import glob
import os
import resource
from collections.abc import Callable, Mapping

from .. import spawn
from ..errors import AgentError
from ..processes import Processes
from ..users import User, Users, read_small
from ..workers import Workers
from . import generators
from .children import Child
from .commands import Command
from .confinement import NOTHING as UNCONFINED
from .confinement import Confinement
from .journal import Journal, LineReader
from .namespaces import NotConfined, confined
from .private_folders import PrivateFolders
from .settings import Settings, environment_of_file
from .socket_unit import Passed

READ = 64 << 10  # bytes
INVOCATION = "INVOCATION_ID"
SHELL = "/bin/sh"
ASIDE = 200  # numbers of descriptors from here on
# What systemd says when it could not get as far as the program.
STATUSES = {"working_directory_not_found": 200, "user_not_found": 217}
EXEC = 203
NOTHING = Passed()
STATUS_NAMES = {200: "CHDIR", 203: "EXEC", 216: "GROUP", 217: "USER", 209: "STDOUT", 226: "NAMESPACE",
                233: "RUNTIME_DIRECTORY"}  # fmt: skip


class LaunchFailed(Exception):
    """The program could not be started; ``status`` is the exit status that stands for why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Launcher:
    """For all services of a sandbox."""

    def __init__(
        self, users: Users, processes: Processes, workers: Workers, journal: Journal, shared: Mapping[str, str]
    ) -> None:
        self._users, self._processes, self._journal, self._shared = users, processes, journal, shared
        self.private_folders = PrivateFolders(workers)

    def home(self, name: str) -> str:
        try:
            return self._users.find(name).home
        except AgentError:
            return "/"

    def user(self, settings: Settings) -> User:
        """Who the service is; LaunchFailed for a user or group that is not there."""
        try:
            user = self._users.named(settings.user or "root")
        except AgentError as error:
            raise LaunchFailed(217, error.message) from error
        try:
            gid = self._users.group(settings.group) if settings.group else user.gid
            groups = tuple(self._users.group(name) for name in settings.extra_groups)
        except AgentError as error:
            raise LaunchFailed(216, error.message) from error
        return dataclasses.replace(user, gid=gid, groups=tuple(dict.fromkeys((gid, *user.groups, *groups))))

    def environment(self, settings: Settings, user: User, extra: Mapping[str, str]) -> dict[str, str]:
        """The user's and the sandbox's own, what all services share, then the unit's, its files' and the manager's.
        LaunchFailed."""
        found = {**user.environment(), **self._processes.environment, **self._shared, **settings.environment}
        for name in settings.files:
            for path in sorted(glob.glob(name.removeprefix("-"))) or [name.removeprefix("-")]:
                assignments = environment_of_file(path)
                if assignments is None and not name.startswith("-"):
                    raise LaunchFailed(1, f"Failed to load environment files: {path}: No such file or directory")
                found |= assignments or {}
        for name in settings.unset:
            found.pop(name, None)
        for folder in settings.folders:
            found[folder.variable] = ":".join(
                each.path for each in settings.folders if each.variable == folder.variable
            )
        return {**found, **extra}

    def prepare(self, settings: Settings, user: User) -> None:
        """Make the folders that the unit names. LaunchFailed."""
        for folder in settings.folders:
            try:
                os.makedirs(folder.path, exist_ok=True)
                os.chmod(folder.path, folder.mode)
                if folder.variable != "CONFIGURATION_DIRECTORY":
                    os.chown(folder.path, user.uid, user.gid)
            except OSError as error:
                raise LaunchFailed(233, f"Failed to set up {folder.path}: {error.strerror}") from error

    def start(
        self, unit: str, settings: Settings, command: Command, extra: Mapping[str, str], passed: Passed = NOTHING
    ) -> Child:
        """Start one command of the unit. LaunchFailed."""
        user = self.user(settings)
        if passed.descriptors:
            numbers = {"LISTEN_FDS": str(len(passed.descriptors)), "LISTEN_FDNAMES": ":".join(passed.names)}
            extra = {**extra, **passed.variables, **numbers}
        environment = self.environment(settings, user, extra)
        acting = self._users.named("root") if command.privileged or command.elevated else user
        name = settings.identifier or os.path.basename(command.executable)
        reader = LineReader(self._journal, unit, name, extra.get(INVOCATION, ""))
        with contextlib.ExitStack() as stack:
            descriptors = _moved(passed.descriptors, stack)
            for number in descriptors:
                os.set_blocking(number, not settings.non_blocking)
            streams = self._streams(settings, stack, reader, descriptors)
            arguments, executable = command.arguments(environment), command.executable
            if settings.bounded or descriptors:
                arguments, executable = _by_shell(settings, bool(descriptors), arguments, executable), SHELL
            if settings.bounded:
                streams = (_gate(stack), *streams[1:])
            folder = _folder(settings, user)
            program = spawn.Program(
                arguments, None, folder, acting, environment, streams, None, executable, descriptors
            )
            pid = self._spawn(unit, UNCONFINED if command.privileged else settings.confinement, program)
            _bound(pid, settings)  # What was held begins when its gate closes, and that is at the end of this block.
        reader.pid = pid
        child = Child(pid)
        self._processes.watch(pid, child)
        return child

    def _spawn(self, unit: str, wanted: Confinement, program: spawn.Program) -> int:
        try:
            if not wanted:
                return spawn.start(program)
            temporary = self.private_folders.of(unit) if wanted.private_temporary else ()
            return confined(wanted, temporary, lambda: spawn.start(program))
        except NotConfined as error:
            raise LaunchFailed(226, f"Failed to set up mount namespacing: {error}") from error
        except AgentError as error:
            raise LaunchFailed(STATUSES.get(error.code, EXEC), error.message) from error
        except (OSError, ValueError, RuntimeError) as error:  # The last: no thread can be started.
            raise LaunchFailed(EXEC, str(error)) from error

    async def generate(self) -> list[str]:
        """Run the generators; what went wrong."""
        root = self._users.named("root")
        return await generators.run(root, root.environment(), self._processes.watch)

    def adopt(self, pid: int) -> Child:
        """Watch a process that something else has started and left to us."""
        child = Child(pid)
        self._processes.watch(pid, child)
        if not _exists(pid):
            child.exited(0)
        return child

    def _streams(
        self, settings: Settings, stack: contextlib.ExitStack, reader: LineReader, passed: tuple[int, ...]
    ) -> tuple[int, int, int]:
        def opened(path: str, flags: int) -> int:
            descriptor = os.open(path, flags | os.O_CLOEXEC, 0o644)
            stack.callback(os.close, descriptor)
            return descriptor

        try:
            source = _source(settings, opened, passed)
            output = self._target(_output(settings, passed), opened, stack, reader)
            inherited = settings.errors == "inherit"
            errors = output if inherited else self._target(settings.errors, opened, stack, reader)
        except OSError as error:
            raise LaunchFailed(209, f"Failed to set up standard input or output: {error.strerror}") from error
        return source, output, errors

    def _target(
        self, kind: str, opened: Callable[[str, int], int], stack: contextlib.ExitStack, reader: LineReader
    ) -> int:
        word, _, path = kind.partition(":")
        if word == "descriptor":
            return int(path)
        if word == "null":
            return opened("/dev/null", os.O_WRONLY)
        if word in ("file", "append", "truncate"):
            flags = {"append": os.O_APPEND, "truncate": os.O_TRUNC}.get(word, 0)
            return opened(path, os.O_WRONLY | os.O_CREAT | flags)
        source, target = os.pipe()
        stack.callback(os.close, target)
        Drain(source, reader)
        return target


class Drain:
    """Reads a pipe into the journal until nobody can write to it any more."""

    def __init__(self, source: int, reader: LineReader) -> None:
        self._source, self._reader = source, reader
        os.set_blocking(source, False)
        asyncio.get_running_loop().add_reader(source, self._readable)

    def _readable(self) -> None:
        try:
            data = os.read(self._source, READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._reader.feed(data)
            return
        asyncio.get_running_loop().remove_reader(self._source)
        os.close(self._source)
        self._reader.close()


def _source(settings: Settings, opened: Callable[[str, int], int], passed: tuple[int, ...]) -> int:
    word, _, path = settings.input.partition(":")
    if word == "socket" and passed:
        return passed[0]
    return opened(path if word == "file" else "/dev/null", os.O_RDONLY)


def _output(settings: Settings, passed: tuple[int, ...]) -> str:
    """The socket that it reads from, where it is to write there too."""
    if settings.output == "socket":
        return f"descriptor:{passed[0]}" if passed else "journal"
    return settings.output


def _moved(descriptors: tuple[int, ...], stack: contextlib.ExitStack) -> tuple[int, ...]:
    """Copies with numbers that are in nobody's way."""
    found = tuple(fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, ASIDE) for number in descriptors)
    for number in found:
        stack.callback(os.close, number)
    return found


def _by_shell(settings: Settings, listens: bool, arguments: tuple[str, ...], executable: str) -> tuple[str, ...]:
    """By way of a shell, which knows what its own process is called, and waits at its gate until it has its limits:
    the agent's own would be its whole process's. The name that a program is called by is its path then. LaunchFailed.
    """
    if "/" in executable and not os.access(executable, os.X_OK):
        reason = errno.EACCES if os.path.exists(executable) else errno.ENOENT
        raise LaunchFailed(EXEC, f"Failed to execute {executable}: {os.strerror(reason)}")
    held = "read -r _; " if settings.bounded else ""
    masked = "" if settings.mask is None else f"umask {settings.mask:04o}; "
    listening = "LISTEN_PID=$$; export LISTEN_PID; " if listens else ""
    source = "" if not held else " <&3" if listens and settings.input == "socket" else " </dev/null"
    return (SHELL, "-c", f'{held}{masked}{listening}exec "$@"{source}', SHELL, executable, *arguments[1:])


def _gate(stack: contextlib.ExitStack) -> int:
    """What a held program reads first; it opens with the end of ``stack``."""
    source, target = os.pipe()
    stack.callback(os.close, source)
    stack.callback(os.close, target)
    return source


def _folder(settings: Settings, user: User) -> str:
    if settings.folder is None:
        return "/"
    folder = user.home if settings.folder == "~" else settings.folder
    return "/" if settings.folder_optional and not os.path.isdir(folder) else folder


def _bound(pid: int, settings: Settings) -> None:
    """Limits that cannot be given at the start, since the agent itself would have them."""
    for which, soft, hard in settings.limits:
        with contextlib.suppress(OSError, ValueError):
            resource.prlimit(pid, which, (soft, hard))
    if settings.nice:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, pid, settings.nice)


# -- what belongs to a service -----------------------------------------------------------------------------------------


def members(invocation: str, leaders: set[int]) -> set[int]:
    """Processes of a service: those with its mark in their environment, and those in the sessions it began."""
    found = {int(entry) for entry in os.listdir("/proc") if entry.isdigit() and entry != "1"}
    return {pid for pid in found if belongs(pid, invocation, leaders)} - {os.getpid()}


def belongs(pid: int, invocation: str, leaders: set[int]) -> bool:
    """Whether a process is alive and of that service."""
    mark = f"{INVOCATION}={invocation}".encode()
    with contextlib.suppress(OSError):
        return not is_zombie(pid) and (mark in _environ(pid) or os.getsid(pid) in leaders)
    return False


def _environ(pid: int) -> list[bytes]:
    with open(f"/proc/{pid}/environ", "rb") as file:
        return file.read().split(b"\0")


def is_zombie(pid: int) -> bool:
    state = read_small(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return not state or state[0] in (b"Z", b"X")


def parent_of(pid: int) -> int:
    words = read_small(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return int(words[1]) if len(words) > 1 else 0


def _exists(pid: int) -> bool:
    with contextlib.suppress(OSError):
        os.kill(pid, 0)
        return not is_zombie(pid)
    return False
