"""The sandbox's own ``systemctl`` and its like, laid on its disk from outside.

The agent looks for them in every sandbox and writes what is missing; from inside that costs ten times as much, at the
moment in which a new sandbox gets its first command.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from moonpool.guest.agent.units.commands_inside import ASKS_FOR_INIT, ELSEWHERE, INIT, PLACE, scripts
from moonpool.hosts.beneath import FOLDER_FLAGS, open_beneath
from moonpool.hosts.identity import replace_file

READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
SHELL = "sh"
MODE = 0o755


def lay_programs(root: Path) -> None:
    """Into a disk that nothing runs on. Whatever is in the way is left to the agent: links among the folders, a disk
    without room, an image without a shell."""
    with contextlib.suppress(OSError), _folder(root, ELSEWHERE) as elsewhere, _folder(root, PLACE) as place:
        os.lstat(SHELL, dir_fd=elsewhere)
        for name, text in scripts().items():
            if _content(place, name, len(text) + 1) != text:
                replace_file(place, name, text, MODE)
            with contextlib.suppress(FileExistsError):
                os.symlink(f"{PLACE}/{name}", name, dir_fd=elsewhere)
    folder, asking = os.path.split(ASKS_FOR_INIT)
    with contextlib.suppress(OSError), _folder(root, folder) as programs:
        os.lstat(asking, dir_fd=programs)
        os.symlink(f"{PLACE}/systemctl", os.path.basename(INIT), dir_fd=programs)


@contextlib.contextmanager
def _folder(root: Path, path: str) -> Iterator[int]:
    """Raises OSError."""
    descriptor = open_beneath(root, path, FOLDER_FLAGS)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _content(folder: int, name: str, limit: int) -> bytes | None:
    try:
        with open(os.open(name, READ_FLAGS, dir_fd=folder), "rb") as file:
            return file.read(limit)
    except OSError:
        return None
