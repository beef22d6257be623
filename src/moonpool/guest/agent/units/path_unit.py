"""Paths that are looked after for services: what happens to them starts the service."""

import asyncio
import contextlib
import glob
import os
from collections import deque
from collections.abc import Callable

from .. import inotify
from ..errors import AgentError
from . import syntax
from .names import whole
from .settings import general_specifier
from .syntax import BadSetting
from .trigger import Trigger
from .unit import Unit
from .unit_files import Definition

SECTION = "Path"
EXISTS, GLOB, FULL = "PathExists", "PathExistsGlob", "DirectoryNotEmpty"
CHANGED, MODIFIED = "PathChanged", "PathModified"
KEYS = (EXISTS, GLOB, FULL, CHANGED, MODIFIED)
COMING = inotify.CREATE | inotify.MOVED_TO | inotify.MOVED_FROM | inotify.DELETE | inotify.ATTRIB
ENTRIES = COMING | inotify.CLOSE_WRITE | inotify.DELETE_SELF | inotify.MOVE_SELF
TRIGGER_INTERVAL, TRIGGERS = 2.0, 200  # seconds, starts
Rule = tuple[str, str]  # a key, and the path or pattern behind it


class PathUnit(Trigger):
    """``on_event`` gets the unit whose service is to be started."""

    def __init__(self, definition: Definition, find: Callable[[str], Unit], say: Callable[[str, str], None]) -> None:
        self.on_event: Callable[[PathUnit], None] = lambda unit: None
        self._target = ""
        self.rules: tuple[Rule, ...] = ()
        self._kernel: inotify.Inotify | None = None
        self._watches: dict[int, list[tuple[Rule, str | None]]] = {}
        self._changed = False  # while the service ran
        self._recent: deque[float] = deque(maxlen=TRIGGERS)
        super().__init__(definition, find, say)

    def _understand(self) -> None:
        definition = self.definition
        rules = tuple(
            (key, os.path.normpath(syntax.expand(value, general_specifier)))
            for key in KEYS
            for value in definition.all(SECTION, key)
        )
        if not rules:
            raise BadSetting("Path unit lacks path setting. Refusing.")
        if not all(path.startswith("/") for _, path in rules):
            raise BadSetting("A path to look after has to be absolute")
        target = whole(definition.last(SECTION, "Unit", self.name.removesuffix(".path") + ".service"))
        if target == self.name:
            raise BadSetting("A path unit cannot start itself")
        self.rules, self._target = rules, target

    @property
    def triggers(self) -> str | None:
        return self._target or None

    # -- what it does ---------------------------------------------------------------------------------------------

    async def start(self) -> str:
        if self.is_active:
            return "done"
        self.result, self._changed = "success", False
        try:
            if syntax.flag(self.definition.last(SECTION, "MakeDirectory", "no")):
                for _, path in self.rules:
                    os.makedirs(path, int(self.definition.last(SECTION, "DirectoryMode", "0755"), 8), exist_ok=True)
            self._kernel = inotify.Inotify()
            asyncio.get_running_loop().add_reader(self._kernel.descriptor, self._came)
            self._look()
        except (OSError, AgentError) as error:
            return self.fail("resources", f"Failed to look after a path: {error}")
        self.set("active", "waiting")
        self.follow()
        return "done"

    def _close(self) -> None:
        if self._kernel is not None:
            asyncio.get_running_loop().remove_reader(self._kernel.descriptor)
            self._kernel.close()
        self._kernel, self._watches = None, {}

    def follow(self) -> None:
        """Once its service is over, what has happened meanwhile counts, and what holds still."""
        service = self._find(self._target)
        if not self.is_active or not service.at_rest:
            return
        if service.limited:
            self.fail("unit-start-limit-hit", f"{service.name} was started too often.")
        elif self._changed or any(_holds(rule) for rule in self.rules):
            self._trigger()
        else:
            self.set("active", "waiting")

    def _trigger(self) -> None:
        now = asyncio.get_running_loop().time()
        self._recent.append(now)
        if len(self._recent) == TRIGGERS and now - self._recent[0] < TRIGGER_INTERVAL:
            self.fail("trigger-limit-hit", "Trigger limit hit, refusing further activation.")
            return
        self._changed = False
        self.set("active", "running")
        asyncio.get_running_loop().call_soon(self.on_event, self)

    # -- what the kernel tells --------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Watch each path, and the way to it: it may go and come again."""
        assert self._kernel is not None
        watches: dict[int, list[tuple[Rule, str | None]]] = {}
        for rule in self.rules:
            key, path = rule
            own = ENTRIES | (inotify.MODIFY if key == MODIFIED else 0)
            steps = _way(path if key != GLOB else _before_pattern(path))
            for position, step in enumerate(steps):
                last = position == len(steps) - 1
                with contextlib.suppress(OSError):
                    following = None if last else os.path.basename(steps[position + 1])
                    number = self._kernel.add(step, own if last else COMING | inotify.DELETE_SELF | inotify.MOVE_SELF)
                    watches.setdefault(number, []).append((rule, following))
        for number in self._watches.keys() - watches.keys():
            self._kernel.remove(number)
        self._watches = watches

    def _came(self) -> None:
        assert self._kernel is not None
        anew = False
        for record in self._kernel.read():
            for (key, path), following in self._watches.get(record.watch, ()):
                on_the_way = following is not None and record.name == following
                anew = anew or on_the_way or bool(record.mask & (inotify.DELETE_SELF | inotify.MOVE_SELF))
                arrived = on_the_way and path.endswith(f"/{following}") and record.mask & ~inotify.ATTRIB
                if key in (CHANGED, MODIFIED) and (following is None or arrived):
                    self._changed = True
        if anew:
            self._look()
        self.follow()


def _holds(rule: Rule) -> bool:
    key, path = rule
    if key == EXISTS:
        return os.path.exists(path)
    if key == GLOB:
        return bool(glob.glob(path))
    if key == FULL:
        with contextlib.suppress(OSError):
            return bool(os.listdir(path))
    return False


def _way(path: str) -> list[str]:
    """The folders on the way to a path, and the path."""
    parts = path.strip("/").split("/")
    return ["/", *("/" + "/".join(parts[: position + 1]) for position in range(len(parts)))]


def _before_pattern(path: str) -> str:
    """The folder in which the first part with a pattern is to be found."""
    parts = path.split("/")
    plain = next((at for at, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return "/".join(parts[:plain]) or "/"
