"""Sandboxes' memory on disk: DATA/memory/ID is the checkpoint, DATA/memory/ID.secret its agent's secret.

The secret is written first and the checkpoint published last (by rename, with its manifest), so a folder that is
there can be restored; a secret without a folder is left over from an interrupted pause.
"""

import os
import shutil
from pathlib import Path


class MemoryStore:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def image(self, machine_id: str) -> Path:
        return self._folder / machine_id

    def has(self, machine_id: str) -> bool:
        return (self.image(machine_id) / "manifest.json").exists() and self._secret(machine_id).exists()

    def ids(self) -> set[str]:
        return {machine_id for machine_id in self.started() if self.has(machine_id)}

    def started(self) -> set[str]:
        """Ids whose saving was begun, finished or not."""
        return {path.stem for path in self._folder.glob("*.secret")}

    def save_secret(self, machine_id: str, secret: str) -> None:
        descriptor = os.open(self._secret(machine_id), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w") as file:
            file.write(secret)
            file.flush()
            os.fsync(file.fileno())

    def secret(self, machine_id: str) -> str:
        return self._secret(machine_id).read_text()

    def remove(self, machine_id: str) -> None:
        """Idempotent. The manifest goes first, so that a half-removed checkpoint is never taken for a whole one."""
        (self.image(machine_id) / "manifest.json").unlink(missing_ok=True)
        shutil.rmtree(self.image(machine_id), ignore_errors=True)
        self._secret(machine_id).unlink(missing_ok=True)

    def prune(self) -> None:
        """Removes what interrupted pauses left behind."""
        whole = self.ids()
        for path in self._folder.iterdir():
            if path.is_dir() and path.name not in whole:
                shutil.rmtree(path, ignore_errors=True)
            elif not path.is_dir() and path.stem not in whole:
                path.unlink(missing_ok=True)

    def _secret(self, machine_id: str) -> Path:
        return self._folder / f"{machine_id}.secret"
