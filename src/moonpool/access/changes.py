"""Whoever was let in by a key learns when that key changes."""

import asyncio
from collections import defaultdict


class KeyChanges:
    def __init__(self) -> None:
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    def tell(self, key_id: str) -> None:
        for event in self._waiting.get(key_id, ()):
            event.set()

    def tell_all(self) -> None:
        """What people may do has changed, and with it what their keys may."""
        for waiting in self._waiting.values():
            for event in waiting:
                event.set()

    async def wait(self, key_id: str, timeout: float) -> None:
        """Until this process changes the key, or ``timeout`` seconds have passed."""
        event = asyncio.Event()
        self._waiting[key_id].add(event)
        try:
            async with asyncio.timeout(timeout):
                await event.wait()
        except TimeoutError:
            pass
        finally:
            self._waiting[key_id].discard(event)
            if not self._waiting[key_id]:
                del self._waiting[key_id]
