"""What services write, and what the manager says of them: a ring of lines for each unit, on the sandbox's disk.

No file stays open: a deleted file that is held open would keep the sandbox's memory from being saved.
"""

import asyncio
import contextlib
import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

from ..users import read_small

FOLDER = "/var/log/journal/units"
MAX_SEGMENT = 1 << 20  # bytes; a unit has two, the older one goes when the newer is full
MAX_TOTAL = 64 << 20  # bytes of all units together
MAX_LINE = 48 << 10  # bytes
FLUSH = 0.1  # seconds until lines are written
BURST, BURST_INTERVAL = 10_000, 30.0  # lines that a unit may write in so many seconds
INFO, NOTICE, WARNING, ERROR = 6, 5, 4, 3
MANAGER = "systemd"


@dataclass(frozen=True)
class Line:
    """``time`` in microseconds since 1970."""

    time: int
    unit: str
    message: str
    priority: int = INFO
    identifier: str = MANAGER
    pid: int = 1
    invocation: str = ""


@dataclass
class _Rate:
    began: float = 0.0
    count: int = 0


class Journal:
    def __init__(self) -> None:
        self._pending: dict[str, list[Line]] = {}
        self._rates: dict[str, _Rate] = {}
        self._flushing: asyncio.TimerHandle | None = None
        self.followers: set[Callable[[Line], None]] = set()

    def write(
        self,
        unit: str,
        message: str,
        priority: int = INFO,
        identifier: str = MANAGER,
        pid: int = 1,
        invocation: str = "",
    ) -> None:
        if pid != 1 and not self._admitted(unit):
            return
        line = Line(time.time_ns() // 1000, unit, message, priority, identifier, pid, invocation)
        self._pending.setdefault(unit, []).append(line)
        for follower in list(self.followers):
            follower(line)
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_later(FLUSH, self.flush)

    def _admitted(self, unit: str) -> bool:
        """Whether it has not written too much of late; told once."""
        now, rate = time.monotonic(), self._rates.setdefault(unit, _Rate())
        if now - rate.began > BURST_INTERVAL:
            dropped, rate.began, rate.count = rate.count - BURST, now, 0
            if dropped > 0:
                self.write(unit, f"Suppressed {dropped} messages from {unit}", WARNING, "systemd-journald")
        rate.count += 1
        return rate.count <= BURST

    def flush(self) -> None:
        """Put what waits on disk. What a full disk does not take is lost."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        pending, self._pending = self._pending, {}
        for unit, lines in pending.items():
            text = "".join(json.dumps(asdict(line), separators=(",", ":")) + "\n" for line in lines)
            with contextlib.suppress(OSError):
                _append(unit, text.encode(errors="replace"))

    def read(self, units: Iterable[str] | None, *, lines: int | None = None, since: int | None = None) -> list[Line]:
        """Oldest first; the last ``lines`` of the named units, or of all, from ``since`` (microseconds) on."""
        self.flush()
        names = self.units() if units is None else units
        found: deque[Line] = deque(maxlen=lines)
        merged = sorted((line for unit in names for line in _lines_of(unit)), key=lambda line: line.time)
        found.extend(line for line in merged if since is None or line.time >= since)
        return list(found)

    def units(self) -> list[str]:
        with contextlib.suppress(OSError):
            return sorted({file.removesuffix(".old") for file in os.listdir(FOLDER)})
        return []

    def usage(self) -> int:
        """Bytes on disk."""
        with contextlib.suppress(OSError):
            return sum(entry.stat().st_size for entry in os.scandir(FOLDER))
        return 0


def _append(unit: str, data: bytes) -> None:
    path = f"{FOLDER}/{unit}"
    try:
        size = os.stat(path).st_size
    except FileNotFoundError:
        os.makedirs(FOLDER, 0o755, exist_ok=True)
        _keep_within_total()
        size = 0
    if size and size + len(data) > MAX_SEGMENT:
        os.rename(path, f"{path}.old")
        _keep_within_total()
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def _keep_within_total() -> None:
    """The units that have been silent for longest go first."""
    entries = sorted(os.scandir(FOLDER), key=lambda entry: entry.stat().st_mtime)
    total = sum(entry.stat().st_size for entry in entries)
    for entry in entries:
        if total <= MAX_TOTAL - 2 * MAX_SEGMENT:
            return
        total -= entry.stat().st_size
        os.unlink(entry.path)


def _lines_of(unit: str) -> Iterable[Line]:
    for path in (f"{FOLDER}/{unit}.old", f"{FOLDER}/{unit}"):
        for text in read_small(path, 4 * MAX_SEGMENT).decode(errors="replace").splitlines():
            with contextlib.suppress(ValueError, TypeError):  # the end of a line that a full disk cut off
                yield Line(**json.loads(text))


class LineReader:
    """Cuts what a service writes into lines for the journal. ``<N>`` before a line is its priority."""

    def __init__(self, journal: Journal, unit: str, identifier: str, invocation: str) -> None:
        self._journal, self._unit, self._identifier, self._invocation = journal, unit, identifier, invocation
        self._rest = b""
        self.pid = 0

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._put(line)
        if len(self._rest) > MAX_LINE:
            self._put(self._rest)
            self._rest = b""

    def close(self) -> None:
        if self._rest:
            self._put(self._rest)
            self._rest = b""

    def _put(self, line: bytes) -> None:
        priority = INFO
        if len(line) > 3 and line[:1] == b"<" and line[2:3] == b">" and line[1:2] in b"01234567":
            priority, line = int(line[1:2]), line[3:]
        text = line[:MAX_LINE].decode(errors="replace").rstrip("\r")
        self._journal.write(self._unit, text, priority, self._identifier, self.pid or 2, self._invocation)
