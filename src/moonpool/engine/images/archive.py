"""A root file system as a compressed archive with a checksum, in a folder that several servers share."""

import fcntl
import hashlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from moonpool.errors import EngineError

CHUNK = 1024 * 1024  # bytes
COMPLAINTS_SHOWN = 500  # bytes of what tar and zstd print
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
        """Raises ArchiveDamaged when the archive is not what it was, EngineError when ``target`` cannot take it.

        Either way ``target`` is half filled then.
        """
        with (
            tempfile.TemporaryFile() as complaints,
            subprocess.Popen(
                ["zstd", "--quiet", "-dc"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints
            ) as unpacker,
            subprocess.Popen(
                [*EXTRACT, f"--directory={target}"], stdin=unpacker.stdout, stdout=complaints, stderr=complaints
            ) as extractor,
        ):
            assert unpacker.stdin
            assert unpacker.stdout
            unpacker.stdout.close()
            digest = _feed(self.path, unpacker.stdin)
            unpacker.wait()
            extractor.wait()
            complaints.seek(0)
            said = complaints.read(COMPLAINTS_SHOWN).decode(errors="replace").strip()
        if digest != self.checksum.read_text().strip():
            raise ArchiveDamaged(f"{self.path} is damaged")
        # tar reads no further than the end of what it was to unpack: some zeros may follow.
        if unpacker.returncode not in (0, -signal.SIGPIPE) or extractor.returncode:
            raise EngineError(f"Cannot unpack {self.path} into {target}: {said}")


def _feed(path: Path, pipe: IO[bytes]) -> str:
    """The checksum of the whole file, also when whoever reads the pipe does not want the whole of it."""
    digest = hashlib.sha256()
    wanted = True
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            if wanted:
                wanted = _accepts(pipe, chunk)
    with suppress(BrokenPipeError):
        pipe.close()
    return digest.hexdigest()


def _accepts(pipe: IO[bytes], chunk: bytes) -> bool:
    try:
        pipe.write(chunk)
    except BrokenPipeError:
        return False
    return True


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
