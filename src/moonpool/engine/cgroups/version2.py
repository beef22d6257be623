"""Control files of cgroup v2; every function takes the group's folder."""

import os
import select
import time
from pathlib import Path

from moonpool.engine.cgroups.files import read_int, read_pairs, write
from moonpool.errors import EngineError

PERIOD_MICROSECONDS = 100_000
LEAST_QUOTA_MICROSECONDS = 1_000


def set_cpu(group: Path, cores: float, weight: int) -> None:
    quota = max(LEAST_QUOTA_MICROSECONDS, round(cores * PERIOD_MICROSECONDS))
    write(group / "cpu.max", f"{quota} {PERIOD_MICROSECONDS}")
    write(group / "cpu.weight", str(weight))


def cpu_microseconds(group: Path) -> int:
    return read_pairs(group / "cpu.stat").get("usage_usec", 0)


def set_memory(group: Path, limit: int) -> None:
    """Refuses a limit below what is in use: the kernel would kill the sandbox to keep it."""
    if limit < memory_bytes(group):
        raise EngineError("more memory is in use than the new limit allows", hint="End processes first.")
    write(group / "memory.max", str(limit))
    if (group / "memory.swap.max").exists():
        write(group / "memory.swap.max", "0")
    if (group / "memory.oom.group").exists():
        write(group / "memory.oom.group", "1")


def memory_bytes(group: Path) -> int:
    cache = read_pairs(group / "memory.stat").get("inactive_file", 0)
    return max(0, read_int(group / "memory.current") - cache)


def memory_and_cache(group: Path) -> tuple[int, int] | None:
    """None where the group is gone."""
    held = read_int(group / "memory.current")
    cache = read_pairs(group / "memory.stat").get("inactive_file", 0)
    return (max(0, held - cache), min(held, cache)) if held else None


def memory_peak_bytes(group: Path) -> int:
    """The current figure where the kernel (before 5.19) keeps no peak."""
    return read_int(group / "memory.peak") or read_int(group / "memory.current")


def oom_kills(group: Path) -> int:
    return read_pairs(group / "memory.events").get("oom_kill", 0)


def freeze(group: Path, timeout: float) -> None:
    write(group / "cgroup.freeze", "1")
    try:
        wait_for_event(group, "frozen", 1, timeout)
    except EngineError:
        write(group / "cgroup.freeze", "0")
        raise


def thaw(group: Path, timeout: float) -> None:
    write(group / "cgroup.freeze", "0")
    wait_for_event(group, "frozen", 0, timeout)


def is_frozen(group: Path) -> bool:
    return read_int(group / "cgroup.freeze") == 1


def let_die(_group: Path) -> None:
    """Nothing to do: in v2 a frozen task dies of SIGKILL at once."""


def wait_for_event(group: Path, key: str, value: int, timeout: float) -> None:
    """Wait until ``cgroup.events`` says ``key value``; the kernel raises POLLPRI on every change of that file."""
    deadline = time.monotonic() + timeout
    descriptor = os.open(group / "cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLPRI | select.POLLERR)
        while f"{key} {value}" not in os.pread(descriptor, 4096, 0).decode().splitlines():
            left = deadline - time.monotonic()
            if left <= 0:
                raise EngineError(f"{group.name}: no '{key} {value}' within {timeout} s")
            poll.poll(left * 1000)
    finally:
        os.close(descriptor)
