"""The service manager of a sandbox: its units, its jobs, what starts by itself."""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterable

from ..processes import Processes
from ..users import Users
from ..workers import Workers
from . import generators, tmpfiles, unit_files
from .jobs import RESTART, START, STARTING, STOP, STRONG, Job, Order, Refused, Transaction
from .journal import WARNING, Journal
from .launch import Launcher
from .names import SUPPORTED, is_template, whole
from .path_unit import PathUnit
from .service import Service
from .socket_unit import Passed, SocketUnit, Visit, instance_name, joined, remote_of
from .timer import Timer
from .trigger import Trigger
from .unit import Unit

RUNNING = "/run/systemd/system"  # where programs look whether systemd is there
DEFAULT_TARGET = "default.target"
MANAGER_UNIT = "init.scope"  # whose journal has what is about no unit
# What packages' scripts ask for before they start anything, and what waits in them.
MILESTONES = ("sysinit.target", "basic.target", "sockets.target", "paths.target", DEFAULT_TARGET, "timers.target")
FALLBACK_TARGET = "multi-user.target"


class Manager:
    def __init__(self, users: Users, processes: Processes, workers: Workers) -> None:
        self._users, self._workers = users, workers
        self.journal = Journal()
        self.units: dict[str, Unit] = {}
        self.order = Order(self.units)
        self.jobs: list[Job] = []
        self.booted = False
        self.on_boot: Callable[[], None] = lambda: None
        self.idle = True  # nothing but milestones has been started so far
        self._due: asyncio.TimerHandle | None = None
        self.began = time.time()  # what a boot is to other machines
        self.environment: dict[str, str] = {}  # of all services that start from now on
        self._launcher = Launcher(users, processes, workers, self.journal, self.environment)
        self._preparing: asyncio.Task[None] | None = None
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._visited: dict[str, Visit] = {}
        self._changes: set[asyncio.Future[None]] = set()

    # -- units ----------------------------------------------------------------------------------------------------

    def load(self, name: str) -> Unit:
        """The unit, as its files say now unless it is doing something. ValueError for what is no name."""
        name = whole(name)
        known = self.units.get(name)
        if known is not None and not (known.active == "inactive" and not self._job_of(known)):
            return known
        definition = unit_files.read(name)
        if name == DEFAULT_TARGET and definition.path is None:
            definition = unit_files.read(FALLBACK_TARGET)
        known = self.units.get(definition.name)
        if known is None:
            known = self.units[definition.name] = self._made(definition)
        elif known.active == "inactive" and not self._job_of(known):
            known.take(definition)
        return known

    def _made(self, definition: unit_files.Definition) -> Unit:
        if definition.name.endswith(".service"):
            service = Service(definition, self._launcher, self.journal)
            service.on_rest, service.on_restart = self._at_rest, self._again
            service.on_passed = self._passed
            unit: Unit = service
        elif definition.name.endswith(".timer"):
            timer = Timer(definition, self.load, self.began)
            timer.on_elapse = self._triggered
            unit = timer
        elif definition.name.endswith(".socket"):
            listening = SocketUnit(definition, self._users, self.load, self._warn)
            listening.on_traffic = self._connected
            unit = listening
        elif definition.name.endswith(".path"):
            path = PathUnit(definition, self.load, self._warn)
            path.on_event = self._triggered
            unit = path
        else:
            unit = Unit(definition)
        unit.on_change = self._changed
        return unit

    def services(self) -> list[Service]:
        return [unit for unit in self.units.values() if isinstance(unit, Service)]

    def timers(self) -> list[Timer]:
        return [unit for unit in self.units.values() if isinstance(unit, Timer)]

    @property
    def wakes_in(self) -> float | None:
        """Seconds until a timer elapses."""
        moments = [timer.next_at for timer in self.timers() if timer.is_active and timer.next_at is not None]
        return max(0.0, min(moments) - time.time()) if moments else None

    def everything(self) -> list[Unit]:
        """What is loaded, and what has a file."""
        for name in unit_files.known():
            if not is_template(name) and name.endswith(SUPPORTED):
                self.load(name)
        found = [unit for unit in self.units.values() if unit.load_state != "not-found" or not unit.at_rest]
        return sorted(found, key=lambda unit: unit.name)

    def reload(self) -> None:
        """Read all files again; what runs goes on."""
        for name, unit in list(self.units.items()):
            definition = unit_files.read(name)
            if definition.name == name:
                if definition.load_state == "loaded" or unit.at_rest:
                    unit.take(definition)
                elif definition.load_state == "masked":
                    unit.load_state = "masked"
            if unit.active == "inactive" and unit.load_state == "not-found":
                del self.units[name]
        for timer in self.timers():
            timer.schedule()

    def forget(self, name: str) -> None:
        unit = self.units.get(name)
        if unit is not None and unit.at_rest:
            del self.units[name]

    def owner(self, pid: int) -> str | None:
        """The service that a process belongs to."""
        return next((service.name for service in self.services() if service.owns(pid)), None)

    # -- jobs -----------------------------------------------------------------------------------------------------

    def begin(self, kind: str, name: str) -> Job:
        """Have it started, stopped, started again or reloaded, with all that this asks for. Raises Refused."""
        transaction = Transaction(self.load, self.order)
        transaction.add(name, kind)
        transaction.untangle(self.jobs, lambda unit, message: self.journal.write(unit, message, WARNING))
        anchor = self.load(name)
        jobs = {job.unit.name: self._enqueue(job) for job in transaction.jobs.values()}
        return jobs[anchor.name]

    def _enqueue(self, job: Job) -> Job:
        for other in [other for other in self.jobs if other.unit is job.unit]:
            same = other.kind == job.kind or {job.kind, other.kind} == {START, RESTART}
            if same and not (job.kind == RESTART and other.running):
                return other
            if other.kind in STARTING and job.kind in (STOP, RESTART):
                self._cancel(other, replaced=job.kind == RESTART)
        self.jobs.append(job)
        self._quiet.clear()
        job.task = asyncio.get_running_loop().create_task(self._run(job))
        return job

    def _cancel(self, job: Job, *, replaced: bool) -> None:
        """Whoever needs a job that another one replaces waits for that."""
        if job.task is not None:
            job.task.cancel()
        self._finish(job, "canceled", needed=not replaced)

    async def _run(self, job: Job) -> None:
        while True:
            waiting = [other.done for other in self.jobs if other is not job and self.order.waits(job, other)]
            if not waiting:
                break
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        job.running = True
        result = "failed"
        try:
            result = await self._perform(job)
        finally:
            if not job.done.done():
                self._finish(job, result)

    async def _perform(self, job: Job) -> str:
        if job.kind in STARTING:
            missing = [
                name
                for name in job.unit.related("Requisite")
                if not self.load(name).is_active and not unit_files.is_completed(name)
            ]
            if missing:
                self.journal.write(job.unit.name, f"Dependency failed for {job.unit.label}.", WARNING)
                return "dependency"
        if job.kind == STOP:
            return await job.unit.stop()
        if job.kind == START:
            return await job.unit.start()
        if job.kind == RESTART:
            await job.unit.stop()
            return await job.unit.start()
        return await job.unit.reload()

    def _finish(self, job: Job, result: str, *, needed: bool = True) -> None:
        if job.done.done():
            return
        job.done.set_result(result)
        self.jobs.remove(job)
        if result != "skipped" and not job.unit.name.endswith(".target"):
            self.idle = False
        if job.kind in STARTING and result not in ("done", "skipped") and needed:
            self._fail_dependents(job)
        self._settle()

    def _fail_dependents(self, job: Job) -> None:
        for other in list(self.jobs):
            needs = other.kind in STARTING and job.unit.name in other.unit.related(*STRONG)
            if needs and not other.running and other in self.jobs:
                self.journal.write(other.unit.name, f"Dependency failed for {other.unit.label}.", WARNING)
                if other.task is not None:
                    other.task.cancel()
                self._finish(other, "dependency")

    def _job_of(self, unit: Unit) -> Job | None:
        return next((job for job in self.jobs if job.unit is unit), None)

    # -- what follows by itself -----------------------------------------------------------------------------------

    def _at_rest(self, service: Service, failed: bool) -> None:
        self._leave(service)
        keys = ("OnFailure",) if failed else ("OnSuccess",)
        for name in service.related(*keys):
            self._follow(START, name, f"Triggering {keys[0]}= dependency {name}", service)
        if not service.is_active:
            for other in list(self.order.dependents(service.name, ("BindsTo",))):
                if not other.at_rest and self._job_of(other) is None:
                    self._follow(STOP, other.name, f"Stopping {other.name}, which is bound to it", service)
        if not failed and service.settings is not None and service.settings.delete_after_success:
            unit_files.complete(service.name)
            if service.at_rest:
                service.take(unit_files.read(service.name))

    def _follow(self, kind: str, name: str, message: str, service: Service) -> None:
        service.say(message)
        try:
            self.begin(kind, name)
        except Refused as error:
            service.say(f"Failed to enqueue {name}: {error}", WARNING)

    def _triggered(self, unit: Unit) -> None:
        target = str(unit.triggers)
        self.journal.write(unit.name, f"Triggering {target}")
        try:
            self.begin(START, target)
        except Refused as error:
            self._warn(unit.name, f"Failed to start {target}: {error}")
            if isinstance(unit, Trigger):
                unit.fail("resources", f"{target} cannot be started.")

    def _warn(self, name: str, message: str) -> None:
        self.journal.write(name, message, WARNING)

    def _connected(self, unit: SocketUnit, connection: socket.socket | None) -> None:
        """Somebody is there: for the service, or for one that is started for this connection alone."""
        if connection is None:
            self._triggered(unit)
            return
        try:
            service = self.load(instance_name(unit, connection))
            if not isinstance(service, Service):
                raise Refused(f"{service.name} is no service", "not-found")
            self._visited[service.name] = Visit(unit, connection)
            self.begin(START, service.name).done.add_done_callback(lambda done: self._leave(service, only_if_over=True))
        except (Refused, OSError, ValueError) as error:
            self._warn(unit.name, f"Failed to start a service for a connection: {error}")
            connection.close()
            unit.left()

    def _leave(self, service: Unit, *, only_if_over: bool = False) -> None:
        """What was started for a connection is over: nothing of it is kept but its journal."""
        if only_if_over and not service.at_rest:
            return
        visit = self._visited.pop(service.name, None)
        if visit is not None:
            visit.connection.close()
            visit.unit.left()
            asyncio.get_running_loop().call_soon(self.forget, service.name)

    def _passed(self, service: Service) -> Passed:
        """The sockets that a service is started with."""
        visit = self._visited.get(service.name)
        if visit is not None:
            return Passed((visit.connection.fileno(),), (visit.unit.ruled.name,), remote_of(visit.connection))
        sockets = [
            unit
            for unit in self.units.values()
            if isinstance(unit, SocketUnit)
            and unit.is_active
            and (unit.triggers == service.name or unit.name in service.ruled.sockets)
        ]
        return joined(unit.passed for unit in sockets)

    def _again(self, service: Service) -> None:
        """Its time to be started again has come."""
        service.set("inactive", "dead")
        if service.settings is not None:
            try:
                self.begin(START, service.name)
            except Refused as error:
                service.say(f"Failed to schedule restart job: {error}", WARNING)
                service.set("failed", "failed")

    def _changed(self, unit: Unit) -> None:
        for other in [other for other in self.units.values() if other.triggers == unit.name]:
            other.follow()
        for change in self._changes:
            if not change.done():
                change.set_result(None)
        self._settle()

    async def rested(self, unit: Unit) -> None:
        """Until it is neither active nor about to be."""
        while not unit.at_rest:
            change = asyncio.get_running_loop().create_future()
            self._changes.add(change)
            try:
                await change
            finally:
                self._changes.discard(change)

    def _settle(self) -> None:
        if self.busy:
            self._quiet.clear()
        else:
            self._quiet.set()

    @property
    def busy(self) -> bool:
        """Whether something is being done, or is about to be: then the sandbox must not sleep."""
        preparing = self._preparing is not None or self._due is not None
        return (
            preparing
            or bool(self.jobs)
            or any(service.active in ("activating", "deactivating") for service in self.services())
        )

    async def settled(self) -> None:
        await self._quiet.wait()

    # -- the sandbox's own life -----------------------------------------------------------------------------------

    def boot(self, *, within: float = 0.0) -> None:
        """Start what is enabled, once; after a resume all goes on by itself. That may wait for ``within`` seconds, or
        until ``hurry``: a new sandbox's first command is to have the processor before it."""
        if self.booted:
            for service in self.services():
                service.resumed()
            for timer in self.timers():
                timer.schedule()
            return
        with contextlib.suppress(OSError):
            os.makedirs(RUNNING, exist_ok=True)
        if self._due is not None:
            self._due.cancel()
        if within:
            self._due = asyncio.get_running_loop().call_later(within, self._begin)
            self._settle()
        else:
            self._begin()

    def hurry(self) -> None:
        """Somebody asks about units: what may wait does not any more."""
        if self._due is not None:
            self.boot()

    def _begin(self) -> None:
        self._due = None
        self.began = time.time()
        self.booted = True
        self.on_boot()
        if generators.programs() or tmpfiles.of_a_boot():
            self.idle = False
            self._preparing = asyncio.get_running_loop().create_task(self._start_prepared())
        else:
            self._start_default()
        self._settle()

    def _start_default(self) -> None:
        with unit_files.one_look():
            for target in MILESTONES:
                with contextlib.suppress(Refused):
                    self.begin(START, target)

    async def _start_prepared(self) -> None:
        try:
            for problem in await self._workers.call(None, lambda: tmpfiles.at_boot(self._users)):
                self.journal.write(MANAGER_UNIT, problem, WARNING)
            await self.generate()
        finally:
            self._preparing = None
            self._start_default()
            self._settle()

    async def generate(self) -> None:
        """Have packages make their units."""
        for problem in await self._launcher.generate():
            self.journal.write(MANAGER_UNIT, problem, WARNING)

    def act(self, kind: str, names: Iterable[str]) -> list[tuple[str, Job | Refused]]:
        """A job for each name, or why there is none."""
        found: list[tuple[str, Job | Refused]] = []
        for name in names:
            try:
                found.append((name, self.begin(kind, name)))
            except Refused as error:
                found.append((name, error))
        return found
