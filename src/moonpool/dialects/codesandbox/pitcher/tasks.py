"""Tasks: commands that the workspace names, each with a shell while and after it runs."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from moonpool.dialects.codesandbox.pitcher import taskfile
from moonpool.dialects.codesandbox.pitcher.client import Client
from moonpool.dialects.codesandbox.pitcher.params import DEFAULT_SIZE
from moonpool.dialects.codesandbox.pitcher.place import Place, cancel
from moonpool.dialects.codesandbox.pitcher.ports import Ports
from moonpool.dialects.codesandbox.pitcher.shell import Identity, Shell
from moonpool.dialects.codesandbox.pitcher.shells import Shells
from moonpool.dialects.codesandbox.pitcher.taskfile import Task, TaskFile
from moonpool.dialects.codesandbox.pitcher.tokens import Grant
from moonpool.dialects.codesandbox.pitcher.wire import Code, Failure
from moonpool.errors import GuestError
from moonpool.guest.client import AgentClient
from moonpool.guest.model import Port
from moonpool.ids import random_word

SESSION_FIELD = 3  # of /proc/PID/stat, counted from behind the program's name
STAT_SIZE = 4096  # bytes


@dataclass(frozen=True)
class Starter:
    """Who starts a task, and whoever is told what it writes. ``number`` is the request's."""

    grant: Grant
    client: Client | None = None
    number: int | None = None


