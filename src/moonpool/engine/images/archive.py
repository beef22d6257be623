"""A root file system as a compressed archive with a checksum, in a folder that several servers share."""

import fcntl
import hashlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from moonpool.errors import EngineError

CHUNK = 1024 * 1024  # bytes
# Device nodes are bound over by every sandbox's own /dev.
EXTRACT = ("tar", "--extract", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--exclude=./dev/*", "--file=-")


class ArchiveDamaged(EngineError):
    code = "archive_damaged"
    default = "The archive of an image is damaged"


@dataclass(frozen=True)
class Archive:
    """``path`` is complete whenever it exists; its SHA-256 stands beside it."""

    path: Path

    @property
    def checksum(self) -> Path:
        return self.path.with_name(self.path.name + ".sha256")

    @property
    def unfinished(self) -> Path:
        return self.path.with_name(self.path.name + ".new")

    def exists(self) -> bool:
        return self.path.exists() and self.checksum.exists()

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.checksum.unlink(missing_ok=True)

    def publish(self) -> None:
        """Make the unfinished file the archive: checksum first, so that no archive is ever without."""
        digest = hashlib.sha256()
        with self.unfinished.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
            os.fsync(file.fileno())
        self.checksum.write_text(digest.hexdigest() + "\n")
        self.unfinished.rename(self.path)

    def unpack(self, target: Path) -> None:
        """Raises ArchiveDamaged, with ``target`` half filled, when the archive is not what it was."""
        digest = hashlib.sha256()
        with (
            subprocess.Popen(["zstd", "--quiet", "-dc"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as unpacker,
            subprocess.Popen([*EXTRACT, f"--directory={target}"], stdin=unpacker.stdout) as extractor,
        ):
            assert unpacker.stdin
            assert unpacker.stdout
            unpacker.stdout.close()
            _feed(self.path, unpacker, digest)
        if digest.hexdigest() != self.checksum.read_text().strip() or unpacker.returncode or extractor.returncode:
            raise ArchiveDamaged(f"{self.path} is damaged")


def _feed(path: Path, unpacker: subprocess.Popen[bytes], digest: "hashlib._Hash") -> None:
    assert unpacker.stdin
    try:
        with path.open("rb") as file, unpacker.stdin as pipe:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                pipe.write(chunk)
    except BrokenPipeError:
        digest.update(b"not read to its end")


@contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """One process at a time, across the machine; released by the kernel when its holder dies."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
