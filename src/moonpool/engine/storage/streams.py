"""A disk as a stream of bytes, out of the pool and into it: ``btrfs send`` and ``btrfs receive``.

Everything here blocks and raises EngineError. ``close`` may be called while another thread reads or writes: it ends
the program first, and with it that call. A server that is killed ends both programs too, by the pipe between them.
"""

import contextlib
import fcntl
import os
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import IO, TypeAlias

from moonpool.errors import EngineError, MachineUnfit

PIPE_SIZE = 1024**2  # bytes
COMPLAINTS_SHOWN = 500  # bytes of what btrfs prints
END_TIMEOUT = 60.0  # seconds for ``btrfs receive`` to write its last things
INSTALL = "apt-get install btrfs-progs"

Process: TypeAlias = "subprocess.Popen[bytes]"


class SendStream:
    """A read-only subvolume, whole or as what differs from ``parent``, which is read-only as well."""

    def __init__(self, disk: Path, parent: Path | None) -> None:
        options = [] if parent is None else ["-p", str(parent)]
        self._complaints: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        command = ["btrfs", "-q", "send", *options, str(disk)]
        self._process = start(command, self._complaints, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self._pipe = pipe_of(self._process.stdout)
        self._lock = threading.Lock()

    def read(self, size: int) -> bytearray:
        """The next ``size`` bytes; fewer are the last ones, and none mean that everything was sent."""
        with self._lock:
            data = bytearray(size)
            filled = 0
            with memoryview(data) as view:
                while filled < size and (count := os.readv(self._pipe.fileno(), [view[filled:]])):
                    filled += count
            if filled < size and self._process.wait():
                raise EngineError(f"The disk could not be read: {said(self._complaints)}")
            del data[filled:]
            return data

    def close(self) -> None:
        """Idempotent."""
        end(self._process)
        with self._lock:
            self._pipe.close()
            self._complaints.close()


class ReceiveStream:
    """Makes a subvolume of the name that it had, in ``folder``. It counts only once ``finish`` has returned."""

    def __init__(self, folder: Path) -> None:
        self._complaints: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        command = ["btrfs", "-q", "receive", str(folder)]
        self._process = start(command, self._complaints, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        self._pipe = pipe_of(self._process.stdin)
        self._lock = threading.Lock()

    def write(self, data: bytes | bytearray) -> None:
        with self._lock, memoryview(data) as view:
            written = 0
            try:
                while written < len(view):
                    written += os.write(self._pipe.fileno(), view[written:])
            except BrokenPipeError as error:
                raise self._failure() from error

    def finish(self) -> None:
        with self._lock:
            self._pipe.close()
            try:
                code = self._process.wait(END_TIMEOUT)
            except subprocess.TimeoutExpired as error:
                raise self._failure() from error
            if code:
                raise self._failure()

    def close(self) -> None:
        """Idempotent."""
        end(self._process)
        with self._lock:
            self._pipe.close()
            self._complaints.close()

    def _failure(self) -> EngineError:
        end(self._process)
        return EngineError(f"The disk could not be written: {said(self._complaints)}")


def start(command: list[str], complaints: IO[bytes], *, stdin: int, stdout: int) -> Process:
    try:
        return subprocess.Popen(command, bufsize=0, stdin=stdin, stdout=stdout, stderr=complaints)
    except FileNotFoundError as error:
        raise MachineUnfit("btrfs is not installed", hint=INSTALL) from error


def pipe_of(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    with contextlib.suppress(OSError):  # Some machines allow less; it is only slower.
        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    return pipe


def end(process: Process) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()


def said(complaints: IO[bytes]) -> str:
    complaints.seek(0)
    text = complaints.read(COMPLAINTS_SHOWN).decode(errors="replace").strip()
    return text or "btrfs ended early"
