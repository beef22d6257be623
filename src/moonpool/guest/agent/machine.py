"""What the sandbox is: its root, its name and secrets, its figures."""

import contextlib
import ctypes
import hmac
import os
import stat
import time
from collections.abc import Iterable
from typing import Any

from ..protocol import Stream
from . import network, root
from .errors import AgentError
from .limits import Limits
from .mounts import Mounts
from .processes import Processes
from .request import Request, check_path
from .units.namespaces import STAGE
from .users import Users, read_small
from .workers import Workers

MAX_SECRET = 128  # bytes
MAX_PROCESSES = 1 << 22
MAX_SKEW = 2.0  # seconds that the sandbox's clock may differ from the host's unremarked
DELETED = " (deleted)"
CPU_FIELDS = slice(1, 9)  # user nice system idle iowait irq softirq steal
_libc = ctypes.CDLL(None, use_errno=True)


class Machine:
    def __init__(
        self,
        secret: bytes,
        users: Users,
        processes: Processes,
        workers: Workers,
        limits: Limits,
        mounts: Mounts,
    ) -> None:
        self._secret = secret
        self._limits = limits
        self._mounts = mounts
        self._users = users
        self._processes = processes
        self._workers = workers
        self._last_cpu = self._cpu_times()

    def accepts(self, secret: bytes) -> bool:
        """Whether this is the secret; takes equally long whatever is wrong with it."""
        return hmac.compare_digest(secret, self._secret)

    # -- coming to life ---------------------------------------------------------------------------------------------

    async def enter(self, stream: Stream, request: Request) -> None:
        root.enter(check_path(request.path("root")))

    async def thaw(self, stream: Stream, request: Request) -> dict[str, Any]:
        """Become somebody: after a restore, everything still is as in the checkpoint. A file that cannot be written
        (a full disk) is told, and does not keep the sandbox from starting."""
        if not 8 <= len(request.body) <= MAX_SECRET:
            raise AgentError("invalid_input", f"secret: must have 8 to {MAX_SECRET} bytes")
        hostname = request.optional_text("hostname")
        if hostname is not None:
            _set_hostname(hostname)
        environment = request.table("env")
        self._users.default = request.optional_text("user") or "root"
        self._users.default_group = request.optional_text("group") or ""
        self._processes.environment = dict(environment)
        self._processes.workdir = request.optional_text("workdir") or ""
        self._secret = request.body
        skew = time.time() - (request.seconds("time_unix") or time.time())
        contents = {
            "/etc/hostname": f"{hostname}\n" if hostname else None,
            "/etc/hosts": request.optional_text("hosts"),
            "/etc/resolv.conf": request.optional_text("resolv_conf"),
            "/etc/machine-id": request.optional_text("machine_id"),
        }
        count = request.optional_integer("processes", 1, MAX_PROCESSES)
        if count is not None:
            self._limits.set_processes(count)
        self._set_sizes(request)
        problems: list[str] = []
        if any(content is not None for content in contents.values()):
            problems = await self._workers.call(None, lambda: _write_all(contents))
        if abs(skew) > MAX_SKEW:
            problems.append(f"the sandbox's clock is {skew:.1f} s ahead of the host's")
        return {"problems": problems}

    async def environment(self, stream: Stream, request: Request) -> dict[str, Any]:
        """Change the environment that every process from now on gets."""
        self._processes.environment.update(request.table("set"))
        for name in request.texts("unset"):
            self._processes.environment.pop(name, None)
        return {"env": self._processes.environment}

    async def limit(self, stream: Stream, request: Request) -> None:
        """Change how many processes an ordinary user may have, and what is told of processors and memory."""
        self._limits.set_processes(request.integer("processes", 1, MAX_PROCESSES))
        self._set_sizes(request)

    def _set_sizes(self, request: Request) -> None:
        cpu, memory = request.amount("cpu"), request.optional_integer("memory", 1, 1 << 62)
        if cpu is not None and memory is not None:
            self._limits.sizes.set(cpu, memory)

    async def sync(self, stream: Stream, request: Request) -> None:
        await self._workers.call(None, os.sync)

    # -- figures ----------------------------------------------------------------------------------------------------

    async def metrics(self, stream: Stream, request: Request) -> dict[str, Any]:
        """CPU in percent of all CPUs together since the last call; the rest in bytes and seconds."""
        self._limits.sizes.refresh()
        disk = os.statvfs("/")
        memory = _memory()
        total, available = memory.get("MemTotal", 0), memory.get("MemAvailable", memory.get("MemFree", 0))
        cpu, self._last_cpu = self._last_cpu, self._cpu_times()
        elapsed = self._last_cpu[1] - cpu[1]
        used = self._last_cpu[0] - cpu[0]
        return {
            "cpu_count": os.cpu_count() or 1,
            "cpu_used_percent": round(100 * used / elapsed, 2) if elapsed > 0 else 0.0,
            "memory_total": total,
            "memory_used": max(0, total - available),
            "memory_cached": memory.get("Cached", 0),
            "disk_total": disk.f_blocks * disk.f_frsize,
            "disk_used": (disk.f_blocks - disk.f_bfree) * disk.f_frsize,
            "uptime": _uptime(),
            "time": time.time(),
        }

    def _cpu_times(self) -> tuple[float, float]:
        """Seconds all CPUs have worked, and seconds they have had, since some moment."""
        worked = self._limits.cpu_seconds()
        if worked is not None:
            return worked, time.monotonic() * (os.cpu_count() or 1)
        words = read_small("/proc/stat").decode(errors="replace").split("\n", 1)[0].split()[CPU_FIELDS]
        ticks = [int(word) for word in words if word.isdigit()]
        return float(sum(ticks) - sum(ticks[3:5])), float(sum(ticks))

    async def deleted_files(self, stream: Stream, request: Request) -> dict[str, Any]:
        """Files that are deleted and still open. On the root they keep a checkpoint from being made, on volumes, where
        another sandbox may have deleted them, from being restored."""
        root_device, volumes = os.stat("/").st_dev, self._mounts.devices()
        return await self._workers.call(None, lambda: {"files": deleted_files(root_device, volumes)})


