"""A service: how it is started, watched, stopped and started again."""

import asyncio
import contextlib
import os
import signal
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping

from . import conditions, left_out
from .children import Child
from .commands import Command
from .endings import CLEAN_SIGNALS, RESTARTING, Failed, Skipped, decoded, pid_in, told
from .journal import ERROR, NOTICE, WARNING, Journal
from .launch import INVOCATION, NOTHING, STATUS_NAMES, Launcher, LaunchFailed, parent_of
from .notify import NotifySocket
from .settings import read
from .signals import name_of
from .socket_unit import Passed
from .supervised import Supervised
from .unit_files import Definition

PID_FILE_WAIT, PID_FILE_PAUSE = 5.0, 0.05  # seconds
UNSEEN_PAUSE = 1.0  # seconds between looks at a service whose main process nobody knows


class Service(Supervised):
    """``on_rest`` is called when it has ended, with whether it failed; ``on_restart`` when it is to start again."""

    def __init__(self, definition: Definition, launcher: Launcher, journal: Journal) -> None:
        self._launcher = launcher
        self.on_passed: Callable[[Service], Passed] = lambda unit: NOTHING
        self.main_pid_last: int | None = None
        self.main_status: int | None = None
        self.main_started: float | None = None
        self.main_ended: float | None = None
        self.status_text = ""
        self.restarts = 0
        self._notify: NotifySocket | None = None
        self.on_rest: Callable[[Service, bool], None] = lambda unit, failed: None
        self.on_restart: Callable[[Service], None] = lambda unit: None
        self._starts: deque[float] = deque(maxlen=1000)
        self._ready = asyncio.Event()
        self._guarding: asyncio.Task[None] | None = None
        self._restarting: asyncio.TimerHandle | None = None
        self._watchdog_at: float | None = None
        self._watchdog: float | None = None
        self._up_at = 0.0
        self._completed = False  # whether the start came to its end, so that ExecStop is due
        super().__init__(definition, journal)

    def _understand(self) -> None:
        self.settings = None
        self.settings = read(self.definition, self._launcher.home)

    @property
    def can_reload(self) -> bool:
        return bool(self.settings and (self.settings.commands["ExecReload"] or self.settings.kind == "notify-reload"))

    @property
    def pending_restart(self) -> bool:
        return self._restarting is not None

    # -- starting -------------------------------------------------------------------------------------------------

    async def start(self) -> str:
        if self.is_active:
            return "done"
        self._forget_restart()
        unmet = conditions.unmet(self.ruled)
        if unmet is not None and unmet.startswith("Assert"):
            self.say(f"Starting {self.label} failed because of an assertion ({unmet}).", ERROR)
            self.result = "assert"
            return "failed"
        if unmet is not None:
            self.say(f"{self.label} was skipped because of an unmet condition check ({unmet}).")
            self._rest("inactive", "dead")
            return "skipped"
        if not self._within_limit():
            return "failed"
        self._begin()
        try:
            async with asyncio.timeout(self.ruled.start_timeout):
                await self._steps()
        except TimeoutError:
            self.say("start operation timed out. Terminating.", WARNING)
            await self._fail("timeout")
            return "timeout"
        except Skipped:
            self._rest("inactive", "dead")
            return "skipped"
        except Failed as failure:
            await self._fail(failure.result)
            return "failed"
        except LaunchFailed as failure:
            self._launch_failed(failure)
            await self._fail("exit-code")
            return "failed"
        return "done"

    def _within_limit(self) -> bool:
        now, rule = time.monotonic(), self.ruled
        recent = [moment for moment in self._starts if now - moment < rule.interval]
        self.limited = bool(rule.interval and rule.burst and len(recent) >= rule.burst)
        if self.limited:
            self.say("Start request repeated too quickly.", WARNING)
            if self.result == "success":
                self.result = "start-limit-hit"
            self.say(f"Failed with result '{self.result}'.", WARNING)
            self.say(f"Failed to start {self.label}.", ERROR)
            self._rest("failed", "failed")
            self.on_rest(self, True)
            return False
        self._starts.append(now)
        return True

    def _begin(self) -> None:
        self.invocation = uuid.uuid4().hex
        for note in left_out.notes(self.definition):
            self.say(note, NOTICE)
        self._leaders, self._completed = set(), False
        self.result, self.main, self.main_status, self.status_text = "success", None, None, ""
        self.main_ended = None
        self._ready.clear()
        self._watchdog, self._watchdog_at = self.ruled.watchdog, None
        self.set("activating", "start-pre")
        self.say(f"Starting {self.label}...")

    async def _steps(self) -> None:
        rule = self.ruled
        self._launcher.prepare(rule, self._launcher.user(rule))
        for command in rule.commands["ExecCondition"]:
            status = await self._control(command, tolerate=True)
            if status and status < 255:
                self.say("Skipped due to 'exec-condition'.")
                raise Skipped
            if status:
                raise Failed("exit-code")
        for command in rule.commands["ExecStartPre"]:
            await self._control(command)
        self.set("activating", "start")
        await self._start_main()
        if rule.commands["ExecStartPost"]:
            self.set("activating", "start-post")
        for command in rule.commands["ExecStartPost"]:
            await self._control(command)
        self._completed = True
        await self._up()

    async def _start_main(self) -> None:
        commands = self.ruled.commands["ExecStart"]
        if self.ruled.kind == "oneshot":
            for command in commands:
                await self._one_shot(command)
            return
        if self.ruled.kind == "forking":
            await self._control(commands[0], passed=self.on_passed(self))
            await self._find_main()
            return
        self._set_main(self._spawn(commands[0]))
        if self.ruled.kind in ("notify", "notify-reload"):
            await self._wait_ready()

    async def _one_shot(self, command: Command) -> None:
        main = self._spawn(command)
        self._set_main(main)
        status = await main.ended
        self._main_has_ended(status)
        result = self._judge(status)
        if result != "success" and not command.ignored:
            raise Failed(result)

    async def _wait_ready(self) -> None:
        """Until it says that it is ready; its end comes first when it never does."""
        assert self.main is not None
        ready = asyncio.ensure_future(self._ready.wait())
        try:
            while not self._ready.is_set():
                main = self.main
                await asyncio.wait((ready, main.ended), return_when=asyncio.FIRST_COMPLETED)
                if not self._ready.is_set() and main is self.main and not main.alive:
                    self._main_has_ended(main.ended.result())
                    result = self._judge(main.ended.result())
                    raise Failed("protocol" if result == "success" else result)
        finally:
            ready.cancel()

    async def _find_main(self) -> None:
        """The process that a forking service has left: by its file, or because there is just one."""
        path, deadline = self.ruled.pid_file, time.monotonic() + PID_FILE_WAIT
        while path is not None:
            pid = pid_in(path)
            if pid is not None:
                self._set_main(self._launcher.adopt(pid))
                return
            if time.monotonic() > deadline:
                self.say(f"Can't open PID file {path} (yet?) after start: No such file or directory", WARNING)
                raise Failed("protocol")
            await asyncio.sleep(PID_FILE_PAUSE)
        orphans = [pid for pid in self.members() if parent_of(pid) in (os.getpid(), 1)]
        if len(orphans) == 1:
            self._set_main(self._launcher.adopt(orphans[0]))

    def _spawn(self, command: Command) -> Child:
        child = self._launcher.start(self.name, self.ruled, command, self._variables(), self.on_passed(self))
        self._leaders.add(child.pid)
        return child

    def _set_main(self, child: Child) -> None:
        self.main, self.main_pid_last, self.main_started = child, child.pid, time.time()
        self._feed_watchdog()

    async def _control(
        self,
        command: Command,
        *,
        tolerate: bool = False,
        extra: Mapping[str, str] | None = None,
        passed: Passed = NOTHING,
    ) -> int:
        """Run a command beside the main one to its end; its exit code (128 and more for a signal). Failed."""
        child = self._launcher.start(self.name, self.ruled, command, {**self._variables(), **(extra or {})}, passed)
        self._leaders.add(child.pid)
        self.control = child
        try:
            status = await child.ended
        finally:
            self.control = None
        code, number = decoded(status)
        if code == 0 or command.ignored or self.ruled.success.match(code, number):
            return 0
        self.say(f"Control process exited, {told(status)}", NOTICE)
        if not tolerate:
            raise Failed("exit-code" if number is None else "signal")
        return code if code is not None else 128 + (number or 0)

    def _variables(self) -> dict[str, str]:
        found = {INVOCATION: self.invocation}
        if self.ruled.kind in ("notify", "notify-reload") or self.ruled.watchdog:
            self._notify = self._notify or NotifySocket(self.invocation, self.notified)
            found["NOTIFY_SOCKET"] = self._notify.name
        if self._watchdog:
            found["WATCHDOG_USEC"] = str(int(self._watchdog * 1e6))
        if self.main is not None and self.main.alive:
            found["MAINPID"] = str(self.main.pid)
        return found

    async def _up(self) -> None:
        """The start is over: it runs, or has done what it was there for."""
        if self.ruled.kind == "oneshot":
            self.say(f"Finished {self.label}.")
            if self.ruled.remain:
                self.set("active", "exited")
                self.on_rest(self, False)
            else:
                await self._terminate()
                await self._end("success")
            return
        self._up_at = time.monotonic()
        self.set("active", "running")
        self.say(f"Started {self.label}.")
        self._guarding = asyncio.get_running_loop().create_task(self._guard())

    # -- while it runs --------------------------------------------------------------------------------------------

    async def _guard(self) -> None:
        """Until its main process ends by itself or says nothing for too long; then what follows from that."""
        result = "success"
        while True:
            main = self.main
            if self._runtime_left() == 0.0:
                self.say("Service reached runtime time limit. Stopping.", WARNING)
                result = "timeout"
                break
            if main is None:
                if not self.members():
                    break
                await asyncio.sleep(UNSEEN_PAUSE)
                continue
            limits = [left for left in (self._watchdog_left(), self._runtime_left()) if left is not None]
            await asyncio.wait((main.ended,), timeout=min(limits, default=None))
            if not main.alive and main is self.main:
                self._main_has_ended(main.ended.result())
                result = self._judge(main.ended.result())
                break
            if main.alive and self._watchdog_left() == 0.0:
                result = await self._bite(main)
                break
        if result == "success" and self.ruled.remain:
            self.set("active", "exited")
            return
        if result == "success":
            await self._run_stop_commands()
        await self._terminate()
        await self._end(result)

    async def _bite(self, main: Child) -> str:
        limit = self._watchdog or 0.0
        self.say(f"Watchdog timeout (limit {limit:g}s)!", ERROR)
        self.set("deactivating", "stop-watchdog")
        self.say(f"Killing process {main.pid} with signal SIG{name_of(self.ruled.watchdog_signal)}.", NOTICE)
        with contextlib.suppress(ProcessLookupError):
            os.kill(main.pid, self.ruled.watchdog_signal)
        await asyncio.wait((main.ended,), timeout=self.ruled.stop_timeout)
        if not main.alive:
            self._main_has_ended(main.ended.result())
        return "watchdog"

    def _feed_watchdog(self) -> None:
        self._watchdog_at = None if self._watchdog is None else asyncio.get_running_loop().time() + self._watchdog

    def _watchdog_left(self) -> float | None:
        if self._watchdog_at is None:
            return None
        return max(0.0, self._watchdog_at - asyncio.get_running_loop().time())

    def _runtime_left(self) -> float | None:
        """Of RuntimeMaxSec. The time of a pause does not count, as the monotonic clock does not then."""
        limit = self.ruled.runtime
        return None if limit is None else max(0.0, self._up_at + limit - time.monotonic())

    def resumed(self) -> None:
        """The sandbox was frozen or restored: time that passed meanwhile does not count."""
        self._feed_watchdog()

    def notified(self, fields: Mapping[str, str]) -> None:
        """What it has said through NOTIFY_SOCKET."""
        if "STATUS" in fields:
            self.status_text = fields["STATUS"][:1000]
        if fields.get("MAINPID", "").isdigit():
            number = int(fields["MAINPID"])
            if number != (self.main.pid if self.main else None) and os.path.exists(f"/proc/{number}"):
                self._replace_main(number)
        if fields.get("RELOADING") == "1" and self.active == "active":
            self.set("reloading", "reload-notify")
        if fields.get("READY") == "1":
            self._ready.set()
            if self.active == "reloading":
                self.set("active", "running")
        if fields.get("WATCHDOG_USEC", "").isdigit():
            self._watchdog = int(fields["WATCHDOG_USEC"]) / 1e6 or None
            self._feed_watchdog()
        if fields.get("WATCHDOG") == "1":
            self._feed_watchdog()
        elif fields.get("WATCHDOG") == "trigger" and self.main is not None:
            self._watchdog_at = 0.0
        if fields.get("STOPPING") == "1" and self.is_active:
            self.set("deactivating", "stop-sigterm")

    def _replace_main(self, pid: int) -> None:
        guarded = self._guarding
        self._set_main(self._launcher.adopt(pid))
        if guarded is not None and not guarded.done() and self.active == "active":
            guarded.cancel()
            self._guarding = asyncio.get_running_loop().create_task(self._guard())

    def _main_has_ended(self, status: int) -> None:
        self.main_status, self.main_ended = status, time.time()
        self._watchdog_at = None
        if status != 0 and self._judge(status) != "success":
            self.say(f"Main process exited, {told(status)}", NOTICE)

    def _launch_failed(self, failure: LaunchFailed) -> None:
        self.main_status, self.main_ended = failure.status << 8, time.time()
        name = STATUS_NAMES.get(failure.status, "FAILURE")
        self.say(str(failure), ERROR)
        self.say(f"Main process exited, code=exited, status={failure.status}/{name}", NOTICE)

    def _judge(self, status: int) -> str:
        """What an end means: success, exit-code, signal or core-dump."""
        code, number = decoded(status)
        if self.ruled.success.match(code, number) or code == 0:
            return "success"
        if number is not None and self.ruled.kind != "oneshot" and number in CLEAN_SIGNALS:
            return "success"
        if number is None:
            return "exit-code"
        return "core-dump" if os.WCOREDUMP(status) else "signal"

    # -- stopping -------------------------------------------------------------------------------------------------

    async def stop(self, *, requested: bool = True) -> str:
        self._forget_restart()
        if self._guarding is not None:
            self._guarding.cancel()
            self._guarding = None
        if self.at_rest:
            return "done"
        if self.sub == "auto-restart":
            self._rest("inactive", "dead")
            return "done"
        self.say(f"Stopping {self.label}...")
        self.set("deactivating", "stop")
        if self._completed:
            await self._run_stop_commands()
        running = self.main is not None and self.main.alive
        killed = await self._terminate()
        result = "timeout" if killed else self.result
        if running and not killed and self.main is not None and not self.main.alive:
            self._main_has_ended(self.main.ended.result())
            result = self._judge(self.main.ended.result())
        await self._end(result, restart=False)
        return "done"

    async def _run_stop_commands(self) -> None:
        if self.ruled.commands["ExecStop"]:
            self.set("deactivating", "stop")
        try:
            async with asyncio.timeout(self.ruled.stop_timeout):
                for command in self.ruled.commands["ExecStop"]:
                    await self._control(command)
        except TimeoutError:
            self.say("Stopping timed out. Terminating.", WARNING)
        except Failed as failure:
            self.result = failure.result
        except LaunchFailed as failure:
            self.say(str(failure), ERROR)

    async def _fail(self, result: str) -> None:
        """A start that did not succeed: whatever runs is ended."""
        self.result = result
        await self._terminate()
        await self._end(result, failed_start=True)

    async def _end(self, result: str, *, restart: bool = True, failed_start: bool = False) -> None:
        """It runs no more: the commands for that, then its rest, or another start."""
        if self.result == "success":
            self.result = result
        if self.ruled.commands["ExecStopPost"]:
            self.set("deactivating", "stop-post")
            await self._run_stop_post()
        for folder in self.ruled.folders:
            if folder.variable == "RUNTIME_DIRECTORY" and not restart:
                with contextlib.suppress(OSError):
                    os.rmdir(folder.path)
        failed = self.result != "success"
        if failed:
            self.say(f"Failed with result '{self.result}'.", WARNING)
        else:
            self.say("Deactivated successfully.")
        if failed_start:
            self.say(f"Failed to start {self.label}.", ERROR)
        elif not restart:
            self.say(f"Stopped {self.label}.")
        if restart and self._restarts_after(self.result):
            self._restart_later()
            return
        self._rest("failed" if failed else "inactive", "failed" if failed else "dead")
        self.on_rest(self, failed)

    async def _run_stop_post(self) -> None:
        code, number = decoded(self.main_status) if self.main_status is not None else (None, None)
        variables = {"SERVICE_RESULT": self.result}
        if code is not None or number is not None:
            variables["EXIT_CODE"] = "exited" if number is None else "killed"
            variables["EXIT_STATUS"] = str(code) if number is None else name_of(number)
        for command in self.ruled.commands["ExecStopPost"]:
            try:
                async with asyncio.timeout(self.ruled.stop_timeout):
                    await self._control(command, extra=variables)
            except (Failed, TimeoutError, LaunchFailed) as error:
                if self.result == "success":
                    self.result = getattr(error, "result", "exit-code")

    def _rest(self, active: str, sub: str) -> None:
        self._let_go()
        self.set(active, sub)

    def _restarts_after(self, result: str) -> bool:
        code, number = decoded(self.main_status) if self.main_status is not None else (None, None)
        if self.ruled.prevent.match(code, number):
            return False
        return self.ruled.force.match(code, number) or self.ruled.restart in RESTARTING.get(result, ())

    def _let_go(self) -> None:
        self.main = None
        self._launcher.private_folders.end(self.name)
        if self._notify is not None:
            self._notify.close()
            self._notify = None

    def _restart_later(self) -> None:
        self._let_go()
        loop = asyncio.get_running_loop()
        self._restarting = loop.call_later(self.ruled.restart_delay, self._restart)
        self.set("activating", "auto-restart")

    def _restart(self) -> None:
        self._restarting = None
        self.restarts += 1
        self.say(f"Scheduled restart job, restart counter is at {self.restarts}.")
        self.on_restart(self)

    def _forget_restart(self) -> None:
        if self._restarting is not None:
            self._restarting.cancel()
            self._restarting = None

    # -- the rest -------------------------------------------------------------------------------------------------

    async def reload(self) -> str:
        if not self.can_reload or not self.is_active:
            return "failed"
        self.set("reloading", "reload")
        self.say(f"Reloading {self.label}...")
        try:
            async with asyncio.timeout(self.ruled.start_timeout):
                if self.ruled.kind == "notify-reload" and self.main is not None:
                    self._ready.clear()
                    os.kill(self.main.pid, signal.SIGHUP)
                    await self._ready.wait()
                for command in self.ruled.commands["ExecReload"]:
                    await self._control(command)
        except (Failed, TimeoutError, LaunchFailed):
            self.say(f"Reload failed for {self.label}.", WARNING)
            return "failed"
        finally:
            if self.active == "reloading":
                self.set("active", "running")
        self.say(f"Reloaded {self.label}.")
        return "done"

    def reset_failed(self) -> None:
        self._starts.clear()
        self.limited = False
        self.restarts = 0
        super().reset_failed()
