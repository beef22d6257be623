"""One process: its descriptors, its output, its end."""

import asyncio
import contextlib
import dataclasses
import fcntl
import os
import signal
import struct
import termios
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from . import spawn
from .errors import AgentError
from .interrupts import discard_unread, next_piece, takes_lines, until_started
from .output import Output
from .privileges import file_rights
from .users import read_small

READ = 64 << 10  # bytes at a time: what a pipe holds
GRACE = 0.1  # seconds that output may still arrive after the end, from children that hold the pipe
READS_AFTER_END = 64  # enough for all that a pipe or a terminal can hold
KILL_ROUNDS, KILL_PAUSE = 40, 0.05  # seconds between the rounds
SESSION_FIELD = 3  # of a process's stat, after its name
TOLD = 4096  # characters of a command and of each argument that are remembered
UNLOCK_TERMINAL = 0x40045431  # TIOCSPTLCK
TERMINAL_NUMBER = 0x80045430  # TIOCGPTN
END_OF_INPUT = b"\x04"


@dataclass(frozen=True)
class Settings:
    """What a request says about a process, apart from the program itself."""

    tag: str | None = None
    stdin: bool = False
    timeout: float | None = None  # seconds
    size: tuple[int, int] | None = None  # rows and columns: it gets a terminal
    merge_output: bool = False
    replay_bytes: int = 0


