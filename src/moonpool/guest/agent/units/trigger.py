"""What units have in common that start a service when something happens: sockets and paths."""

from collections.abc import Callable

from .unit import Unit
from .unit_files import Definition


class Trigger(Unit):
    """``find`` gives a unit by its name, ``say`` writes into a unit's journal."""

    def __init__(self, definition: Definition, find: Callable[[str], Unit], say: Callable[[str, str], None]) -> None:
        self._find, self._say = find, say
        super().__init__(definition)

    def fail(self, result: str, why: str) -> str:
        self._close()
        self._say(self.name, why)
        self.result = result
        self.set("failed", "failed")
        return "failed"

    async def stop(self, *, requested: bool = True) -> str:
        self._close()
        if not self.at_rest:
            self.set("inactive", "dead")
        return "done"

    def _close(self) -> None:
        """Look and listen for nothing any more."""
        raise NotImplementedError
