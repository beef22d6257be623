"""Work that waits for a moment in which nobody is busy."""

import asyncio
import contextlib
from collections.abc import Iterator


class Calm:
    """Set while nobody is inside ``busy``."""

    def __init__(self) -> None:
        self._busy = 0
        self._event = asyncio.Event()
        self._event.set()

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        self._busy += 1
        self._event.clear()
        try:
            yield
        finally:
            self._busy -= 1
            if not self._busy:
                self._event.set()

    def is_set(self) -> bool:
        return self._event.is_set()

    async def wait(self) -> None:
        await self._event.wait()
