"""Ways into a sandbox's disk from outside, where nothing that is written on it may lead anywhere else."""

import os
from pathlib import Path

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def open_beneath(root: Path, path: str, flags: int) -> int:
    """A descriptor of ``path`` below ``root``, by way of folders alone. Raises OSError, also for a link on the way, and
    ValueError for a path with a NUL in it. ``flags`` is to have O_NOFOLLOW."""
    *folders, name = path.strip("/").split("/")
    descriptor = os.open(root, FOLDER_FLAGS)
    try:
        for part, how in [*((folder, FOLDER_FLAGS) for folder in folders), (name, flags)]:
            if part in ("", ".", ".."):
                raise FileNotFoundError(path)
            inner = os.open(part, how, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
