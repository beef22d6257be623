"""Giving up builds that nobody waits for any more."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from moonpool.errors import GivenUp


class Halt:
    """What one thread gives up, another one is at work on. Once called it holds for good."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal may come while another one is being handled
        self._called = False
        self._running: set[subprocess.Popen[str]] = set()

    def call(self) -> None:
        """Ends what runs, without waiting for that."""
        with self._lock:
            self._called = True
            for process in self._running:
                process.kill()

    def check(self) -> None:
        """GivenUp once it was called."""
        if self._called:
            raise GivenUp

    @contextmanager
    def ending(self, process: "subprocess.Popen[str]") -> Iterator[None]:
        """``call`` kills the process while this block runs."""
        with self._lock:
            self._running.add(process)
            if self._called:
                process.kill()
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(process)
