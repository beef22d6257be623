"""Control files of cgroup v1; every function takes the group's folder in the controller's hierarchy."""

import contextlib
import errno
import time
from pathlib import Path

from moonpool.engine.cgroups.files import read_int, read_pairs, write
from moonpool.errors import EngineError

PERIOD_MICROSECONDS = 100_000
LEAST_QUOTA_MICROSECONDS = 1_000
LEAST_SHARES, MOST_SHARES = 2, 262_144
FIRST_PAUSE, LONGEST_PAUSE = 0.0002, 0.01  # seconds between two looks at freezer.state, which cannot be waited on


def set_cpu(group: Path, cores: float, weight: int) -> None:
    shares = LEAST_SHARES + (weight - 1) * (MOST_SHARES - LEAST_SHARES) // 9_999
    write(group / "cpu.cfs_period_us", str(PERIOD_MICROSECONDS))
    write(group / "cpu.cfs_quota_us", str(max(LEAST_QUOTA_MICROSECONDS, round(cores * PERIOD_MICROSECONDS))))
    write(group / "cpu.shares", str(shares))


def cpu_microseconds(group: Path) -> int:
    return read_int(group / "cpuacct.usage") // 1_000


def set_memory(group: Path, limit: int) -> None:
    """The limit of memory and swap together may never be below that of memory: the direction decides the order."""
    names = ["memory.limit_in_bytes"]
    if (group / "memory.memsw.limit_in_bytes").exists():
        raising = limit > read_int(group / names[0])
        names.insert(0 if raising else 1, "memory.memsw.limit_in_bytes")
    try:
        for name in names:
            write(group / name, str(limit))
    except EngineError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EBUSY:
            raise EngineError("more memory is in use than the new limit allows", hint="End processes first.") from error
        raise


def memory_bytes(group: Path) -> int:
    cache = read_pairs(group / "memory.stat").get("total_inactive_file", 0)
    return max(0, read_int(group / "memory.usage_in_bytes") - cache)


def memory_and_cache(group: Path) -> tuple[int, int] | None:
    """None where the group is gone."""
    held = read_int(group / "memory.usage_in_bytes")
    cache = read_pairs(group / "memory.stat").get("total_inactive_file", 0)
    return (max(0, held - cache), min(held, cache)) if held else None


def memory_peak_bytes(group: Path) -> int:
    return read_int(group / "memory.max_usage_in_bytes")


def oom_kills(group: Path) -> int:
    return read_pairs(group / "memory.oom_control").get("oom_kill", 0)


def freeze(group: Path, timeout: float) -> None:
    """Freeze all tasks; a stubborn one is asked again at every look, as the kernel's documentation advises."""
    state, pause, deadline = group / "freezer.state", FIRST_PAUSE, time.monotonic() + timeout
    write(state, "FROZEN")
    while state.read_text().strip() != "FROZEN":
        if time.monotonic() > deadline:
            write(state, "THAWED")
            raise EngineError(f"the sandbox could not be frozen within {timeout} s")
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
        write(state, "FROZEN")


def thaw(group: Path, _timeout: float) -> None:
    """Immediate in v1: the write returns when every task was set going."""
    write(group / "freezer.state", "THAWED")


def is_frozen(group: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return (group / "freezer.state").read_text().strip() != "THAWED"
    return False


def let_die(group: Path) -> None:
    """A frozen task does not die before it is thawed; with SIGKILL pending it runs no instruction of its own then."""
    if is_frozen(group):
        write(group / "freezer.state", "THAWED")
