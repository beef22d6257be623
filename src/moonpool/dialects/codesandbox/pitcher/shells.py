"""The shells of one sandbox: shared by its clients, kept by its agent, followed here while anybody is connected."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

from moonpool.dialects.codesandbox.pitcher import wire
from moonpool.dialects.codesandbox.pitcher.client import Client
from moonpool.dialects.codesandbox.pitcher.feed import SCROLLBACK, Feed
from moonpool.dialects.codesandbox.pitcher.params import DEFAULT_SIZE
from moonpool.dialects.codesandbox.pitcher.place import Place, cancel
from moonpool.dialects.codesandbox.pitcher.shell import Identity, Shell, Status, ended_as, identity_of, is_command
from moonpool.dialects.codesandbox.pitcher.wire import Code, Failure
from moonpool.errors import AgentTimeout, AgentUnavailable, InvalidState, ProcessEnded, ProcessNotFound
from moonpool.guest.client import AgentClient
from moonpool.guest.model import Exited, Output, ProcessEvent, TerminalSize

MAX_SHELLS = 256  # running at once in one sandbox
CATCH_UP = 5.0  # seconds that opening waits for what the shell has shown before this server looked
KILLED = 10.0  # seconds for a killed shell to be gone
INPUT = 30.0  # seconds for a shell to take what is typed
MAX_ENDED = 128  # shells that have ended and can still be opened: as many as the agent remembers
LOST = 255  # exit code of a shell whose end nobody has seen
SYSTEM = "system"  # who ends shells that no client has ended

Ended = Callable[[Shell], None]


@dataclass(eq=False)
class Followed:
    """A running shell and who listens to it. ``killed``: its end is not told as an exit."""

    shell: Shell
    feed: Feed
    listeners: set[Client] = field(default_factory=set)
    caught_up: asyncio.Event = field(default_factory=asyncio.Event)
    typing: asyncio.Lock = field(default_factory=asyncio.Lock)
    task: "asyncio.Task[None] | None" = None
    killed: bool = False


class Shells:
    """``listen`` to hear of ends; ``load`` before anything else."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._shells: dict[str, Shell] = {}
        self._followed: dict[str, Followed] = {}
        self._starting = 0
        self._unfinished: set[asyncio.Task[Shell]] = set()
        self._closed = False
        self._listeners: list[Ended] = []

    def listen(self, ended: Ended) -> None:
        """Call ``ended`` when a shell has ended, whatever the reason."""
        self._listeners.append(ended)

    async def load(self, agent: AgentClient) -> None:
        """Find what runs and what has run, whoever started it: an earlier connection, an earlier server."""
        for info in await agent.processes():
            identity = identity_of(info)
            if identity is None:
                continue
            size = TerminalSize(info.rows or DEFAULT_SIZE.rows, info.cols or DEFAULT_SIZE.cols)
            shell = Shell(identity, info.pid, size)
            self._shells[identity.id] = shell
            if info.running:
                self._follow(shell, info.written)
            else:
                shell.exit_code = info.exit_code
                shell.status = ended_as(info.exit_code or 0)

    async def close(self) -> None:
        """Stop looking; the shells go on."""
        self._closed = True
        followed = list(self._followed.values())
        self._followed.clear()
        await cancel(*(one.task for one in followed))
        for one in followed:
            one.feed.close()

    # -- reading -------------------------------------------------------------------------------------------------------

    def all(self) -> list[Shell]:
        """Those that run, and commands that have ended; a terminal that has ended is nowhere to be typed into."""
        return [shell for shell in self._shells.values() if shell.alive or shell.identity.kind == "COMMAND"]

    def known(self) -> list[Shell]:
        """Every one that can be opened."""
        return list(self._shells.values())

    def has(self, shell_id: str) -> bool:
        return shell_id in self._shells

    def get(self, shell_id: str) -> Shell:
        shell = self._shells.get(shell_id)
        if shell is None:
            raise Failure(Code.SHELL_NOT_FOUND, "Shell not found")
        return shell

    async def open(self, client: Client, shell_id: str) -> tuple[Shell, str]:
        """The shell and what it shows; from now on the client is told what it writes."""
        shell = self.get(shell_id)
        followed = self._followed.get(shell_id)
        if followed is None:
            return shell, await self._last_words(shell)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CATCH_UP):
                await followed.caught_up.wait()
        followed.feed.flush()
        followed.listeners.add(client)
        return shell, followed.feed.scrollback()

    async def _last_words(self, shell: Shell) -> str:
        """What the agent still has of a shell that has ended."""
        kept = bytearray()
        try:
            async with self._place.agent() as agent, agent.attach(shell.identity.tag) as events:
                async for event in events:
                    if isinstance(event, Output):
                        kept += event.data
                        del kept[: -4 * SCROLLBACK]
        except ProcessNotFound:
            return ""
        text = kept.decode(errors="replace")
        return (text.replace("\r\n", "\n") if is_command(shell.identity) else text)[-SCROLLBACK:]

    # -- changing ------------------------------------------------------------------------------------------------------
    # What begins or ends a process is done to its end, even when the client that asked for it has gone meanwhile: else
    # there could be processes of which nobody here knows.

    async def create(self, identity: Identity, size: TerminalSize, *listeners: Client) -> Shell:
        """Start it. Raises Failure when ``MAX_SHELLS`` run already."""
        return await self._finished(self._create(identity, size, *listeners))

    async def terminate(self, shell_id: str, author: str, *, keep: bool = False) -> Shell:
        """End it and everything in it, and forget it, unless ``keep`` says otherwise."""
        return await self._finished(self._terminate(shell_id, author, keep=keep))

    async def restart(self, shell_id: str) -> Shell:
        """The same command anew, in the same shell and with the same listeners."""
        return await self._finished(self._restart(shell_id))

    async def _finished(self, work: Coroutine[Any, Any, Shell]) -> Shell:
        task = asyncio.create_task(work)
        self._unfinished.add(task)
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

    def _forget(self, task: "asyncio.Task[Shell]") -> None:
        self._unfinished.discard(task)
        if not task.cancelled():
            task.exception()  # Who asked for it has been told, or has gone.

    async def _create(self, identity: Identity, size: TerminalSize, *listeners: Client) -> Shell:
        running = sum(shell.alive for shell in self._shells.values())
        if running + self._starting >= MAX_SHELLS:
            raise Failure(Code.RATE_LIMIT, f"A sandbox has at most {MAX_SHELLS} running shells: end some first")
        self._starting += 1
        try:
            async with self._place.agent() as agent:
                info = await agent.start(identity.spec(size))
        finally:
            self._starting -= 1
        shell = Shell(identity, info.pid, size)
        self._shells[identity.id] = shell
        self._follow(shell, 0, *listeners)
        return shell

    async def rename(self, shell_id: str, name: str) -> None:
        shell = self.get(shell_id)
        tag = shell.identity.tag
        shell.identity = replace(shell.identity, name=name)
        if (followed := self._followed.get(shell_id)) is not None:
            followed.feed.plain = is_command(shell.identity)
        with contextlib.suppress(ProcessNotFound):  # An ended one, which the agent has forgotten.
            async with self._place.agent() as agent:
                await agent.retag(tag, shell.identity.tag)

    async def type(self, shell_id: str, text: str, size: TerminalSize | None) -> None:
        """In the order of the calls. Raises Failure for a shell that has ended or does not read."""
        shell = self.get(shell_id)
        followed = self._followed.get(shell_id)
        if followed is None:
            raise Failure(Code.SHELL_CLOSED, "The shell has ended")
        try:
            async with asyncio.timeout(INPUT), followed.typing, self._place.agent() as agent:
                await self._resize(agent, shell, size)
                if text:
                    await agent.write_stdin(shell.pid, text.encode(errors="replace"))
        except TimeoutError:
            raise Failure(Code.SHELL_NOT_ACCESSIBLE, "The shell does not read its input") from None
        except (ProcessEnded, ProcessNotFound):
            raise Failure(Code.SHELL_CLOSED, "The shell has ended") from None

    async def resize(self, shell: Shell, size: TerminalSize | None) -> None:
        """What has ended keeps its size."""
        if shell.alive and size not in (None, shell.size):
            with contextlib.suppress(ProcessEnded, ProcessNotFound):
                async with self._place.agent() as agent:
                    await self._resize(agent, shell, size)

    async def _resize(self, agent: AgentClient, shell: Shell, size: TerminalSize | None) -> None:
        if size is not None and size != shell.size:
            shell.size = size
            await agent.resize(shell.pid, size.rows, size.cols)

    async def _terminate(self, shell_id: str, author: str, *, keep: bool) -> Shell:
        shell = self.get(shell_id)
        await self._kill(shell)
        if shell.status is Status.KILLED:
            self._place.tell_all("shell/terminate", {"shellId": shell_id, "author": author})
        if not keep:
            self._shells.pop(shell_id, None)
            with contextlib.suppress(ProcessNotFound):
                async with self._place.agent() as agent:
                    await agent.forget(shell.identity.tag)
        return shell

    async def _restart(self, shell_id: str) -> Shell:
        shell = self.get(shell_id)
        if shell.identity.forgotten:
            raise Failure(Code.SHELL_NOT_ACCESSIBLE, "The command of this shell is not known any more")
        followed = self._followed.get(shell_id)
        listeners = tuple(followed.listeners) if followed else ()
        await self._kill(shell)
        shell.status = Status.RESTARTING
        try:
            async with self._place.agent() as agent:
                with contextlib.suppress(ProcessNotFound):
                    await agent.forget(shell.identity.tag)
                if shell.identity.life is not None:
                    shell.identity = replace(shell.identity, life=self._place.life)
                info = await agent.start(shell.identity.spec(shell.size))
        except BaseException:
            shell.status = Status.ERROR
            raise
        shell.pid, shell.status, shell.exit_code = info.pid, Status.RUNNING, None
        self._shells[shell_id] = shell
        self._follow(shell, 0, *listeners)
        self._place.tell_all("shell/restart", {"shellId": shell_id})
        return shell

    async def _kill(self, shell: Shell) -> None:
        followed = self._followed.get(shell.id)
        if followed is None:
            return
        followed.killed = True
        async with self._place.agent() as agent:
            with contextlib.suppress(ProcessEnded, ProcessNotFound):
                await agent.signal(shell.pid, signal.SIGKILL)
        if followed.task is not None:
            await asyncio.wait({followed.task}, timeout=KILLED)
            await cancel(followed.task)
        self._end(followed, None)

    def gone(self) -> None:
        """What ran ends with its sandbox, which will not be asked any more: who waits for a command is to be told."""
        for followed in self._followed.values():
            followed.killed = True
            followed.feed.flush()
            self._place.tell_all("shell/terminate", {"shellId": followed.shell.id, "author": SYSTEM})

    def _prune(self) -> None:
        ended = [shell.id for shell in self._shells.values() if not shell.alive]
        for shell_id in ended[:-MAX_ENDED]:
            del self._shells[shell_id]

    def leave(self, client: Client) -> None:
        for followed in self._followed.values():
            followed.listeners.discard(client)

    # -- following -----------------------------------------------------------------------------------------------------

    def _follow(self, shell: Shell, written: int, *listeners: Client) -> None:
        followed = Followed(shell, Feed(lambda text: self._tell(followed, text), plain=is_command(shell.identity)))
        followed.listeners.update(client for client in listeners if client in self._place.clients)
        if self._closed:
            return
        self._followed[shell.id] = followed
        followed.task = asyncio.create_task(self._watch(followed, written), name=f"shell {shell.id}")

    def _tell(self, followed: Followed, text: str) -> None:
        shell_id = followed.shell.id
        if followed.listeners:
            frame = wire.notification("shell/out", {"shellId": shell_id, "out": text})
            for client in followed.listeners:
                client.send(frame, shell_id)

    async def _watch(self, followed: Followed, written: int) -> None:
        """Until its end, over losses of the connection. ``written`` bytes come from before anybody asked."""
        while True:
            try:
                async with self._place.watching() as agent:
                    if (exited := await self._read(agent, followed, written)) is None:
                        raise AgentUnavailable
                self._end(followed, exited.exit_code)
                return
            except (AgentUnavailable, AgentTimeout, InvalidState):
                if await self._place.lost():
                    return
            except ProcessNotFound:
                self._end(followed, LOST)
                return

    async def _read(self, agent: AgentClient, followed: Followed, written: int) -> Exited | None:
        feed = followed.feed
        async with agent.attach(followed.shell.pid) as events:
            at = 0
            async for event in self._events(events, followed, written):
                if isinstance(event, Exited):
                    return event
                at += event.dropped
                known = max(0, feed.position - at)
                at += len(event.data)
                feed.position = max(feed.position, at - len(event.data))
                feed.receive(event.data[known:])
                if feed.full:
                    feed.flush()
                for client in list(followed.listeners):
                    await client.outbox.room()
        return None

    async def _events(
        self, events: AsyncIterator[ProcessEvent], followed: Followed, written: int
    ) -> AsyncIterator[ProcessEvent]:
        """The events, noting when what was written before has come."""
        if followed.feed.position >= written:
            followed.caught_up.set()
        async for event in events:
            yield event
            if followed.feed.position >= written:
                followed.caught_up.set()

    def _end(self, followed: Followed, exit_code: int | None) -> None:
        """``exit_code`` None: it was killed by a client."""
        shell = followed.shell
        if self._followed.get(shell.id) is not followed:
            return
        del self._followed[shell.id]
        followed.feed.finish()
        followed.feed.close()
        followed.caught_up.set()
        if followed.killed or exit_code is None:
            shell.status = Status.KILLED
        else:
            shell.status, shell.exit_code = ended_as(exit_code), exit_code
            params = {"shellId": shell.id, "shellType": shell.identity.kind, "exitCode": exit_code}
            self._place.tell_all("shell/exit", params)
        self._prune()
        for listener in self._listeners:
            listener(shell)
