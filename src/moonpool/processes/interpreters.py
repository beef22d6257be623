"""Python interpreters that keep their state between pieces of code."""

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from moonpool.access.model import Principal
from moonpool.errors import AgentTimeout, InvalidInput, ProcessEnded, ProcessNotFound
from moonpool.guest.client import AgentClient
from moonpool.guest.model import Exited, Output, ProcessEvent, ProcessInfo, ProcessSpec
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
DEFAULT = "default"
LANGUAGE = "python"
REPLAY_BYTES = 1024 * 1024  # well above what a live reader may lag behind, so that no event is lost
INTERRUPT_TIMEOUT = 3.0  # seconds for interrupted code to give up before its interpreter is killed
KILL_TIMEOUT = 5.0  # seconds for a killed interpreter to be gone
QUEUED_LINES = 256  # events that wait for a slow reader before the interpreter is held back
FINAL = "control"
INTERPRETER_EXITED = {"type": "error", "name": "InterpreterExited", "value": "The interpreter ended", "traceback": ""}


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
    """``Event`` is what ``inside/interpret.py`` says: type stdout, stderr, error or control."""

    def __init__(self, sandboxes: Sandboxes) -> None:
        self._sandboxes = sandboxes
        self._locks: dict[tuple[str, str], asyncio.Lock] = {}

    async def create(
        self, principal: Principal, sandbox: str, *, cwd: str | None = None, language: str | None = None
    ) -> Interpreter:
        if (language or LANGUAGE) != LANGUAGE:
            raise InvalidInput(f"language must be {LANGUAGE}", field="language")
        checked_text(cwd or "", "cwd")
        async with self._sandboxes.session(principal, sandbox) as session:
            info = await start(session.agent, new_uuid(), session.sandbox.user, cwd)
            return interpreter(info)

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
            lock = self._locks.setdefault((session.sandbox.id, name), asyncio.Lock())
            async with lock:
                info = await ready(session.agent, name, session.sandbox.user)
                async with (
                    session.agent.attach(info.pid, replay=False) as events,
                    Run(session.agent, info, events, timeout) as run,
                ):
                    await run.begin(execution)
                    while (event := await run.next_event()) is not None:
                        yield event


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
        self._reader: asyncio.Task[None] | None = None
        self._finished = False

    async def __aenter__(self) -> "Run":
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_exception: object) -> None:
        try:
            if not self._finished:
                await self._give_up()
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
            line = await self._lines.get()
            if line is None:
                self._finished = True
                return dict(INTERPRETER_EXITED)
            event: dict[str, Any] = json.loads(line)
            if event.pop("id", None) == self._id:
                self._finished = event["type"] == FINAL
                return event
        return None

    async def _give_up(self) -> None:
        """An interpreter that does not hear an interrupt is of no use any more: its next user gets a new one."""
        with contextlib.suppress(ProcessEnded, ProcessNotFound):
            await self._agent.signal(self._info.pid, signal.SIGINT, group=True)
            try:
                async with asyncio.timeout(INTERRUPT_TIMEOUT):
                    while await self._next() is not None:
                        pass
            except TimeoutError:
                await end(self._agent, self._info)


async def lines(events: AsyncIterator[ProcessEvent]) -> AsyncIterator[bytes]:
    pending = b""
    async for event in events:
        if isinstance(event, Exited):
            return
        if isinstance(event, Output) and event.stream == "stdout":
            *complete, pending = (pending + event.data).split(b"\n")
            for line in complete:
                yield line


async def start(agent: AgentClient, name: str, user: str, cwd: str | None = None) -> ProcessInfo:
    return await agent.start(
        ProcessSpec(
            argv=("python3", "-u", "-c", source("interpret.py")),
            cwd=cwd,
            user=user,
            stdin=True,
            tag=TAG + name,
            replay_bytes=REPLAY_BYTES,
        )
    )


async def ready(agent: AgentClient, name: str, user: str) -> ProcessInfo:
    """The interpreter of this name, started anew where it has ended: its state is gone, its name is not."""
    try:
        info = await agent.process(TAG + name)
    except ProcessNotFound:
        if name != DEFAULT:
            raise InterpreterNotFound(f"Context {name} not found") from None
        return await start(agent, name, user)
    if info.running:
        return info
    await agent.forget(info.pid)
    return await start(agent, name, user, info.cwd)


async def find(agent: AgentClient, name: str) -> ProcessInfo:
    try:
        return await agent.process(TAG + name)
    except ProcessNotFound:
        raise InterpreterNotFound(f"Context {name} not found") from None


async def end(agent: AgentClient, info: ProcessInfo) -> None:
    with contextlib.suppress(ProcessEnded, ProcessNotFound):
        await agent.signal(info.pid, signal.SIGKILL, group=True)
    with contextlib.suppress(ProcessNotFound):
        await agent.wait(info.pid, KILL_TIMEOUT)
        await agent.forget(info.pid)


def interpreter(info: ProcessInfo) -> Interpreter:
    name = (info.tag or "").removeprefix(TAG)
    return Interpreter(name, info.cwd, LANGUAGE, datetime.fromtimestamp(info.started_at, UTC), info.running)
