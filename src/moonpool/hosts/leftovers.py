"""What one server has on this machine, in words, found without changing anything."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from moonpool.engine.cgroups import Cgroups
from moonpool.engine.instance import Instance
from moonpool.engine.network import Network
from moonpool.engine.storage.mounts import mounts
from moonpool.errors import MoonpoolError
from moonpool.hosts.settings import HostSettings

LOOP_FILES = "loop*/loop/backing_file"


def leftovers(settings: HostSettings) -> list[str]:
    """All that a server which does not run any more left behind; empty when all is well.

    What cannot be looked at, as by another user than root or without nftables, is taken for absent: a server could not
    have made it either.
    """
    instance = Instance(settings.data.resolve())
    found = [f"process {pid} ({name})" for pid, name in processes_of(instance)]
    found += [f"control group of {name}" for name in cgroup_names(settings)] or _parent_group(instance)
    found += _if_possible(lambda: Network.inspect(instance))
    found += [f"mount {point}" for point in mounts_of(instance)]
    found += [f"loop device {device}" for device in loop_devices(instance.data)]
    return found


def cgroup_names(settings: HostSettings) -> list[str]:
    """Members that have a control group, of a running server or left over."""
    return _if_possible(lambda: Cgroups.of(Instance(settings.data.resolve())).names())


def processes_of(instance: Instance) -> list[tuple[int, str]]:
    """gVisor's processes that name this server's folder, and those that move its disks; ids and names, in order."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and (words := _command(int(entry.name))):
            name = Path(words[0]).name
            folder = {"runsc": instance.run, "btrfs": instance.data / "pool"}.get(name.split("-")[0])
            if folder is not None and any(f"{folder}/" in word for word in words):
                found.append((int(entry.name), name))
    return sorted(found)


def mounts_of(instance: Instance) -> list[Path]:
    """Mount points that a server makes; what an administrator mounted as the folder itself is not among them."""
    folders = (instance.data / "pool", instance.run)
    return [mount.point for mount in mounts() if any(mount.point.is_relative_to(folder) for folder in folders)]


def loop_devices(folder: Path) -> list[str]:
    """Loop devices whose file lies in ``folder``, deleted files included."""
    return sorted(
        f"/dev/{backing.parts[3]}"
        for backing in Path("/sys/block").glob(LOOP_FILES)
        if _read(backing).startswith(f"{folder}/")
    )


def _parent_group(instance: Instance) -> list[str]:
    return _if_possible(lambda: ["control group of the server"] if Cgroups.of(instance).exists() else [])


def _if_possible(look: Callable[[], Iterable[str]]) -> list[str]:
    try:
        return list(look())
    except (MoonpoolError, OSError):
        return []


def _command(pid: int) -> list[str]:
    words = _read(Path(f"/proc/{pid}/cmdline")).split("\0")
    return words if words[0] else []


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""  # Gone meanwhile, or not ours to read.
