"""One call of ``systemctl``."""

from collections.abc import Awaitable, Callable

from . import unit_files
from .console import Arguments, Console, Usage
from .manager import Manager
from .names import whole

FAILED, DENIED, NOT_INSTALLED, NOT_RUNNING, NO_SUCH = 1, 4, 5, 3, 4
Verb = Callable[["Call"], Awaitable[int]]


class Call:
    """What it is about, and where its words go."""

    def __init__(self, manager: Manager, console: Console, arguments: Arguments) -> None:
        self.manager, self.console, self.arguments = manager, console, arguments
        self.names = arguments.rest[1:]

    def say(self, text: str) -> None:
        if not self.arguments.has("quiet"):
            self.console.complain(text)

    @property
    def bare(self) -> bool:
        """Whether a list is to be without its head and foot."""
        return self.arguments.has("no-legend") or self.arguments.value("legend") in ("false", "no")

    def units(self, *, needed: bool = True) -> list[str]:
        """The names that are given, patterns resolved against what is loaded."""
        if needed and not self.names:
            raise Usage("Too few arguments.")
        found: list[str] = []
        for name in self.names:
            if any(character in name for character in "*?["):
                found += unit_files.matching([unit.name for unit in self.manager.everything()], name)
            else:
                found.append(whole(name))
        return found
