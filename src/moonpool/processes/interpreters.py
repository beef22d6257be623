"""Interpreters, of Python and of JavaScript, that keep their state between pieces of code."""

import asyncio
import contextlib
import json
import signal
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from moonpool.access.model import Principal
from moonpool.cancellation import to_the_end
from moonpool.errors import AgentTimeout, CommandNotFound, InvalidInput, ProcessEnded, ProcessNotFound
from moonpool.guest.client import AgentClient
from moonpool.guest.model import Exited, Output, ProcessEvent, ProcessInfo, ProcessSpec
from moonpool.guest.protocol import parsed
from moonpool.ids import new_uuid
from moonpool.processes.errors import InterpreterNotFound
from moonpool.processes.inside import source
from moonpool.processes.model import (
    Interpreter,
    Sandboxes,
    checked_environment,
    checked_text,
    checked_timeout,
)

TAG = "interpreter:"
SEPARATOR = "@"  # in tags, between a context's id and its language where that is not Python
DEFAULT = "default"
PYTHON = "python"
REPLAY_BYTES = 1024 * 1024  # well above what a live reader may lag behind, so that no event is lost
INTERRUPT_TIMEOUT = 3.0  # seconds for interrupted code to give up before its interpreter is killed
KILL_TIMEOUT = 5.0  # seconds for a killed interpreter to be gone
JOINED = 64 * 1024  # characters of output from which on an event is sent as it is
QUEUED_LINES = 256  # events that wait for a slow reader before the interpreter is held back
MAX_EVENT = 32 * 1024 * 1024  # bytes; what the programs inside send is half of it at most
REMEMBERED = 4096  # contexts whose extra variables are known, and interpreters
FINAL = "control"
WRITTEN = frozenset({"stdout", "stderr"})
EVENTS = WRITTEN | {"error", "display", FINAL}

# node cannot read what it writes itself; see interpret.js.
JAVASCRIPT_PIPES = """\
folder=$(mktemp -d) && mkfifo "$folder/1" "$folder/2" || exit 1
exec 3>&1 4<>"$folder/1" 5<>"$folder/2" 6<&0 0</dev/null
exec 1>"$folder/1" 2>"$folder/2"
rm -r "$folder"
exec node -e "$0"
"""

LANGUAGES: Mapping[str, Callable[[], tuple[str, ...]]] = {
    PYTHON: lambda: ("python3", "-u", "-c", source("interpret.py"), source("charts.py")),
    "javascript": lambda: ("sh", "-c", JAVASCRIPT_PIPES, source("interpret.js")),
}


class ExecutionTimeout(AgentTimeout):
    code = "execution_timeout"
    default = "The code ran longer than its timeout"


@dataclass(frozen=True)
class Execution:
    code: str
    interpreter_id: str | None = None
    environment: Mapping[str, str] | None = None
    timeout: float | None = None  # seconds


