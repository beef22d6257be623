"""Control groups of sandboxes on cgroup v1, v2 and hybrid machines: limits, freezing, figures, killing."""

from moonpool.engine.cgroups.death import DeathReason, death_reason
from moonpool.engine.cgroups.groups import Cgroups
from moonpool.engine.cgroups.layout import Hierarchy, Layout, detect
from moonpool.engine.cgroups.model import IDLE_WEIGHT, MEMORY_OVERHEAD_BYTES, NORMAL_WEIGHT, Limits, Stats

__all__ = [
    "IDLE_WEIGHT",
    "MEMORY_OVERHEAD_BYTES",
    "NORMAL_WEIGHT",
    "Cgroups",
    "DeathReason",
    "Hierarchy",
    "Layout",
    "Limits",
    "Stats",
    "death_reason",
    "detect",
]
