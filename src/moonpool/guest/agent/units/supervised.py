"""The processes of a service: who they are, and how they are ended."""

import asyncio
import contextlib
import os
import signal
import time

from .children import Child
from .journal import WARNING, Journal
from .launch import belongs, members
from .settings import Settings
from .unit import Unit
from .unit_files import Definition

GONE_PAUSE, GONE_PAUSE_MOST = 0.01, 0.1  # seconds between looks whether a service's processes are gone


class Supervised(Unit):
    """``main`` is what the service is, ``control`` a command beside it."""

    def __init__(self, definition: Definition, journal: Journal) -> None:
        self._journal = journal
        self.settings: Settings | None
        self.main: Child | None = None
        self.control: Child | None = None
        self.invocation = ""
        self._leaders: set[int] = set()
        super().__init__(definition)

    @property
    def ruled(self) -> Settings:
        assert self.settings is not None
        return self.settings

    def say(self, message: str, priority: int = 6) -> None:
        self._journal.write(self.name, message, priority, invocation=self.invocation)

    def owns(self, pid: int) -> bool:
        return bool(self.invocation) and not self.at_rest and belongs(pid, self.invocation, self._leaders)

    def members(self) -> set[int]:
        found = members(self.invocation, self._leaders) if self.invocation else set()
        if self.main is not None and self.main.alive:
            found.add(self.main.pid)
        return found

    def kill(self, number: int, whom: str) -> None:
        """Send a signal to its processes: ``all``, ``main`` or ``control``."""
        targets = self.members() if whom == "all" else set()
        if whom in ("main", "main-fail", "all") and self.main is not None and self.main.alive:
            targets = targets | {self.main.pid}
        if whom in ("control", "control-fail") and self.control is not None:
            targets = {self.control.pid}
        for pid in targets:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    async def _terminate(self) -> bool:
        """End what is left of it, at first kindly; whether it had to be killed."""
        mode = self.ruled.kill_mode
        if mode == "none" or not self.members():
            return False
        self.set("deactivating", "stop-sigterm")
        everyone = mode == "control-group"
        self._signal(self.ruled.kill_signal, everyone=everyone)
        self._signal(signal.SIGCONT, everyone=everyone)
        if self.ruled.send_sighup:
            self._signal(signal.SIGHUP, everyone=everyone)
        if await self._gone(self.ruled.stop_timeout, everyone=everyone):
            if mode == "mixed":
                self._signal(signal.SIGKILL, everyone=True)
                await self._gone(self.ruled.stop_timeout, everyone=True)
            return False
        self.say("State 'stop-sigterm' timed out. Killing.", WARNING)
        if self.ruled.send_sigkill:
            self.set("deactivating", "stop-sigkill")
            self._signal(signal.SIGKILL, everyone=mode != "process")
            await self._gone(self.ruled.stop_timeout, everyone=mode != "process")
        return True

    def _signal(self, number: int, *, everyone: bool) -> None:
        targets = self.members() if everyone or self.main is None else {self.main.pid} if self.main.alive else set()
        if self.control is not None:
            targets = targets | {self.control.pid}
        for pid in targets:
            with contextlib.suppress(OSError):
                os.kill(pid, number)

    async def _gone(self, timeout: float | None, *, everyone: bool) -> bool:
        """Whether its processes, or just the main one, have ended in time."""
        deadline = None if timeout is None else time.monotonic() + timeout
        if self.main is not None and self.main.alive:
            await asyncio.wait((self.main.ended,), timeout=timeout)
            if self.main.alive:
                return False
        pause = GONE_PAUSE
        while everyone and self.members():
            if deadline is not None and time.monotonic() > deadline:
                return False
            await asyncio.sleep(pause)
            pause = min(2 * pause, GONE_PAUSE_MOST)
        return True
