"""What a control group is told and what it tells."""

from dataclasses import dataclass

NORMAL_WEIGHT = 100  # cpu weight of a sandbox somebody uses, in cgroup v2 units
IDLE_WEIGHT = 1  # cpu weight of work nobody waits for: filling the warm pool

# What the sentry, the gofer and their page tables take besides the programs inside: 20 to 45 MiB measured, the rest
# is room for the file cache that gets a busy program going. It is added to every memory limit, so that a sandbox of
# 512 MiB really has about 512 MiB for its programs.
MEMORY_OVERHEAD_BYTES = 64 << 20

# A process inside is two host tasks, and the engine keeps some ready for reuse. A sentry that cannot get another task
# dies, and the sandbox with it, so this bound only protects the machine and lies well above the limit inside, which the
# sandbox's own pids controller keeps: it refuses a fork with EAGAIN, as a program expects.
TASKS_PER_PROCESS = 3
TASKS_OVERHEAD = 256


@dataclass(frozen=True)
class Limits:
    """``cpu`` in cores (0.5 is half a core); ``memory_bytes`` for the programs inside, without the engine's overhead;
    ``pids`` in processes inside, from which the bound on host tasks follows; ``cpu_weight`` from 1 to 10,000, only
    relative to other sandboxes."""

    cpu: float
    memory_bytes: int
    pids: int
    cpu_weight: int = NORMAL_WEIGHT


@dataclass(frozen=True)
class Stats:
    """``cpu_microseconds`` since the group was made; ``memory_bytes`` without file cache that is free for the taking;
    ``memory_peak_bytes`` with it; ``pids`` host tasks; ``oom_kills`` processes the kernel killed over the limit."""

    cpu_microseconds: int
    memory_bytes: int
    memory_peak_bytes: int
    pids: int
    oom_kills: int