class Process:
    """A started program. `ended` is set when it has exited and its output has been read."""

    def __init__(self, program: spawn.Program, settings: Settings) -> None:
        self.settings = settings
        self.program = program
        self.size = settings.size
        self.started_at = time.time()
        self.exit_code: int | None = None
        self.signal: int | None = None
        self.timed_out = False
        self.ended = asyncio.Event()
        self.output = Output(settings.replay_bytes, self._relieved)
        self._loop = asyncio.get_running_loop()
        self._channels: dict[int, int] = {}  # descriptor -> channel
        self._paused = False
        self._discarding = False
        self._input = -1
        self._terminal = ""  # its path, where it has one
        self._input_lock = asyncio.Lock()
        self._input_ready: asyncio.Future[None] | None = None
        self._reads_left = READS_AFTER_END
        self._timer: asyncio.TimerHandle | None = None
        self.pid = self._launch()
        self.program = _shortened(program)

    @property
    def running(self) -> bool:
        return self.exit_code is None

    def describe(self) -> dict[str, Any]:
        rows, columns = self.size or (None, None)
        return {
            "pid": self.pid,
            "tag": self.settings.tag,
            "argv": list(self.program.argv) or [self.program.shell or ""],
            "cwd": self.program.cwd or self.program.user.home,
            "user": self.program.user.name,
            "terminal": self.size is not None,
            "started_at": self.started_at,
            "running": self.running,
            "exit_code": self.exit_code,
            "signal": self.signal,
            "timed_out": self.timed_out,
            "rows": rows,
            "cols": columns,
            "written": self.output.written,
        }

    # -- start ------------------------------------------------------------------------------------------------------

    def _launch(self) -> int:
        theirs: list[int] = []  # descriptors that only the child needs
        try:
            pid = spawn.start(self._with_terminal() if self.size is not None else self._with_pipes(theirs))
        except BaseException:
            theirs += {self._input, *self._channels} - {-1}
            self._channels, self._input = {}, -1
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        for descriptor in self._channels:
            self._loop.add_reader(descriptor, self._readable, descriptor)
        if self.settings.timeout is not None:
            self._timer = self._loop.call_later(self.settings.timeout, self._time_out)
        return pid

    def _with_terminal(self) -> spawn.Program:
        with file_rights(self.program.user):  # the terminal belongs to who opens its master
            master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._channels[master] = 0
        self._input = master
        fcntl.ioctl(master, UNLOCK_TERMINAL, struct.pack("i", 0))
        (number,) = struct.unpack("I", fcntl.ioctl(master, TERMINAL_NUMBER, bytes(4)))
        self._set_size(master)
        self._terminal = f"/dev/pts/{number}"
        return dataclasses.replace(self.program, terminal=self._terminal)

    def _with_pipes(self, theirs: list[int]) -> spawn.Program:
        if self.settings.stdin:
            stdin, self._input = os.pipe()
            os.set_blocking(self._input, False)
        else:
            stdin = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        theirs.append(stdin)
        targets = []
        for channel in (0,) if self.settings.merge_output else (0, 1):
            source, target = os.pipe()
            os.set_blocking(source, False)
            self._channels[source] = channel
            theirs.append(target)
            targets.append(target)
        return dataclasses.replace(self.program, streams=(stdin, targets[0], targets[-1]))

    # -- output -----------------------------------------------------------------------------------------------------

    def _readable(self, descriptor: int) -> bool:
        """Read once; whether there may be more at once."""
        try:
            data = os.read(descriptor, READ)
        except BlockingIOError:
            return False
        except OSError:
            data = b""  # a terminal whose other side is closed says EIO
        if not data:
            self._close_channel(descriptor)
        elif not self._discarding:
            self.output.append(self._channels[descriptor], data)
            if not self._paused and self.output.congested():
                self._pause()
        return bool(data)

    def _pause(self) -> None:
        self._paused = True
        for descriptor in self._channels:
            self._loop.remove_reader(descriptor)

    def _relieved(self) -> None:
        if self._paused and not self.output.congested():
            self._paused = False
            for descriptor in self._channels:
                self._loop.add_reader(descriptor, self._readable, descriptor)

    def _close_channel(self, descriptor: int) -> None:
        self._loop.remove_reader(descriptor)
        del self._channels[descriptor]
        if descriptor == self._input:
            self._wake_writer()
            self._loop.remove_writer(descriptor)
            self._input = -1
        os.close(descriptor)
        if not self._channels and not self.running:
            self._finish()

    def discard(self) -> None:
        """Keep reading, so that children left behind can write, but keep nothing of it."""
        self._discarding = True
        self.output.clear()
        self._relieved()

    # -- end --------------------------------------------------------------------------------------------------------

    def exited(self, status: int) -> None:
        """The kernel's word on how it ended; a signal's number is added to 128 as shells do."""
        if os.WIFSIGNALED(status):
            self.signal = os.WTERMSIG(status)
            self.exit_code = 128 + self.signal
        else:
            self.exit_code = os.WEXITSTATUS(status)
        if self._timer is not None:
            self._timer.cancel()
        self._wake_writer()
        self._drain()
        if not self.ended.is_set():
            if self._channels:
                self._loop.call_later(GRACE, self._after_grace)
            else:
                self._finish()

    def _drain(self) -> None:
        """Take what it left in its pipes, as far as there is room. Children that write on get no more than a pipe's
        worth in, so that they cannot put off its end for ever."""
        for descriptor in list(self._channels):
            while not self._paused and self._reads_left > 0 and self._readable(descriptor):
                self._reads_left -= 1

    def _after_grace(self) -> None:
        if self.ended.is_set():
            return
        self._drain()
        if self._paused:
            self._loop.call_later(GRACE, self._after_grace)
        elif not self.ended.is_set():
            self._finish()

    def _finish(self) -> None:
        if not self.ended.is_set():
            self.ended.set()
            self.output.finish()

    def _time_out(self) -> None:
        if self.running:
            self.timed_out = True
            self.kill()

    def send_signal(self, number: int, *, group: bool) -> None:
        if not self.running:
            raise AgentError("process_ended", "the process has ended")
        if group and number == signal.SIGKILL and self.size is not None:
            self.kill()
            return
        with contextlib.suppress(ProcessLookupError):
            if group:
                os.killpg(self.pid, number)
            else:
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it and its group, if it has not ended; of a terminal also the jobs of its shell, each a group."""
        if self.running:
            self._kill_group(KILL_ROUNDS)

    def _kill_group(self, rounds: int) -> None:
        """Again until nobody is left: a process that forks in the very moment can leave one behind in gVisor."""
        left = False
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
            left = True
        for pid in session_members(self.pid) if self.size is not None else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                left = True
        if left and rounds > 0:
            self._loop.call_later(KILL_PAUSE, self._kill_group, rounds - 1)

    def close(self) -> None:
        """Give up its descriptors; a terminal's processes get a hang-up."""
        for descriptor in list(self._channels):
            self._close_channel(descriptor)
        self._close_input()

    # -- input ------------------------------------------------------------------------------------------------------

    async def write_input(self, data: bytes) -> None:
        """Write all of it, waiting for the process to read where its pipe is full."""
        async with self._input_lock:
            if self.size is None:
                await self._write(data)
            else:
                await self._type(data)

    @contextlib.asynccontextmanager
    async def own_input(self) -> AsyncIterator[int]:
        """A descriptor of its input, for a thread too, while nobody else writes; -1 where it is a terminal or takes
        none, or somebody is writing. Writing to it does not wait."""
        if self.size is not None or self._input < 0 or self._input_lock.locked():
            yield -1
            return
        async with self._input_lock:
            descriptor = os.dup(self._input)
            try:
                yield descriptor
            finally:
                os.close(descriptor)

    async def _type(self, data: bytes) -> None:
        """Write to a terminal; see ``interrupts``."""
        held, start = False, 0
        while start < len(data):
            self._check_input()
            end, interrupting = next_piece(self._input, data, start)
            if interrupting and not held:
                held = True
                await until_started(self._takes_lines, self.pid)
            await self._write(data[start:end])
            if interrupting:
                discard_unread(self._terminal)
            start = end

    def _takes_lines(self) -> bool:
        return self._input >= 0 and self.running and takes_lines(self._input)

    def _check_input(self) -> None:
        if self._input < 0 or not self.running:
            raise AgentError("process_ended", "the process takes no input")

    async def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while len(view):
            self._check_input()
            try:
                view = view[os.write(self._input, view) :]
            except BlockingIOError:
                await self._input_writable()
            except OSError as error:
                raise AgentError("process_ended", "the process takes no input") from error

    async def _input_writable(self) -> None:
        descriptor = self._input
        self._input_ready = self._loop.create_future()
        self._loop.add_writer(descriptor, self._wake_writer)
        try:
            await self._input_ready
        finally:
            self._input_ready = None
            if self._input == descriptor:
                self._loop.remove_writer(descriptor)

    def _wake_writer(self) -> None:
        if self._input_ready is not None and not self._input_ready.done():
            self._input_ready.set_result(None)

    async def close_input(self) -> None:
        """End of input, after what is being written; for a terminal the character that means it."""
        if self.size is not None:
            await self.write_input(END_OF_INPUT)
            return
        async with self._input_lock:
            self._close_input()

    def _close_input(self) -> None:
        if self._input >= 0 and self._input not in self._channels:
            descriptor, self._input = self._input, -1
            os.close(descriptor)

    # -- terminal ---------------------------------------------------------------------------------------------------

    def resize(self, rows: int, columns: int) -> None:
        if self.size is None:
            raise AgentError("invalid_input", "the process has no terminal")
        self.size = (rows, columns)
        if self._input >= 0:
            self._set_size(self._input)

    def _set_size(self, master: int) -> None:
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", *(self.size or (24, 80)), 0, 0))


def session_members(leader: int) -> list[int]:
    """Processes of the session that `leader` has begun, those that are not reaped yet aside."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = read_small(f"/proc/{entry}/stat").rpartition(b")")[2].split()
            if len(fields) > SESSION_FIELD and fields[SESSION_FIELD] == b"%d" % leader and fields[0] != b"Z":
                found.append(int(entry))
    return found


def _shortened(program: spawn.Program) -> spawn.Program:
    """What is worth remembering of it for as long as its output is."""
    return dataclasses.replace(
        program,
        argv=tuple(argument[:TOLD] for argument in program.argv[:TOLD]),
        shell=program.shell and program.shell[:TOLD],
        environment={},
    )
