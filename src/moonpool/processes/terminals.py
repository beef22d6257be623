"""Terminals with a shell in them, which any number of clients may watch and type into.

The agent keeps the terminal and what it has shown; here is only what the agent does not know: the variables it was
given, and whether its client wanted it to start lazily.
"""

import contextlib
import signal
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from moonpool.access.model import Principal
from moonpool.errors import CommandNotFound, ProcessEnded, ProcessNotFound
from moonpool.guest.client import AgentClient
from moonpool.guest.model import ProcessEvent, ProcessInfo, ProcessSpec, TerminalSize
from moonpool.processes.errors import TerminalEnded, TerminalExists, TerminalNotFound
from moonpool.processes.model import Sandboxes, Terminal, checked_environment, checked_name, checked_text

TAG = "terminal:"
SHELLS = (("bash", "-i", "-l"), ("sh", "-i"))
SCROLLBACK = 1024 * 1024  # bytes kept for those who attach later, and for those who read slowly
REMEMBERED = 4096  # terminals of which the extra variables are known
TERM = "xterm-256color"
KILL_TIMEOUT = 5.0  # seconds for a killed shell to be gone


@dataclass(frozen=True)
class NewTerminal:
    id: str
    rows: int = 24
    columns: int = 80
    cwd: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    lazy: bool = False


class TerminalService:
    def __init__(self, sandboxes: Sandboxes) -> None:
        self._sandboxes = sandboxes
        self._given: OrderedDict[tuple[str, str], NewTerminal] = OrderedDict()
        self._creating: set[tuple[str, str]] = set()

    async def create(self, principal: Principal, sandbox: str, new: NewTerminal) -> Terminal:
        """Raises TerminalExists while one of this id runs; one that has ended makes room.

        A lazy one starts as well: what it shows before its first client comes is kept for that client.
        """
        checked_name(new.id, "id")
        checked_text(new.cwd or "", "cwd")
        checked_environment(new.environment)
        async with self._sandboxes.session(principal, sandbox) as session:
            key = (session.sandbox.id, new.id)
            if key in self._creating:
                raise TerminalExists(f"Terminal {new.id} exists already")
            self._creating.add(key)
            try:
                await make_room(session.agent, new.id)
                info = await start(session.agent, new, session.sandbox.user)
            finally:
                self._creating.discard(key)
            self._remember(key, new)
            return self._terminal(session.sandbox.id, info)

    async def list(self, principal: Principal, sandbox: str) -> list[Terminal]:
        async with self._sandboxes.session(principal, sandbox) as session:
            infos = await session.agent.processes()
            return [self._terminal(session.sandbox.id, info) for info in infos if (info.tag or "").startswith(TAG)]

    async def get(self, principal: Principal, sandbox: str, terminal_id: str) -> Terminal:
        async with self._sandboxes.session(principal, sandbox) as session:
            return self._terminal(session.sandbox.id, await find(session.agent, terminal_id))

    async def resize(self, principal: Principal, sandbox: str, terminal_id: str, rows: int, columns: int) -> Terminal:
        """Raises TerminalEnded, TerminalNotFound."""
        async with self._sandboxes.session(principal, sandbox) as session:
            info = await find(session.agent, terminal_id)
            if not info.running:
                raise TerminalEnded
            await session.agent.resize(info.pid, rows, columns)
            return self._terminal(session.sandbox.id, await find(session.agent, terminal_id))

    async def delete(self, principal: Principal, sandbox: str, terminal_id: str) -> None:
        async with self._sandboxes.session(principal, sandbox) as session:
            await end(session.agent, await find(session.agent, terminal_id))
            self._given.pop((session.sandbox.id, terminal_id), None)

    @asynccontextmanager
    async def attach(self, principal: Principal, sandbox: str, terminal_id: str) -> AsyncIterator["AttachedTerminal"]:
        """Watch and type: first what the terminal has shown (as far as it is kept), then what it shows."""
        async with self._sandboxes.session(principal, sandbox) as session:
            info = await find(session.agent, terminal_id)
            async with session.agent.attach(info.pid, replay=True) as events:
                yield AttachedTerminal(session.agent, info, events)

    def _remember(self, key: tuple[str, str], new: NewTerminal) -> None:
        self._given[key] = new
        self._given.move_to_end(key)
        while len(self._given) > REMEMBERED:
            self._given.popitem(last=False)

    def _terminal(self, sandbox_id: str, info: ProcessInfo) -> Terminal:
        terminal_id = (info.tag or "").removeprefix(TAG)
        given = self._given.get((sandbox_id, terminal_id))
        return Terminal(
            id=terminal_id,
            cwd=info.cwd,
            environment=given.environment if given else {},
            rows=info.rows or 0,
            columns=info.cols or 0,
            created_at=datetime.fromtimestamp(info.started_at, UTC),
            running=info.running,
            exit_code=info.exit_code,
            lazy=given.lazy if given else False,
        )


@dataclass(frozen=True)
class AttachedTerminal:
    agent: AgentClient
    info: ProcessInfo
    events: AsyncIterator[ProcessEvent]

    async def write(self, data: bytes) -> None:
        """Type; what is typed after the end is dropped, since its writer cannot know yet."""
        with contextlib.suppress(ProcessEnded, ProcessNotFound):
            await self.agent.write_stdin(self.info.pid, data)


async def start(agent: AgentClient, new: NewTerminal, user: str) -> ProcessInfo:
    for argv in SHELLS:
        spec = ProcessSpec(
            argv=argv,
            cwd=new.cwd,
            env={"TERM": TERM, **new.environment},
            user=user,
            tag=TAG + new.id,
            terminal=TerminalSize(new.rows, new.columns),
            replay_bytes=SCROLLBACK,
        )
        with contextlib.suppress(CommandNotFound):
            return await agent.start(spec)
    raise CommandNotFound("The sandbox has no shell")


async def find(agent: AgentClient, terminal_id: str) -> ProcessInfo:
    try:
        return await agent.process(TAG + terminal_id)
    except ProcessNotFound:
        raise TerminalNotFound(f"Terminal {terminal_id} not found") from None


async def make_room(agent: AgentClient, terminal_id: str) -> None:
    try:
        info = await find(agent, terminal_id)
    except TerminalNotFound:
        return
    if info.running:
        raise TerminalExists(f"Terminal {terminal_id} exists already")
    await agent.forget(info.pid)


async def end(agent: AgentClient, info: ProcessInfo) -> None:
    with contextlib.suppress(ProcessEnded, ProcessNotFound):
        await agent.signal(info.pid, signal.SIGKILL)
    with contextlib.suppress(ProcessNotFound):
        await agent.wait(info.pid, KILL_TIMEOUT)
        await agent.forget(info.pid)
