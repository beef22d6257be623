"""A unit as it is known and as it is doing; what all kinds have in common."""

import time
from collections.abc import Callable

from . import unit_files
from .names import SUPPORTED, instance_of, prefix_of
from .syntax import expand
from .unit_files import Definition

ACTIVE = ("active", "reloading")
AT_REST = ("inactive", "failed")
SECTION = "Unit"


class Unit:
    """``active`` and ``sub`` are systemd's words. Targets have no processes: they are up once started."""

    def __init__(self, definition: Definition) -> None:
        self.active, self.sub, self.result = "inactive", "dead", "success"
        self.limited = False  # whether it was started too often just now
        self.changed_at = time.time()
        self.active_since: float | None = None
        self.inactive_since: float | None = None
        self.begun_at: float | None = None  # when it last left its rest
        self.on_change: Callable[[Unit], None] = lambda unit: None
        self.take(definition)

    def take(self, definition: Definition) -> None:
        """Go by these files from now on."""
        self.definition = definition
        self._related: dict[tuple[str, ...], list[str]] = {}
        self.load_state, self.load_error = definition.load_state, definition.error
        try:
            if definition.load_state == "loaded":
                self._understand()
        except ValueError as error:  # BadSetting among them
            self.load_state, self.load_error = "bad-setting", str(error)
        if self.load_state == "loaded" and not self.name.endswith(SUPPORTED):
            self.load_state = "unsupported"

    def _understand(self) -> None:
        """Raises BadSetting."""

    # -- what its files say ---------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self.definition.name

    @property
    def description(self) -> str:
        name = self.name
        text = self.definition.last(SECTION, "Description", name)
        simple = {"n": name, "N": name.rpartition(".")[0], "i": instance_of(name), "p": prefix_of(name)}
        simple["I"] = simple["i"].replace("-", "/")
        return expand(text, simple.get)

    @property
    def label(self) -> str:
        """As messages name it."""
        return self.name if self.description == self.name else f"{self.name} - {self.description}"

    def related(self, *keys: str) -> list[str]:
        """Names that stand behind these keys, and in its folders of links."""
        if keys not in self._related:
            self._related[keys] = self._read_related(keys)
        return self._related[keys]

    def _read_related(self, keys: tuple[str, ...]) -> list[str]:
        found: list[str] = []
        for key in keys:
            for name in self.definition.names(SECTION, key):
                found.append(expand(name, {"i": instance_of(self.name), "p": prefix_of(self.name)}.get))
            if key in ("Wants", "Requires"):
                found += unit_files.linked(self.name, key.lower())
        return [name for name in dict.fromkeys(found) if name.endswith(SUPPORTED) and name != self.name]

    # -- what it does ---------------------------------------------------------------------------------------------

    @property
    def triggers(self) -> str | None:
        """The unit that it starts when something happens."""
        return None

    def follow(self) -> None:
        """What it triggers is doing something else now."""

    @property
    def is_active(self) -> bool:
        return self.active in ACTIVE

    @property
    def at_rest(self) -> bool:
        return self.active in AT_REST

    def set(self, active: str, sub: str) -> None:
        before, now = self.active, time.time()
        if self.at_rest and active not in AT_REST:
            self.begun_at = now
        self.active, self.sub = active, sub
        if before != active:
            self.changed_at = now
            if active == "active" and before != "reloading":
                self.active_since = now
            if active in AT_REST:
                self.inactive_since = now
        self.on_change(self)

    async def start(self) -> str:
        """The result of its job: done, failed, skipped, timeout."""
        self.set("active", "active")
        return "done"

    async def stop(self, *, requested: bool = True) -> str:
        self.set("inactive", "dead")
        return "done"

    async def reload(self) -> str:
        return "failed"

    @property
    def can_reload(self) -> bool:
        return False

    def reset_failed(self) -> None:
        if self.active == "failed":
            self.result = "success"
            self.set("inactive", "dead")
