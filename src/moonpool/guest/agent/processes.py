"""All processes that were asked for, and the operations on them."""

import asyncio
import contextlib
import dataclasses
import os
import signal
from collections.abc import Callable
from typing import Any, Protocol

from ..protocol import CHUNK, DATA, DATA_STDERR, EVENT, Message, Stream, encode
from .errors import AgentError
from .output import Reader
from .process import Process, Settings
from .request import Request
from .spawn import Program
from .users import Users

HOLD = 64 << 10  # bytes of output that `run` keeps for its one reply before it begins to stream
OUTPUT_LIMIT = 1 << 40  # bytes
REAPED_AT_ONCE = 500
MAX_ENDED = 128  # processes whose end and output are remembered
MAX_ENDED_BYTES = 32 << 20  # of output, all ended processes together
KINDS = (DATA, DATA_STDERR)


class Child(Protocol):
    def exited(self, status: int) -> None:
        """Told once, with the status of ``waitpid``."""


class Processes:
    def __init__(self, users: Users) -> None:
        self.environment: dict[str, str] = {}
        self.workdir = ""
        self._users = users
        self._children: dict[int, Child] = {}  # alive, by process id
        self._known: dict[int, Process] = {}  # started with `start`, in order
        self._alone = asyncio.Event()  # set while there is no process but the agent
        self.started: Callable[[], None] = lambda: None  # called after each start
        self.reaping: Callable[[], None] = lambda: None  # called while what has ended is still known

    # -- children ---------------------------------------------------------------------------------------------------

    def reap(self) -> None:
        """Collect everything that has ended, orphans included."""
        self._alone.clear()
        self.reaping()
        for _ in range(REAPED_AT_ONCE):
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:  # Orphans become the agent's children, so having none means being alone.
                self._alone.set()
                return
            if pid == 0:
                return
            process = self._children.pop(pid, None)
            if process is not None:
                process.exited(status)
        asyncio.get_running_loop().call_soon(self.reap)

    async def wait_alone(self, stream: Stream, request: Request) -> None:
        """Until no process but the agent is alive."""
        self.reap()
        await self._alone.wait()

    def watch(self, pid: int, child: Child) -> None:
        """Have `child` told of the end of a process that was started just now."""
        self._alone.clear()
        self._children[pid] = child
        self.started()

    def alone(self) -> bool:
        """Whether no process but the agent is alive."""
        return self._alone.is_set()

    def _launch(self, request: Request, *, stdin: bool) -> Process:
        argv = request.texts("argv")
        shell = request.optional_text("shell")
        if bool(argv) == bool(shell):
            raise AgentError("invalid_input", "either argv or a shell command is needed")
        user = self._users.find(request.optional_text("user"))
        rows = request.optional_integer("rows", 1, 0xFFFF)
        size = (rows, request.integer("cols", 1, 0xFFFF)) if rows is not None else None
        terminal = {"TERM": "xterm-256color"} if size else {}
        environment = {**user.environment(), **terminal, **self.environment, **request.table("env")}
        settings = Settings(
            tag=request.optional_text("tag"),
            stdin=stdin,
            timeout=request.seconds("timeout"),
            size=size,
            merge_output=request.flag("merge_output"),
            replay_bytes=request.integer("replay_bytes", 0, 1 << 40, 0),
        )
        folder = request.optional_text("cwd") or (self.workdir if os.path.isdir(self.workdir) else None)
        program = Program(tuple(argv), shell, folder, user, environment)
        process = Process(program, settings)
        self.watch(process.pid, process)
        return process

    # -- run --------------------------------------------------------------------------------------------------------

    async def run(self, stream: Stream, request: Request) -> Message:
        """Start, feed, wait: one reply with everything, unless the output is long; then most of it goes ahead."""
        limit = request.integer("output_limit", 0, OUTPUT_LIMIT, OUTPUT_LIMIT)
        process = self._launch(request, stdin=bool(request.body))
        reader = Reader(process.output, replay=True, threshold=HOLD)
        feeder = asyncio.ensure_future(_feed(process, request.body)) if request.body else None
        try:
            left = limit
            while await reader.wait() and not (process.output.finished and reader.behind <= HOLD):
                channel, data = reader.take(CHUNK)
                if left > 0:
                    await stream.send_data(data[:left], KINDS[channel])
                left -= len(data)
            rest = [bytearray(), bytearray()]
            while reader.behind:
                channel, data = reader.take(CHUNK)
                rest[channel] += data[: max(left, 0)]
                left -= len(data)
            document = {
                "exit_code": process.exit_code,
                "signal": process.signal,
                "timed_out": process.timed_out,
                "truncated": left < 0,
                "stdout": len(rest[0]),
            }
            return Message(document, bytes(rest[0] + rest[1]))
        finally:
            if feeder is not None:
                feeder.cancel()
            reader.close()
            process.kill()
            process.discard()

    # -- start and follow -------------------------------------------------------------------------------------------

    async def start(self, stream: Stream, request: Request) -> dict[str, Any]:
        return self._start(request).describe()

    async def start_and_attach(self, stream: Stream, request: Request) -> dict[str, Any]:
        """The reader is there before the first byte is, so that nothing is dropped however much comes."""
        process = self._start(request)
        with contextlib.closing(Reader(process.output, replay=True)) as reader:
            return await follow(process, stream, reader, process.describe())

    def _start(self, request: Request) -> Process:
        tag = request.optional_text("tag")
        known = self._by_tag(tag) if tag is not None else None
        if known is not None and known.running:
            raise AgentError("name_taken", f"a running process has this tag already: {tag}")
        process = self._launch(request, stdin=request.flag("stdin"))
        if known is not None:
            self._drop(known)
        replaced = self._known.get(process.pid)
        if replaced is not None:
            self._drop(replaced)
        self._known[process.pid] = process
        self._drop_oldest()
        return process

    def _by_tag(self, tag: str) -> Process | None:
        return next((process for process in self._known.values() if process.settings.tag == tag), None)

    def find(self, request: Request) -> Process:
        selector = request.selector()
        found = self._known.get(selector) if isinstance(selector, int) else self._by_tag(selector)
        if found is None:
            raise AgentError("process_not_found", f"no such process: {selector}")
        return found

    def _drop(self, process: Process) -> None:
        self._known.pop(process.pid, None)
        process.close()

    def _drop_oldest(self) -> None:
        ended = [process for process in self._known.values() if process.ended.is_set()]
        kept = sum(process.output.kept for process in ended)
        while ended and (len(ended) > MAX_ENDED or kept > MAX_ENDED_BYTES):
            oldest = ended.pop(0)
            kept -= oldest.output.kept
            self._drop(oldest)

    # -- operations on one of them ----------------------------------------------------------------------------------

    async def write_stdin(self, stream: Stream, request: Request) -> None:
        await self.find(request).write_input(request.body)

    async def close_stdin(self, stream: Stream, request: Request) -> None:
        await self.find(request).close_input()

    async def signal(self, stream: Stream, request: Request) -> None:
        number = request.integer("signal", 0, signal.NSIG - 1)
        self.find(request).send_signal(number, group=request.flag("group", True))

    async def resize(self, stream: Stream, request: Request) -> None:
        rows, columns = (request.integer(name, 1, 0xFFFF) for name in ("rows", "cols"))
        self.find(request).resize(rows, columns)

    async def retag(self, stream: Stream, request: Request) -> dict[str, Any]:
        """Give it another tag, from now on the name under which it is found."""
        process, tag = self.find(request), request.text("tag")
        known = self._by_tag(tag)
        if known is not None and known is not process:
            raise AgentError("name_taken", f"another process has this tag: {tag}")
        process.settings = dataclasses.replace(process.settings, tag=tag)
        return process.describe()

    async def processes(self, stream: Stream, request: Request) -> dict[str, Any]:
        return {"processes": [process.describe() for process in self._known.values()]}

    async def process(self, stream: Stream, request: Request) -> dict[str, Any]:
        return self.find(request).describe()

    async def wait(self, stream: Stream, request: Request) -> dict[str, Any]:
        """Its description at its end, or when the time is over."""
        process = self.find(request)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(request.seconds("timeout")):
                await process.ended.wait()
        return process.describe()

    async def forget(self, stream: Stream, request: Request) -> None:
        """Kill it if it runs, and forget its output."""
        process = self.find(request)
        process.kill()
        self._drop(process)


async def _feed(process: Process, data: bytes) -> None:
    with contextlib.suppress(AgentError):
        await process.write_input(data)
        await process.close_input()


async def follow(process: Process, stream: Stream, reader: Reader, told: dict[str, Any]) -> dict[str, Any]:
    """Send what ``reader`` has, after ``told``; the process's description at its end."""
    stream.connection.send_message(EVENT, stream.number, encode(told))
    while await reader.wait():
        count = await stream.credit(CHUNK)
        channel, data = reader.take(count)
        stream.give_back(count - len(data))
        if reader.dropped:
            stream.connection.send_message(EVENT, stream.number, encode({"dropped": reader.dropped}))
            reader.dropped = 0
        stream.connection.send(KINDS[channel], stream.number, data)
        await stream.connection.drain()
    return process.describe()
