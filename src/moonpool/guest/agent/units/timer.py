"""Timers: units that start others, by the calendar or some time after something."""

import asyncio
import contextlib
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from . import syntax
from .calendar import Calendar, parse
from .names import whole
from .syntax import BadSetting
from .unit import Unit
from .unit_files import Definition

SECTION = "Timer"
STAMPS = "/var/lib/systemd/timers"
SINCE_BOOT = ("OnBootSec", "OnStartupSec")
LONGEST = 3600.0  # seconds that are waited at once: the wall clock may be set
# What Debian's packages do for the machine that they are on; a sandbox is none.
HOUSEKEEPING = frozenset(
    f"{name}.timer"
    for name in ("apt-daily", "apt-daily-upgrade", "dpkg-db-backup", "e2scrub_all", "fstrim", "man-db", "motd-news")
)


@dataclass(frozen=True)
class Rules:
    """``spans``: seconds by key."""

    target: str
    spans: tuple[tuple[str, float], ...]
    calendars: tuple[Calendar, ...]
    persistent: bool
    spread: float


class Timer(Unit):
    """``on_elapse`` gets the timer whose time has come; ``find`` the unit of a name; ``booted`` is when all began."""

    def __init__(self, definition: Definition, find: Callable[[str], Unit], booted: float) -> None:
        self.rules = Rules("", (), (), False, 0.0)
        self.on_elapse: Callable[[Timer], None] = lambda timer: None
        self.next_at: float | None = None
        self.last_at: float | None = None
        self._find, self._booted = find, booted
        self._started = 0.0
        self._waiting: asyncio.TimerHandle | None = None
        super().__init__(definition)

    def _understand(self) -> None:
        definition = self.definition
        keys = (*SINCE_BOOT, "OnActiveSec", "OnUnitActiveSec", "OnUnitInactiveSec")
        spans = [(key, syntax.seconds(value) or 0.0) for key in keys for value in definition.all(SECTION, key)]
        calendars = tuple(parse(value) for value in definition.all(SECTION, "OnCalendar"))
        if not spans and not calendars:
            raise BadSetting("Timer unit lacks value setting. Refusing.")
        target = definition.last(SECTION, "Unit", self.name.removesuffix(".timer") + ".service")
        if whole(target) == self.name:
            raise BadSetting("A timer cannot start itself")
        self.rules = Rules(
            target,
            tuple(spans),
            calendars,
            syntax.flag(definition.last(SECTION, "Persistent", "no")),
            syntax.seconds(definition.last(SECTION, "RandomizedDelaySec", "0")) or 0.0,
        )

    # -- what it does ---------------------------------------------------------------------------------------------

    async def start(self) -> str:
        if self.is_active:
            return "done"
        if self.name in HOUSEKEEPING:
            return "skipped"
        self._started, self.last_at = time.time(), self._stamp()
        self.set("active", "waiting")
        if self.rules.persistent and self._missed():
            self._elapse()
        else:
            self.schedule()
        return "done"

    async def stop(self, *, requested: bool = True) -> str:
        self._cancel()
        self.next_at = None
        self.set("inactive", "dead")
        return "done"

    @property
    def triggers(self) -> str | None:
        return self.rules.target or None

    def follow(self) -> None:
        self.schedule()

    def schedule(self) -> None:
        """Look anew when it is to elapse: something that it goes by may have happened."""
        if not self.is_active:
            return
        self._cancel()
        self.next_at = self._next(time.time())
        if self.next_at is None:
            self.set("active", "elapsed")
            return
        self.set("active", "waiting")
        delay = min(max(0.0, self.next_at - time.time()), LONGEST)
        self._waiting = asyncio.get_running_loop().call_later(delay, self._due)

    def _due(self) -> None:
        self._waiting = None
        if self.next_at is not None and time.time() + 0.001 >= self.next_at:
            self._elapse()
        else:
            self.schedule()

    def _elapse(self) -> None:
        self.last_at = time.time()
        with contextlib.suppress(OSError):
            if self.rules.persistent:
                os.makedirs(STAMPS, exist_ok=True)
                with open(self._stamp_path, "w"):
                    os.utime(self._stamp_path)
        self.set("active", "running")
        self.on_elapse(self)
        self.schedule()

    def _cancel(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    # -- when -----------------------------------------------------------------------------------------------------

    def _next(self, now: float) -> float | None:
        """The earliest moment that is not past."""
        unit = self._find(self.rules.target)
        found = [at for calendar in self.rules.calendars if (at := calendar.after(now)) is not None]
        for key, span in self.rules.spans:
            since = self._since(key, unit)
            if since is not None and (since + span > (self.last_at or 0.0)):
                found.append(max(now, since + span))
        if not found:
            return None
        return min(found) + random.uniform(0.0, self.rules.spread)  # noqa: S311 - nobody is to be kept from guessing

    def _since(self, key: str, unit: Unit) -> float | None:
        if key in SINCE_BOOT:
            return self._booted
        if key == "OnActiveSec":
            return self._started
        moment = unit.begun_at
        if key == "OnUnitInactiveSec":
            moment = unit.inactive_since if unit.at_rest and unit.begun_at else None
        return None if moment is None else max(moment, self.last_at or 0.0)

    def _missed(self) -> bool:
        """Whether it would have elapsed while nobody was there."""
        last = self.last_at
        return last is not None and any(
            (calendar.after(last) or last) < time.time() for calendar in self.rules.calendars
        )

    @property
    def _stamp_path(self) -> str:
        return f"{STAMPS}/stamp-{self.name}"

    def _stamp(self) -> float | None:
        with contextlib.suppress(OSError):
            return os.stat(self._stamp_path).st_mtime
        return None
