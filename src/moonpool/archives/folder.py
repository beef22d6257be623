"""Archives in a folder: of this machine, or a network file system's."""

import asyncio
import contextlib
import errno
import os
from collections.abc import Mapping
from pathlib import Path

from moonpool.cancellation import to_the_end
from moonpool.durability import sync
from moonpool.errors import ArchiveCorrupt, NoCapacity, StoreUnavailable

UNFINISHED = ".unfinished"
FULL = (errno.ENOSPC, errno.EDQUOT)


class FolderStore:
    """Readable by its owner alone. What a killed server left unfinished is listed like all else, under its own name."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def put(self, name: str, data: bytes) -> None:
        # A thread cannot be cancelled: whoever is waits for it, so that nothing is written behind their back.
        await to_the_end(asyncio.to_thread(self._put, self._root / name, data))

    async def get(self, name: str) -> bytes:
        return await asyncio.to_thread(self._get, self._root / name)

    async def list(self, prefix: str) -> Mapping[str, int]:
        return await asyncio.to_thread(self._list, prefix)

    async def delete(self, name: str) -> None:
        await asyncio.to_thread(self._delete, self._root / name)

    def _put(self, path: Path, data: bytes) -> None:
        unfinished = path.with_name(path.name + UNFINISHED)
        try:
            self._make(path.parent)
            with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            unfinished.rename(path)
            sync(path.parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise explained(error, path) from error

    def _make(self, folder: Path) -> None:
        missing = [path for path in (folder, *folder.parents) if not path.is_dir()]
        for path in reversed(missing):
            with contextlib.suppress(FileExistsError):
                path.mkdir(mode=0o700)
            sync(path.parent)

    def _get(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except FileNotFoundError as error:
            raise ArchiveCorrupt(f"The archive lacks {path.name}") from error
        except OSError as error:
            raise explained(error, path) from error

    def _list(self, prefix: str) -> Mapping[str, int]:
        found: dict[str, int] = {}
        top = self._root / prefix
        try:
            for folder, _, files in os.walk(top, onerror=tell):
                for file in files:
                    path = Path(folder, file)
                    with contextlib.suppress(FileNotFoundError):
                        found[str(path.relative_to(self._root))] = path.stat().st_size
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise explained(error, top) from error
        return found

    def _delete(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
            for folder in path.parents:  # Those that are empty now, up to the root.
                if folder == self._root:
                    return
                folder.rmdir()
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.ENOENT, errno.EEXIST):
                raise explained(error, path) from error


def tell(error: OSError) -> None:
    raise error


def explained(error: OSError, path: Path) -> NoCapacity | StoreUnavailable:
    if error.errno in FULL:
        return NoCapacity("The archives' folder is full", hint="Free some space there.")
    return StoreUnavailable(f"The archives' folder cannot be used: {error.strerror} ({path.name})")
