"""Tells at once when a process ends, also one that this server did not start (after a restart)."""

import asyncio
import os
import select
from collections.abc import Callable


class ProcessWatch:
    """Calls ``on_exit`` once on the event loop when the first of these processes ends; ``close`` ends the watch."""

    def __init__(self, processes: tuple[int, ...], on_exit: Callable[[], None]) -> None:
        self.on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        self._descriptors: list[int] = []
        try:
            for process in processes:
                self._descriptors.append(os.pidfd_open(process))
        except ProcessLookupError:
            self.close()
            self._loop.call_soon(self._tell)
            return
        for descriptor in self._descriptors:
            self._loop.add_reader(descriptor, self._exited)

    @property
    def alive(self) -> bool:
        """At this very moment: an end that the event loop has not come to yet counts. False once closed."""
        poll = select.poll()
        for descriptor in self._descriptors:
            poll.register(descriptor, select.POLLIN)
        return bool(self._descriptors) and not poll.poll(0)

    def close(self) -> None:
        for descriptor in self._descriptors:
            self._loop.remove_reader(descriptor)
            os.close(descriptor)
        self._descriptors = []

    def _exited(self) -> None:
        self.close()
        self._tell()

    def _tell(self) -> None:
        self.on_exit()