class InterpreterService:
    """``Event`` is what ``inside/interpret.py`` says: type stdout, stderr, display, error or control."""

    def __init__(self, sandboxes: Sandboxes) -> None:
        self._sandboxes = sandboxes
        self._locks: dict[tuple[str, str], asyncio.Lock] = {}
        self._given: OrderedDict[tuple[str, str], Mapping[str, str]] = OrderedDict()
        self._followed: OrderedDict[tuple[str, int], None] = OrderedDict()

    async def create(
        self,
        principal: Principal,
        sandbox: str,
        *,
        cwd: str | None = None,
        language: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Interpreter:
        """A context of its own. ``environment`` is there for all of its code, also when it had to be started anew, as
        long as this server runs. InvalidInput; CommandNotFound where the image lacks the language."""
        if (language or PYTHON) not in LANGUAGES:
            raise InvalidInput(f"language must be one of {', '.join(LANGUAGES)}", field="language")
        checked_text(cwd or "", "cwd")
        given = dict(checked_environment(environment))
        async with self._sandboxes.session(principal, sandbox) as session:
            new = Context(new_uuid(), language or PYTHON, session.sandbox.user, cwd, given)
            info = await start(session.agent, new)
            if given:
                self._given[session.sandbox.id, new.id] = given
                trim(self._given)
            self._follow(session.sandbox.id, info)
            return interpreter(info)

    def _follow(self, sandbox_id: str, info: ProcessInfo) -> bool:
        """From now on this server knows when it runs code; whether it did so far."""
        key = (sandbox_id, info.pid)
        known = key in self._followed
        self._followed[key] = None
        self._followed.move_to_end(key)
        trim(self._followed)
        return known

    async def list(self, principal: Principal, sandbox: str) -> list[Interpreter]:
        """Without the default one, which is there for everybody."""
        async with self._sandboxes.session(principal, sandbox) as session:
            infos = await session.agent.processes()
        mine = [info for info in infos if (info.tag or "").startswith(TAG) and info.tag != TAG + DEFAULT]
        return [interpreter(info) for info in mine]

    async def delete(self, principal: Principal, sandbox: str, interpreter_id: str) -> None:
        if interpreter_id == DEFAULT:
            raise InvalidInput("The default context cannot be deleted", field="id")
        async with self._sandboxes.session(principal, sandbox) as session:
            await end(session.agent, await find(session.agent, interpreter_id))
            self._locks.pop((session.sandbox.id, interpreter_id), None)
            self._given.pop((session.sandbox.id, interpreter_id), None)

    async def execute(
        self, principal: Principal, sandbox: str, execution: Execution
    ) -> AsyncGenerator[dict[str, Any], None]:
        """The events of one piece of code, as they come; one piece at a time runs in an interpreter.

        Code that nobody listens to any more is interrupted. Raises ExecutionTimeout, InterpreterNotFound.
        """
        checked_environment(execution.environment)
        timeout = checked_timeout(execution.timeout)
        async with self._sandboxes.session(principal, sandbox) as session:
            name = execution.interpreter_id or DEFAULT
            key = (session.sandbox.id, name)
            async with self._locks.setdefault(key, asyncio.Lock()):
                info, new = await ready(session.agent, name, session.sandbox.user, self._given.get(key, {}))
                if not self._follow(session.sandbox.id, info) and not new:
                    # Code of a server that was killed, or of the sandbox that this one is a copy of, may run in it.
                    await session.agent.signal(info.pid, signal.SIGINT, group=True)
                async with (
                    session.agent.attach(info.pid, replay=False) as events,
                    Run(session.agent, info, events, timeout) as run,
                ):
                    await run.begin(execution)
                    try:
                        while (event := await run.next_event()) is not None:
                            yield event
                    except ExecutionTimeout:
                        for event in await run.interrupt():
                            yield event
                        raise


class Run:
    """One piece of code in one interpreter. Leaving it before its last event interrupts the code."""

    def __init__(
        self, agent: AgentClient, info: ProcessInfo, events: AsyncIterator[ProcessEvent], timeout: float | None
    ) -> None:
        self._agent = agent
        self._info = info
        self._events = events
        self._id = new_uuid()
        self._deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
        # Waiting for a queue may be given up and begun again, which waiting for a stream of events may not.
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue(QUEUED_LINES)
        self._ahead: deque[bytes | None] = deque()  # taken from there too early
        self._reader: asyncio.Task[None] | None = None
        self._finished = False

    async def __aenter__(self) -> "Run":
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_exception: object) -> None:
        try:
            if (
                not self._finished
            ):  # A client's going is noticed by sending and by listening: the one may cancel the other.
                await to_the_end(self._give_up())
        finally:
            assert self._reader is not None
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)

    async def begin(self, execution: Execution) -> None:
        request = {"id": self._id, "code": execution.code, "envs": dict(execution.environment or {})}
        await self._agent.write_stdin(self._info.pid, json.dumps(request).encode() + b"\n")

    async def next_event(self) -> dict[str, Any] | None:
        """None after the last; raises ExecutionTimeout."""
        try:
            async with asyncio.timeout_at(self._deadline):
                return await self._next()
        except TimeoutError:
            raise ExecutionTimeout from None

    async def _read(self) -> None:
        try:
            async for line in lines(self._events):
                await self._lines.put(line)
        finally:
            await self._lines.put(None)

    async def _next(self) -> dict[str, Any] | None:
        while not self._finished:
            line = self._ahead.popleft() if self._ahead else await self._lines.get()
            if line is None:
                self._finished = True
                return await self._last_words()
            if event := self._own(line):
                self._finished = event["type"] == FINAL
                return self._joined(event)
        return None

    def _own(self, line: bytes) -> dict[str, Any]:
        """Empty for what is no event of this piece."""
        event = event_of(line)
        return event if event.pop("id", None) == self._id else {}

    def _joined(self, event: dict[str, Any]) -> dict[str, Any]:
        """With what has been written after it meanwhile: for a client each event has a price."""
        texts = [event["text"]] if event["type"] in WRITTEN and isinstance(event.get("text"), str) else []
        size = sum(map(len, texts))
        while texts and size < JOINED and not self._ahead and not self._lines.empty():
            line = self._lines.get_nowait()
            further = {} if line is None else self._own(line)
            if further.get("type") == event["type"] and isinstance(further.get("text"), str):
                texts.append(further["text"])
                size += len(texts[-1])
            else:
                self._ahead.append(line)
        return {**event, "text": "".join(texts)} if len(texts) > 1 else event

    async def _last_words(self) -> dict[str, Any]:
        """Why there is no more to come: one that goes on has said what cannot be read, and is of no use any more."""
        with contextlib.suppress(ProcessNotFound):
            info = await self._agent.process(self._info.pid)
            if info.running:
                await end(self._agent, self._info)
                return exited(f"The interpreter was ended: it sent more than {MAX_EVENT >> 20} MiB at once")
            by = f"signal {info.signal}" if info.signal else f"exit code {info.exit_code}"
            return exited(f"The interpreter ended with {by}; what it knew is gone")
        return exited("The interpreter ended")

    async def interrupt(self) -> list[dict[str, Any]]:
        """What had been written by then, as far as it is not too much. An interpreter that does not hear an interrupt
        is of no use any more: its next user gets a new one."""
        written, size = list[dict[str, Any]](), 0
        with contextlib.suppress(ProcessEnded, ProcessNotFound):
            await self._agent.signal(self._info.pid, signal.SIGINT, group=True)
            try:
                async with asyncio.timeout(INTERRUPT_TIMEOUT):
                    while (event := await self._next()) is not None:
                        if event["type"] in WRITTEN and size < JOINED:
                            written.append(event)
                            size += len(str(event.get("text")))
            except TimeoutError:
                self._finished = True
                await end(self._agent, self._info)
        return written

    async def _give_up(self) -> None:
        await self.interrupt()


