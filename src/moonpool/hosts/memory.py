"""Memory on disk: DATA/memory/ID is a sandbox's checkpoint, DATA/memory/ID.secret its agent's secret; below
DATA/memory/snapshots the same for snapshots.

The secret is written first and the checkpoint published last (by rename, with its manifest), so a folder that is
there can be restored; a secret without a folder is left over from an interrupted pause.
"""

import errno
import os
import shutil
from pathlib import Path

from moonpool.engine.gvisor import partial_folder
from moonpool.engine.gvisor.linux import memory_filesystem
from moonpool.engine.gvisor.saving import PAGES_FILE
from moonpool.hosts.reserve import Reserve

SNAPSHOTS = "snapshots"  # no sandbox's id: those have 20 characters
SECRET, MANIFEST = ".secret", "manifest.json"
MEMORY_INFO = Path("/proc/meminfo")
SPARE = 1024**3  # bytes that stay free of the machine's memory


class FastFolder:
    """A folder in the machine's memory. It goes with this process: a copy that did not start by then has its disk."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.path = Path(f"/proc/{os.getpid()}/fd/{descriptor}")

    @classmethod
    def open(cls) -> "FastFolder | None":
        """None where the kernel does not give one."""
        try:
            return cls(memory_filesystem())
        except OSError:
            return None

    def close(self) -> None:
        os.close(self._descriptor)


def has_room(folder: Path, size: int) -> bool:
    """Whether ``size`` bytes more there leave the machine enough for the copies themselves."""
    lines = MEMORY_INFO.read_text().splitlines()
    available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    return shutil.disk_usage(folder).free > 2 * size and available > 3 * size + SPARE


def _shared(folder: Path, target: Path) -> Path:
    """A fresh folder beside ``target`` with the same files; nothing is left of it where that fails."""
    partial = partial_folder(target)
    try:
        for file in folder.iterdir():
            _share(file, partial / file.name)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return partial


def _share(file: Path, target: Path) -> None:
    try:
        os.link(file, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.copyfile(file, target)


def _home(folder: Path) -> Path:
    """Where it is. Only its own link is followed: there is no other path to the folder in the machine's memory."""
    return folder.readlink() if folder.is_symlink() else folder


class MemoryStore:
    def __init__(self, folder: Path, fast: FastFolder | None, *, reuse: bool = False) -> None:
        """``fast``: where memory that is brought back in a moment may be kept until then. Closed with the store.
        ``reuse``: whether checkpoints may be written over files that are there."""
        self._folder, self._fast_folder = folder, fast
        self.fast = fast.path if fast is not None else None
        self._reserve = Reserve(self.fast, PAGES_FILE) if self.fast is not None and reuse else None
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def close(self) -> None:
        """Nothing is left in the machine's memory: a copy that did not start by now has its disk."""
        if self._fast_folder is not None:
            self._fast_folder.close()

    def image(self, machine_id: str) -> Path:
        return self._folder / machine_id

    def has(self, machine_id: str) -> bool:
        return (self.image(machine_id) / MANIFEST).exists() and self._secret(machine_id).exists()

    def ids(self) -> set[str]:
        return {machine_id for machine_id in self.started() if self.has(machine_id)}

    def started(self) -> set[str]:
        """Ids whose saving was begun, finished or not."""
        return {path.stem for path in self._folder.glob(f"*{SECRET}")}

    def staging(self, machine_id: str, *, fast: int) -> Path:
        """A fresh folder for a checkpoint to be written to and soon to be elsewhere; ``fast`` is its size in bytes.

        What it has in it already is to be written over. ``keep`` follows when all is written, ``discard`` in any case.
        """
        roomy = self.fast is not None and has_room(self.fast, fast)
        if self._reserve is not None and not roomy:
            self._reserve.drop()
        if self.fast is None or not roomy:
            return partial_folder(self.image(machine_id))
        folder = partial_folder(self.fast / machine_id)
        if self._reserve is not None:
            self._reserve.lend(folder)
        return folder

    def keep(self, folder: Path) -> None:
        """Blocking. The pages in a folder of staging()'s, to which nobody writes any more, are for the next one."""
        if self._reserve is not None and folder.parent == self.fast:
            self._reserve.keep(folder)

    def discard(self, folder: Path) -> None:
        """Blocking. Remove a folder of staging()'s or take_out()'s."""
        shutil.rmtree(folder, ignore_errors=True)
        if self._reserve is not None:
            self._reserve.trim()

    def link(self, machine_id: str, folder: Path, secret: str) -> None:
        """The checkpoint in ``folder`` is this one's as well, without a copy of its bytes: nobody ever changes them."""
        self.save_secret(machine_id, secret)
        home = self.image(machine_id)
        if self.fast is not None and _home(folder).parent == self.fast:
            home = self.fast / machine_id
        _shared(folder, home).rename(home)
        if home != self.image(machine_id):
            self.image(machine_id).symlink_to(home)

    def brought(self, machine_id: str, folder: Path) -> Path:
        """Blocking. A fresh folder with the files in ``folder``, beside where this one's checkpoint belongs."""
        return _shared(folder, self.image(machine_id))

    def size(self, machine_id: str) -> int:
        """Bytes; 0 where there is none."""
        folder = self.image(machine_id)
        return sum(file.stat().st_size for file in folder.iterdir()) if folder.is_dir() else 0

    def save_secret(self, machine_id: str, secret: str) -> None:
        descriptor = os.open(self._secret(machine_id), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w") as file:
            file.write(secret)
            file.flush()
            os.fsync(file.fileno())

    def secret(self, machine_id: str) -> str:
        return self._secret(machine_id).read_text()

    def remove(self, machine_id: str) -> None:
        """Idempotent."""
        if (rest := self.take_out(machine_id)) is not None:
            self.discard(rest)

    def take_out(self, machine_id: str) -> Path | None:
        """As ``remove``, but for the bytes: they are in the folder that is returned, and nobody's. The manifest goes
        first, so that a half-removed checkpoint is never taken for a whole one. Ends with ``discard``."""
        image, rest = self.image(machine_id), None
        (image / MANIFEST).unlink(missing_ok=True)
        if image.is_dir():
            home = _home(image)
            rest = partial_folder(home)
            home.rename(rest)
        if image.is_symlink():
            image.unlink()
        self._secret(machine_id).unlink(missing_ok=True)
        return rest

    def prune(self) -> None:
        """Removes what interrupted pauses left behind."""
        whole = self.ids()
        for path in self._folder.iterdir():
            if path.name == SNAPSHOTS:
                continue
            if path.is_dir() and path.name not in whole:
                shutil.rmtree(path, ignore_errors=True)
            elif not path.is_dir() and path.stem not in whole:
                path.unlink(missing_ok=True)

    def _secret(self, machine_id: str) -> Path:
        return self._folder / f"{machine_id}{SECRET}"
