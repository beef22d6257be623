"""Tells at once when a process ends, also one that this server did not start (after a restart)."""

import asyncio
import os
from collections.abc import Callable


class ProcessWatch:
    """Calls ``on_exit`` once on the event loop when process ``pid`` ends; ``close`` ends the watch."""

    def __init__(self, pid: int, on_exit: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_exit = on_exit
        try:
            self._descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            self._descriptor = -1
            self._loop.call_soon(on_exit)
            return
        self._loop.add_reader(self._descriptor, self._exited)

    @property
    def alive(self) -> bool:
        return self._descriptor >= 0

    def close(self) -> None:
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _exited(self) -> None:
        self.close()
        self._on_exit()