async def lines(events: AsyncIterator[ProcessEvent]) -> AsyncIterator[bytes]:
    """Until the process ends, or a line is longer than ``MAX_EVENT``: code can write what it likes."""
    pending, size = list[bytes](), 0
    async for event in events:
        if isinstance(event, Exited):
            return
        if not isinstance(event, Output) or event.stream != "stdout":
            continue
        first, *further = event.data.split(b"\n")
        pending.append(first)
        size += len(first)
        for part in further:
            yield b"".join(pending)
            pending, size = [part], len(part)
        if size > MAX_EVENT:
            return


def event_of(line: bytes) -> dict[str, Any]:
    """Empty for what is none."""
    try:
        event = parsed(line)
    except (ValueError, RecursionError):
        return {}
    known = isinstance(event, dict) and isinstance(event.get("type"), str) and event["type"] in EVENTS
    return event if known else {}


def exited(message: str) -> dict[str, Any]:
    return {"type": "error", "name": "InterpreterExited", "value": message, "traceback": ""}


@dataclass(frozen=True)
class Context:
    id: str
    language: str
    user: str
    cwd: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def tag(self) -> str:
        return TAG + self.id + ("" if self.language == PYTHON else SEPARATOR + self.language)


async def start(agent: AgentClient, context: Context) -> ProcessInfo:
    if context.language != PYTHON:
        await require_node(agent, context.user)
    return await agent.start(
        ProcessSpec(
            argv=LANGUAGES[context.language](),
            cwd=context.cwd,
            env=dict(context.environment),
            user=context.user,
            stdin=True,
            tag=context.tag,
            replay_bytes=REPLAY_BYTES,
        )
    )


async def require_node(agent: AgentClient, user: str) -> None:
    if (await agent.run(ProcessSpec(argv=("sh", "-c", "command -v node mkfifo mktemp"), user=user))).exit_code:
        raise CommandNotFound("JavaScript needs Node.js in the image", hint="Install it, or use the default image.")


async def ready(agent: AgentClient, name: str, user: str, environment: Mapping[str, str]) -> tuple[ProcessInfo, bool]:
    """The interpreter of this name, started anew (True) where it has ended: its state is gone, its name is not."""
    try:
        info = await find(agent, name)
    except InterpreterNotFound:
        if name != DEFAULT:
            raise
        return await start(agent, Context(name, PYTHON, user)), True
    if info.running:
        return info, False
    await agent.forget(info.pid)
    return await start(agent, Context(name, interpreter(info).language, user, info.cwd, environment)), True


def trim(known: OrderedDict[Any, Any]) -> None:
    if len(known) > REMEMBERED:
        known.popitem(last=False)


async def find(agent: AgentClient, name: str) -> ProcessInfo:
    """Whatever its language is. InterpreterNotFound."""
    for language in LANGUAGES if SEPARATOR not in name else ():
        with contextlib.suppress(ProcessNotFound):
            return await agent.process(Context(name, language, "").tag)
    raise InterpreterNotFound(f"Context {name} not found")


async def end(agent: AgentClient, info: ProcessInfo) -> None:
    with contextlib.suppress(ProcessEnded, ProcessNotFound):
        await agent.signal(info.pid, signal.SIGKILL, group=True)
    with contextlib.suppress(ProcessNotFound):
        await agent.wait(info.pid, KILL_TIMEOUT)
        await agent.forget(info.pid)


def interpreter(info: ProcessInfo) -> Interpreter:
    name, _, language = (info.tag or "").removeprefix(TAG).partition(SEPARATOR)
    started = datetime.fromtimestamp(info.started_at, UTC)
    return Interpreter(name, info.cwd, language or PYTHON, started, info.running)
