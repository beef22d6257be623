"""The folders that a service with PrivateTmp= has in place of those for everybody, for as long as it runs."""

import asyncio
import contextlib
import glob
import os
import shutil

from ..workers import Workers
from .confinement import TEMPORARY

PREFIX = "systemd-private"
MODE = 0o1777  # as of the folders that they stand for


class PrivateFolders:
    """They are on the disk, so that they count to its limit and outlive a pause."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._made: dict[str, tuple[str, ...]] = {}
        self._removals: set[asyncio.Task[None]] = set()
        self._looked = False

    def of(self, unit: str) -> tuple[str, ...]:
        """One for each of TEMPORARY, the same for all commands of one run of the unit. OSError."""
        if not self._looked:  # Those of a run of the sandbox that ended without a farewell.
            self._looked = True
            self._remove(tuple(path for parent in TEMPORARY for path in glob.glob(f"{parent}/{PREFIX}-*")))
        if unit not in self._made:
            self._made[unit] = tuple(_make(parent, unit) for parent in TEMPORARY)
        return self._made[unit]

    def end(self, unit: str) -> None:
        """The service has ended, and with it its folders."""
        self._remove(tuple(os.path.dirname(path) for path in self._made.pop(unit, ())))

    def _remove(self, folders: tuple[str, ...]) -> None:
        if not folders:
            return

        def remove() -> None:
            for folder in folders:
                shutil.rmtree(folder, ignore_errors=True)

        task = asyncio.get_running_loop().create_task(self._workers.call(None, remove))
        self._removals.add(task)
        task.add_done_callback(self._removals.discard)


def _make(parent: str, unit: str) -> str:
    """Nobody but root gets to it from outside."""
    with contextlib.suppress(OSError):
        os.makedirs(parent)
        os.chmod(parent, MODE)
    top = f"{parent}/{PREFIX}-{unit}-{os.urandom(8).hex()}"
    os.mkdir(top, 0o700)
    folder = os.path.join(top, "tmp")
    os.mkdir(folder)
    os.chmod(folder, MODE)
    return folder
