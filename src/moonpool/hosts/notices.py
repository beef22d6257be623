"""Sandboxes that have something to say: whoever listens is told which, and takes it when there is time."""

from collections.abc import Callable


class Notices:
    def __init__(self) -> None:
        self._listener: Callable[[str], None] = lambda _machine_id: None

    def listen(self, listener: Callable[[str], None]) -> None:
        """``listener`` is called in the event loop, with the sandbox's id; it may neither wait nor raise."""
        self._listener = listener

    def tell(self, machine_id: str) -> None:
        self._listener(machine_id)
