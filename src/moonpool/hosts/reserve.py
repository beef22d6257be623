"""Memory of the machine that checkpoints were written to before, and the next one is written to again.

To have pages, and to give them back, costs as much as the writing itself: several times as much where the machine's
own host takes away what is free.
"""

import os
import threading
from pathlib import Path

KEPT = 256 * 1024**2  # bytes at most that are held while no checkpoint is in them


class Reserve:
    """One file, given to one checkpoint at a time, and only while nobody else has a link to it. It comes back when that
    checkpoint is whole: one that was given up may still be written to.

    What the last checkpoint held stands in it until the next one takes its place; nobody but the server can read it.
    """

    def __init__(self, folder: Path, name: str) -> None:
        """``folder`` is in the machine's memory; ``name`` is that of the file whose pages are worth keeping."""
        self._file, self._name = folder / f"reserve-{name}", name
        self._lock = threading.Lock()

    def lend(self, folder: Path) -> None:
        """Blocking. Move the file into ``folder``, to be written over, where nobody has it."""
        with self._lock:
            if self._links() == 1:
                self._file.rename(folder / self._name)

    def keep(self, folder: Path) -> None:
        """Blocking. What is whole in ``folder`` is kept for later, where nothing is kept yet."""
        with self._lock:
            if not self._links() and (folder / self._name).exists():
                os.link(folder / self._name, self._file)

    def trim(self) -> None:
        """Blocking. Give back what is more than is kept, once nobody has it."""
        with self._lock:
            if self._links() == 1 and self._file.stat().st_size > KEPT:
                os.truncate(self._file, KEPT)

    def drop(self) -> None:
        """Blocking. Keep nothing; whoever has the file goes on with it."""
        with self._lock:
            self._file.unlink(missing_ok=True)

    def _links(self) -> int:
        try:
            return self._file.stat().st_nlink
        except FileNotFoundError:
            return 0
