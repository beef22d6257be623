"""Which images start nothing by themselves.

A new sandbox looks through its unit files for services to start. Where the one before it, of the same image, found
none, that may wait until its first command has had the processor.
"""

from collections.abc import Iterable

REMEMBERED = 256  # images


class IdleImages:
    """Those ``known`` by their recipe, and what sandboxes of this server have found. One that has changed since is
    found out by the next: being wrong costs the start of its services a few seconds."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._names: dict[str, None] = dict.fromkeys(known)

    def add(self, image: str) -> None:
        if len(self._names) >= REMEMBERED:
            self._names.clear()
        self._names[image] = None

    def has(self, image: str) -> bool:
        return image in self._names