class Tasks:
    """The file is read anew for every question; what it said last stands in where there is no time to ask."""

    def __init__(
        self, place: Place, shells: Shells, ports: Ports, started: Callable[[Grant, TaskFile], Awaitable[None]]
    ) -> None:
        """``started`` is told of the file that says of a task, once that was started."""
        self._place = place
        self._told_of = started
        self._shells = shells
        self._ports = ports
        self._file = TaskFile()
        self._owners: dict[int, str] = {}  # port -> task
        self._told: dict[str, list[int]] = {}  # task -> ports that clients know of
        self._lock = asyncio.Lock()
        self._sorting: asyncio.Task[None] | None = None
        shells.listen(self._ended)

    async def close(self) -> None:
        await cancel(self._sorting)

    async def read(self, agent: AgentClient, grant: Grant) -> TaskFile:
        self._file = await taskfile.read(agent, grant.workspace, grant.user)
        return self._file

    async def list(self, grant: Grant) -> dict[str, Any]:
        async with self._place.agent() as agent:
            file = await self.read(agent, grant)
        return {
            "tasks": {task.id: self._document(task) for task in file.tasks.values()},
            "setupTasks": [{"name": step.name, "command": step.command} for step in file.setup],
            "validationErrors": list(file.errors),
        }

    async def run(self, starter: Starter, task_id: str) -> dict[str, Any]:
        """Start it, or start it again."""
        async with self._lock:
            task = await self._find(starter.grant, task_id)
            shell = self._shell(task_id)
            if shell is not None:
                await self._shells.terminate(shell.id, starter.grant.user)
            await self._start(starter, task)
        await self._told_of(starter.grant, self._file)
        document = self._document(task)
        self._tell(task)
        return document

    async def stop(self, grant: Grant, task_id: str) -> dict[str, Any]:
        async with self._lock:
            task = await self._find(grant, task_id)
            shell = self._shell(task_id)
            if shell is not None and shell.alive:
                await self._shells.terminate(shell.id, grant.user, keep=True)
        return self._document(task)

    async def run_at_start(self, grant: Grant) -> None:
        """Those that are to run with the sandbox and have not since its start, and those that run since before its last
        start and are to be started again."""
        for task in tuple(self._file.tasks.values()):
            shell = self._shell(task.id)
            outlived = shell is not None and shell.alive and outdated(task, shell.identity.life, self._place.life)
            if outlived or (task.run_at_start and shell is None):
                await self.run(Starter(grant), task.id)

    async def run_again(self, grant: Grant, task_ids: Collection[str]) -> None:
        """Those of them that run."""
        for task_id in task_ids:
            shell = self._shell(task_id)
            if shell is not None and shell.alive:
                await self.run(Starter(grant), task_id)

    def ports_changed(self) -> None:
        """Tell of the tasks whose ports have come or gone: at once where the tasks say which are theirs, else once it
        is found out whose they are."""
        numbers = {port.port for port in self._ports.open}
        self._owners = {number: owner for number, owner in self._owners.items() if number in numbers}
        self._tell_of_ports()
        if self._sorting is None or self._sorting.done():
            self._sorting = asyncio.create_task(self._sort(), name=f"ports of tasks of {self._place.sandbox_id}")

    # -- starting ------------------------------------------------------------------------------------------------------

    async def _find(self, grant: Grant, task_id: str) -> Task:
        async with self._place.agent() as agent:
            file = await self.read(agent, grant)
        task = file.tasks.get(task_id)
        if task is None:
            raise Failure(Code.TASK_NOT_FOUND, f"Task {task_id[:80]} not found")
        return task

    async def _start(self, starter: Starter, task: Task) -> Shell:
        grant = starter.grant
        identity = Identity(
            id=random_word(16),
            kind="COMMAND",
            name=task.name,
            owner=grant.user,
            home=grant.home,
            cwd=grant.workspace,
            command=task.command,
            task=task.id,
            life=self._place.life,
        )
        listeners = (starter.client,) if starter.client is not None else ()
        if starter.client is not None:
            starter.client.hold(identity.id, starter.number)
        return await self._shells.create(identity, DEFAULT_SIZE, *listeners)

    # -- showing -------------------------------------------------------------------------------------------------------

    def _shell(self, task_id: str) -> Shell | None:
        """The latest."""
        shells = [shell for shell in self._shells.known() if shell.identity.task == task_id]
        return shells[-1] if shells else None

    def _document(self, task: Task) -> dict[str, Any]:
        shell = self._shell(task.id)
        owned = [port for port in self._ports.open if self._owner(port) == task.id]
        shown: dict[str, Any] = {"id": task.id, "name": task.name, "command": task.command}
        if task.port is not None:
            shown["preview"] = {"port": task.port}
        if task.restart_on is not None:
            shown["restartOn"] = task.restart_on.document()
        return {
            **shown,
            "runAtStart": task.run_at_start,
            "shell": shell.document() if shell is not None else None,
            "ports": [self._ports.document(port) for port in owned],
        }

    def _owner(self, port: Port) -> str | None:
        """Whose a port is: the task's that says so, or the one's whose program listens."""
        for task in self._file.tasks.values():
            if task.port == port.port:
                return task.id
        return self._owners.get(port.port)

    def _tell(self, task: Task) -> None:
        self._place.tell_all("task/update", self._document(task))

    def _ended(self, shell: Shell) -> None:
        task = self._file.tasks.get(shell.identity.task or "")
        if task is not None and self._shell(task.id) is shell:
            self._tell(task)

    async def _sort(self) -> None:
        """Once more where ports have come or gone meanwhile."""
        sorted_out: list[Port] | None = None
        while sorted_out != self._ports.open:
            sorted_out = self._ports.open
            await self._find_owners(sorted_out)
            self._tell_of_ports()

    async def _find_owners(self, ports: Sequence[Port]) -> None:
        running = {shell.pid: shell.identity.task for shell in self._shells.known() if shell.alive}
        if not any(running.values()):
            return
        async with self._place.watching() as agent:
            for port in ports:
                if port.pid is not None and port.port not in self._owners:
                    owner = running.get(await session_of(agent, port.pid))
                    self._owners.update({port.port: owner} if owner else {})

    def _tell_of_ports(self) -> None:
        for task in self._file.tasks.values():
            shown = [port.port for port in self._ports.open if self._owner(port) == task.id]
            if shown != self._told.get(task.id, []):
                self._told[task.id] = shown
                self._tell(task)


def outdated(task: Task, began: tuple[str, str] | None, now: tuple[str, str]) -> bool:
    """Whether a task is to be started again that began in an earlier life, of this sandbox or of the one that it is a
    copy of."""
    if task.restart_on is None or began is None or began == now:
        return False
    return task.restart_on.resume if began[0] == now[0] else task.restart_on.clone


async def session_of(agent: AgentClient, pid: int) -> int:
    """The number of the session that a process is in, which is its terminal's first process; 0 when it is gone."""
    try:
        async with agent.read(f"/proc/{pid}/stat", 0, STAT_SIZE) as reader:
            content = b"".join([piece async for piece in reader])
        return int(content.rpartition(b")")[2].split()[SESSION_FIELD])
    except (GuestError, ValueError, IndexError):
        return 0
