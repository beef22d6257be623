"""What the host asks of the service manager."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from ...protocol import Stream
from ..errors import AgentError
from ..processes import Processes
from ..request import Request
from ..users import Users
from ..workers import Workers
from . import commands_inside, unit_files
from .control import Control
from .jobs import RESTART, START, STOP, Job
from .manager import Manager
from .names import instance_of, whole
from .properties import document
from .syslog import Syslog
from .systemctl import explanation

KINDS = {"start": START, "stop": STOP, "restart": RESTART}
MAX_LINES = 100_000
LEISURE = 5.0  # seconds that a boot may wait in which nothing is known to be started, while there is else to do


class Units:
    """Nothing happens before a root has been entered: until then the files are not the sandbox's. ``idle`` is called
    after a boot that has started nothing and found nothing to write."""

    def __init__(
        self, users: Users, processes: Processes, workers: Workers, suffix: str, idle: Callable[[], object]
    ) -> None:
        self.manager = Manager(users, processes, workers)
        self.manager.on_boot = self._booted
        self._idle, self._listening = idle, False
        self.entered = False
        self._processes, self._workers = processes, workers
        self._control = Control(self.manager, users, workers, suffix)
        self._syslog = Syslog(self.manager.journal, self.manager.owner)
        processes.reaping = self._syslog.read  # said by a process before its end: belongs to its service
        self._placing: asyncio.Task[None] | None = None

    def live(self, *, at_leisure: bool = False) -> None:
        """The sandbox has an identity: at its first start its services start, after a resume they go on. With
        ``at_leisure`` they may start a little later, which is for sandboxes that have none."""
        if not self.entered:
            return
        if not self._listening:
            self._listening = True
            self._control.listen()
            self._syslog.listen()
        self.manager.boot(within=LEISURE if at_leisure else 0.0)

    def _booted(self) -> None:
        self._placing = asyncio.get_running_loop().create_task(self._place())

    async def _place(self) -> None:
        missing = await self._workers.call(None, commands_inside.install)
        await self.manager.settled()
        if self.manager.idle and not missing:
            self._idle()

    def flush(self) -> None:
        self.manager.journal.flush()

    async def wait_alone(self, stream: Stream, request: Request) -> dict[str, float | None]:
        """Until no process but the agent is alive and no service is about to be started; answers when a timer will."""
        while True:
            await self._processes.wait_alone(stream, request)
            self.manager.hurry()
            if not self.manager.busy:
                return {"wakes_in": self.manager.wakes_in}
            await self.manager.settled()

    # -- operations -----------------------------------------------------------------------------------------------

    def _need(self) -> Manager:
        self.manager.hurry()
        if not self.manager.booted:
            raise AgentError("not_supported", "there are no services before the sandbox has its root")
        return self.manager

    async def units(self, stream: Stream, request: Request) -> dict[str, Any]:
        return {"units": [document(unit) for unit in self._need().everything() if unit.name.endswith(".service")]}

    async def unit(self, stream: Stream, request: Request) -> dict[str, Any]:
        return document(self._find(request.text("name")))

    def _find(self, name: str) -> Any:
        unit = self._need().load(_checked(name))
        if unit.load_state == "not-found" and unit.at_rest and unit.active_since is None:
            raise AgentError("unit_not_found", f"Unit {name} not found.")
        return unit

    async def unit_write(self, stream: Stream, request: Request) -> None:
        """Write the files, read them in, enable what is to be. Nothing is written where one is there already."""
        manager = self._need()
        files = request.documents("files")
        replace = request.flag("replace")
        for file in files:
            name = _checked(file["name"].partition("/")[0].removesuffix(".d") if "/" in file["name"] else file["name"])
            if "/" in file["name"]:
                self._find(name)
            elif not replace and unit_files.find(name) is not None:
                raise AgentError("unit_exists", f"Unit {name} exists already.")
        for file in files:
            unit_files.write(file["name"], file["text"])
        manager.reload()
        for file in files:
            name = file["name"].partition("/")[0].removesuffix(".d") if "/" in file["name"] else file["name"]
            if file.get("enable") is False:
                unit_files.disable(name)
            elif file.get("enable"):
                unit_files.enable(name)
        self._refuse_bad([file["name"] for file in files if "/" not in file["name"]], replace=replace)
        manager.reload()

    def _refuse_bad(self, names: list[str], *, replace: bool) -> None:
        for name in names:
            unit = self.manager.load(name)
            if unit.load_state == "bad-setting":
                for other in names if not replace else ():
                    unit_files.disable(other)
                    unit_files.remove(other)
                    self.manager.forget(other)
                raise AgentError("invalid_unit", unit.load_error)

    async def unit_delete(self, stream: Stream, request: Request) -> None:
        unit = self._find(request.text("name"))
        if not unit.at_rest:
            await self._need().begin(STOP, unit.name).done
        unit_files.disable(unit.name)
        if not unit_files.remove(unit.name) and unit_files.find(unit.name) and not instance_of(unit.name):
            with contextlib.suppress(FileExistsError):  # of the image: what hides it is all that lasts
                unit_files.mask(unit.name)
        self.manager.forget(unit.name)
        self.manager.reload()

    async def unit_act(self, stream: Stream, request: Request) -> dict[str, Any]:
        """A result for each name, once all are done."""
        kind = KINDS.get(request.text("action"))
        if kind is None:
            raise AgentError("invalid_input", "action: start, stop or restart")
        names = [_checked(name) for name in request.texts("names")]
        jobs = self._need().act(kind, names)
        return {"results": [await self._result(name, kind, job) for name, job in jobs]}

    async def _result(self, name: str, kind: str, job: Job | Exception) -> dict[str, Any]:
        if not isinstance(job, Job):
            return {"name": name, "success": False, "message": str(job)}
        if kind == STOP and job.unit.load_state == "not-found":
            return {"name": name, "success": False, "message": f"Unit {name} not loaded."}
        result = await job.done
        good = result in ("done", "skipped")
        done = {START: "started", STOP: "stopped", RESTART: "restarted"}[kind]
        return {
            "name": name,
            "success": good,
            "message": f"{name} {done}" if good else explanation(name, result, job.unit).partition("\n")[0],
        }

    async def unit_logs(self, stream: Stream, request: Request) -> dict[str, Any]:
        name = request.optional_text("name")
        if name is not None:
            self._find(name)
        since = request.seconds("since")
        count = request.optional_integer("lines", 0, MAX_LINES)
        moment = None if since is None else int(since * 1e6)
        lines = self._need().journal.read(None if name is None else [whole(name)], lines=count, since=moment)
        return {
            "lines": [
                {"message": line.message, "timestamp": line.time / 1e6, "priority": line.priority, "unit": line.unit}
                for line in lines
            ]
        }

    async def units_settle(self, stream: Stream, request: Request) -> dict[str, Any]:
        try:
            async with asyncio.timeout(request.seconds("timeout")):
                await self._need().settled()
        except TimeoutError:
            return {"settled": False}
        return {"settled": True}


def _checked(name: str) -> str:
    try:
        return whole(name)
    except ValueError as error:
        raise AgentError("invalid_unit", str(error)) from error
