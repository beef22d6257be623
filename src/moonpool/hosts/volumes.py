"""Volumes on this host: a subvolume of the pool each, and how sandboxes come to see them.

What is in a volume was written by sandboxes and is not trusted: no link in it is ever followed here.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from moonpool.engine.gvisor import Share
from moonpool.engine.storage import Kind, Pool, Usage
from moonpool.errors import EngineError, InvalidInput, VolumeNotFound
from moonpool.hosts.model import MEBIBYTE, Mount

OPEN_TO_ALL = 0o777  # whoever a sandbox's programs run as
FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Volumes:
    """Every method blocks, may be called from any thread and raises EngineError."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def create(self, volume: str, size_mib: int) -> None:
        """Make it, empty, with its limit; what there is of it is taken as it is."""
        path = self._path(volume)
        if not path.is_dir():
            path = self._pool.create(Kind.VOLUMES, volume)
        self._pool.set_limit(path, size_mib * MEBIBYTE)
        os.chmod(path, OPEN_TO_ALL)

    def delete(self, volume: str) -> None:
        """Idempotent."""
        self._pool.delete(Kind.VOLUMES, volume)

    def names(self) -> set[str]:
        return set(self._pool.names(Kind.VOLUMES))

    def usage(self, volume: str) -> Usage:
        return self._pool.usage(self._path(volume))

    @contextlib.contextmanager
    def shares(self, mounts: Sequence[Mount]) -> Iterator[list[Share]]:
        """What the engine is to attach; folders that a subpath names are made where they are missing.

        VolumeNotFound, and InvalidInput where a subpath leads over something else than folders.
        """
        with contextlib.ExitStack() as opened:
            shares = []
            for mount in mounts:
                descriptor = self._open(mount)
                opened.callback(os.close, descriptor)
                shares.append(Share(Path(f"/proc/self/fd/{descriptor}"), mount.slot, mount.read_only))
            yield shares

    def _open(self, mount: Mount) -> int:
        try:
            current = os.open(self._path(mount.volume), FOLDER)
        except OSError as error:
            raise VolumeNotFound(f"Volume {mount.volume} is not on this host") from error
        for name in filter(None, (mount.subpath or "").split("/")):
            try:
                following = _folder(current, name)
            except OSError as error:
                message = f"The subpath {mount.subpath!r} cannot be used: {name!r}: {error.strerror}"
                hint = "It must lead over folders, not over links."
                raise InvalidInput(message, field="subpath", hint=hint) from None
            finally:
                os.close(current)
            current = following
        return current

    def _path(self, volume: str) -> Path:
        if "/" in volume:
            raise EngineError(f"{volume!r} cannot be a volume")
        return self._pool.path / Kind.VOLUMES.value / volume


def _folder(parent: int, name: str) -> int:
    """A folder of that name, made where it is missing."""
    if name in (".", ".."):
        raise OSError(0, "not a name")
    try:
        return os.open(name, FOLDER, dir_fd=parent)
    except FileNotFoundError:
        os.mkdir(name, dir_fd=parent)
        descriptor = os.open(name, FOLDER, dir_fd=parent)
        os.chmod(f"/proc/self/fd/{descriptor}", OPEN_TO_ALL)
        return descriptor
