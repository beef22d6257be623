"""Why a sandbox is gone."""

from enum import Enum

from moonpool.engine.cgroups.model import Stats


class DeathReason(Enum):
    OUT_OF_MEMORY = "out_of_memory"
    CRASHED = "crashed"


def death_reason(before: Stats | None, after: Stats) -> DeathReason:
    """Tell running out of memory from a crash by the kernel's own count of processes it killed for memory.

    ``before`` is a reading taken while the sandbox lived (None: its group was fresh, so nothing counted yet); ``after``
    one taken when it was gone and its group still there.
    """
    counted = before.oom_kills if before else 0
    return DeathReason.OUT_OF_MEMORY if after.oom_kills > counted else DeathReason.CRASHED
