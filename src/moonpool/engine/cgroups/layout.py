"""Finding the machine's cgroup hierarchies: v1, v2 or both, from /proc/self/mountinfo."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from moonpool.errors import MachineUnfit

LIMITED = ("cpu", "memory", "pids")
VERSION_1 = (*LIMITED, "cpuacct", "freezer")
HINT = "Boot with the cpu, memory and pids controllers enabled, and run Moonpool where /sys/fs/cgroup is writable."


@dataclass(frozen=True)
class Hierarchy:
    """A mounted tree of groups and the version (1 or 2) of its interface."""

    path: Path
    version: int


@dataclass(frozen=True)
class Layout:
    """Which hierarchy serves which controller; one may serve several."""

    cpu: Hierarchy
    usage: Hierarchy  # of cpu time
    memory: Hierarchy
    pids: Hierarchy
    freezer: Hierarchy

    @property
    def hierarchies(self) -> tuple[Hierarchy, ...]:
        """Each once, in a fixed order."""
        return tuple(dict.fromkeys((self.memory, self.cpu, self.usage, self.pids, self.freezer)))

    def limited_by(self, hierarchy: Hierarchy) -> list[str]:
        """The limiting controllers this hierarchy serves."""
        return [name for name in LIMITED if getattr(self, name) == hierarchy]


def detect(mountinfo: Path = Path("/proc/self/mountinfo"), root: Path = Path("/")) -> Layout:
    """The layout that ``mountinfo`` describes; its mount points are taken below ``root``.

    A controller that v1 has mounted cannot be had from v2, so v1 is asked first. Freezing is no controller in v2: every
    group there can be frozen, and what is frozen dies of SIGKILL at once, which in v1 it does not. Raises MachineUnfit.
    """
    found: dict[str, Hierarchy] = {}
    unified: Hierarchy | None = None
    for kind, point, options in _mounts(mountinfo.read_text()):
        path = root / point.lstrip("/")
        if kind == "cgroup2":
            unified = unified or Hierarchy(path, 2)
        else:
            found |= {name: Hierarchy(path, 1) for name in VERSION_1 if name in options}
    if unified:
        offered = (unified.path / "cgroup.controllers").read_text().split()
        found |= {name: unified for name in LIMITED if name in offered and name not in found}
        if "freezer" not in found or os.access(unified.path, os.W_OK):
            found["freezer"] = unified
        if found.get("cpu") == unified:
            found["cpuacct"] = unified
    missing = [name for name in VERSION_1 if name not in found]
    if missing:
        raise MachineUnfit(f"no cgroup controller here for: {', '.join(missing)}", hint=HINT)
    return Layout(found["cpu"], found["cpuacct"], found["memory"], found["pids"], found["freezer"])


def _mounts(text: str) -> list[tuple[str, str, list[str]]]:
    """Type, mount point and super block options of every cgroup mount (see proc_pid_mountinfo(5))."""
    mounts = []
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            point = re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), before.split()[4])
            mounts.append((kind, point, options.split(",")))
    return mounts
