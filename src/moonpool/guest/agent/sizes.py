"""How large the sandbox is, where programs look for it.

Its kernel knows the machine's processors and memory, and is told of no limit after its start. So files with the
sandbox's own figures lie over those of /proc and /sys, its control groups have its limits, and what it starts runs, as
far as sched_getaffinity(2) tells, on so many processors. The limits themselves are the host's.
"""

import asyncio
import contextlib
import errno
import math
import os
import time
from collections.abc import Callable, Iterable

from . import root
from .errors import AgentError

FOLDER = "/root"  # of the empty root, which nobody sees after the image's root has been entered
MEMORY, PROCESSORS, TIMES = "/proc/meminfo", "/proc/cpuinfo", "/proc/stat"
ONLINE = tuple(f"/sys/devices/system/cpu/{name}" for name in ("online", "possible", "present"))
GROUPS = "/sys/fs/cgroup"
CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory")  # as long as one of these lacks, Java looks at none
PERIOD = 100_000  # microseconds, of which `cpu` times as many may be used
TICKS = 100  # a second, in /proc/stat
FRESH = 0.2  # seconds for which figures count as current
INTERVAL = 1.0  # seconds between figures while programs run
MAX_FILE = 1 << 20  # bytes


class Sizes:
    """`cpu_seconds` tells what everything inside has used so far; `alone` whether no program runs."""

    def __init__(self, cpu_seconds: Callable[[], float | None]) -> None:
        self._cpu_seconds = cpu_seconds
        self._originals: dict[str, int] = {}
        self._shown: dict[str, int] = {}
        self._processors = frozenset[int]()  # all that the kernel has
        self._count = 0
        self._memory: int | None = None  # bytes
        self._refreshed = -math.inf
        self._timer: asyncio.TimerHandle | None = None
        self.alone: Callable[[], bool] = lambda: True

    def begin(self) -> None:
        """Before a root is entered, which takes over what is mounted here. Only in a sandbox's own kernel."""
        try:
            self._processors = frozenset(os.sched_getaffinity(0))
            root.mount("sizes", FOLDER, "tmpfs", root.MS_NOSUID | root.MS_NODEV, "mode=755")
            for number, path in enumerate((MEMORY, PROCESSORS, TIMES, *ONLINE)):
                self._cover(path, f"{FOLDER}/{number}")
            self._mount_groups()
        except (AgentError, OSError) as error:
            print(f"Sizes cannot be shown: {error}", flush=True)

    def set(self, cpu: float, memory: int) -> None:
        """`cpu` in processors, `memory` in bytes; for what runs as well."""
        self._memory = memory
        before, self._count = self._count, max(1, min(len(self._processors), math.ceil(cpu)))
        if self._shown:
            if before != self._count:
                self._show(PROCESSORS, _first_processors(self._original(PROCESSORS), self._count))
                for path in ONLINE:
                    self._show(path, b"0\n" if self._count == 1 else b"0-%d\n" % (self._count - 1))
                self._set_affinity(before or len(self._processors))
            self._set_groups(cpu, memory)
            self.refresh()

    def started(self) -> None:
        """A program has: its figures are current, and stay so for as long as one runs."""
        if self._shown and self._memory is not None:
            if time.monotonic() - self._refreshed > FRESH:
                self.refresh()
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(INTERVAL, self._tick)

    def refresh(self) -> None:
        if self._shown and self._memory is not None:
            self._refreshed = time.monotonic()
            self._show(MEMORY, _memory_figures(self._original(MEMORY), self._memory))
            used = self._cpu_seconds()
            if used is not None:
                self._show(TIMES, _times(self._original(TIMES), self._count, used, time.monotonic()))

    def _tick(self) -> None:
        self._timer = None
        if not self.alone():
            self.refresh()
            self._timer = asyncio.get_running_loop().call_later(INTERVAL, self._tick)

    def _cover(self, path: str, shown: str) -> None:
        original = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        file = os.open(shown, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
        self._originals[path] = original
        os.pwrite(file, self._original(path), 0)
        root.mount(shown, path, None, root.MS_BIND)
        self._shown[path] = file

    def _original(self, path: str) -> bytes:
        return os.pread(self._originals[path], MAX_FILE, 0)

    def _show(self, path: str, content: bytes) -> None:
        """In one write, so that nobody reads half of it."""
        file = self._shown[path]
        os.pwrite(file, content, 0)
        os.ftruncate(file, len(content))

    def _mount_groups(self) -> None:
        root.mount("cgroup", GROUPS, "tmpfs", root.MS_NOSUID | root.MS_NODEV, "mode=755")
        for name in CONTROLLERS:
            os.mkdir(f"{GROUPS}/{name}")
            root.mount(name, f"{GROUPS}/{name}", "cgroup", 0, name)

    def _set_groups(self, cpu: float, memory: int) -> None:
        """As these groups' own limits do not hold, they may be told them. Root inside may have unmounted them."""
        for name, value in (
            ("cpu/cpu.cfs_period_us", PERIOD),
            ("cpu/cpu.cfs_quota_us", int(cpu * PERIOD)),
            ("memory/memory.limit_in_bytes", memory),
        ):
            with contextlib.suppress(OSError), open(f"{GROUPS}/{name}", "w") as file:
                file.write(str(value))

    def _set_affinity(self, before: int) -> None:
        """Of everything inside; who has chosen some processors keeps those that are left."""
        ordered = sorted(self._processors)
        old, new = set(ordered[:before]), set(ordered[: self._count])
        for thread in _threads():
            try:
                chosen = os.sched_getaffinity(thread)
                os.sched_setaffinity(thread, new if chosen == old else (chosen & new or new))
            except OSError as error:
                if error.errno != errno.ESRCH:  # It has just ended.
                    raise


def _threads() -> Iterable[int]:
    for process in os.listdir("/proc"):
        if process.isdigit():
            with contextlib.suppress(OSError):
                yield from map(int, os.listdir(f"/proc/{process}/task"))


def _first_processors(text: bytes, count: int) -> bytes:
    """Of /proc/cpuinfo, where an empty line ends each."""
    return b"\n\n".join(text.split(b"\n\n")[:count]) + b"\n\n"


def _memory_figures(text: bytes, limit: int) -> bytes:
    """/proc/meminfo with the limit as its total: what is used is used, and what is not is free."""
    found = dict(line.split(b":", 1) for line in text.splitlines() if b":" in line)
    total, free = (int(found[name].split()[0]) for name in (b"MemTotal", b"MemFree"))
    limit //= 1024
    left = max(0, limit - (total - free))
    found |= {name: b"%16d kB" % value for name, value in ((b"MemTotal", limit), (b"MemFree", left))}
    found[b"MemAvailable"] = found[b"MemFree"]
    return b"".join(b"%s:%s\n" % item for item in found.items())


def _times(text: bytes, count: int, used: float, passed: float) -> bytes:
    """/proc/stat with the time that was used and the time that was not, both evenly over the processors."""
    busy, idle = int(used * TICKS), max(0, int((passed * count - used) * TICKS))
    lines = [b"cpu  %d 0 0 %d 0 0 0 0 0 0" % (busy, idle)]
    lines += [b"cpu%d %d 0 0 %d 0 0 0 0 0 0" % (number, busy // count, idle // count) for number in range(count)]
    lines += [line for line in text.splitlines() if not line.startswith(b"cpu")]
    return b"\n".join(lines) + b"\n"