def _set_hostname(name: str) -> None:
    coded = name.encode()
    if not 0 < len(coded) <= 64:
        raise AgentError("invalid_input", "hostname: must have 1 to 64 bytes")
    if _libc.sethostname(coded, len(coded)) != 0:
        raise AgentError("guest_error", f"cannot set the host name: {os.strerror(ctypes.get_errno())}")


def _write_all(contents: dict[str, str | None]) -> list[str]:
    problems = []
    for path, content in contents.items():
        if content is None:
            continue
        try:
            _write_if_different(path, content.encode())
        except OSError as error:
            problems.append(f"{path}: {error.strerror}")
    return problems


def _write_if_different(path: str, content: bytes) -> None:
    """Replace the file itself, also where the image has a link in its place."""
    if not os.path.islink(path) and read_small(path) == content:
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}.moonpool"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644), "wb") as file:
            file.write(content)
        os.rename(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _memory() -> dict[str, int]:
    """/proc/meminfo in bytes."""
    figures = {}
    for line in read_small("/proc/meminfo").decode(errors="replace").splitlines():
        words = line.replace(":", " ").split()
        if len(words) >= 2 and words[1].isdigit():
            figures[words[0]] = int(words[1]) << 10
    return figures


def _uptime() -> float:
    words = read_small("/proc/uptime").split()
    return float(words[0]) if words else time.monotonic()


def deleted_files(root_device: int, volumes: set[int], processes: Iterable[int] | None = None) -> list[dict[str, Any]]:
    """The files of these file systems that are open and have no name any more; of all other processes, or of these."""
    found = []
    for pid, descriptor, target in network.open_files(network.other_processes() if processes is None else processes):
        if target.endswith(DELETED) or volumes:
            with contextlib.suppress(OSError):
                path = _lost_path(pid, descriptor, root_device, volumes)
                if path is not None:
                    shown, _ = _as_seen_inside(pid, path)
                    found.append({"pid": pid, "process": network.process_name(pid), "path": shown})
    return found


def _lost_path(pid: int, descriptor: str, root_device: int, volumes: set[int]) -> str | None:
    """Where an open file was that is deleted; None of any other. All is asked of one and the same file: its process may
    put another one in its place at any moment, as a shell does that redirects its output."""
    handle = os.open(f"/proc/{pid}/fd/{descriptor}", os.O_PATH | os.O_CLOEXEC)
    try:
        there, link = os.fstat(handle), f"/proc/self/fd/{handle}"
        if not stat.S_ISREG(there.st_mode) or there.st_dev not in {root_device, *volumes}:
            return None
        target = os.readlink(link)
        path = target.removesuffix(DELETED)
        _, place = _as_seen_inside(pid, path)
        gone = path != target or (there.st_dev in volumes and _is_gone(place, there))
        return path if gone and os.readlink(link) == target else None  # and it was not renamed meanwhile
    finally:
        os.close(handle)


def _as_seen_inside(pid: int, path: str) -> tuple[str, str]:
    """A file's path for people, and where it is to be looked for: a confined service has a root of its own, of which
    the agent is told by where that was built."""
    _, confined, own = path.partition(STAGE)
    return (own, f"/proc/{pid}/root{own}") if confined else (path, path)


def _is_gone(path: str, there: os.stat_result) -> bool:
    """Whether something else, or nothing, is by now where an open file was found."""
    try:
        now = os.stat(path)
    except FileNotFoundError:
        return True
    return (now.st_dev, now.st_ino) != (there.st_dev, there.st_ino)
