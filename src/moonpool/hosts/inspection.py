"""What this machine can do and what is left over on it, found without changing anything."""

import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from moonpool.engine.cgroups import Cgroups
from moonpool.engine.cgroups.layout import detect
from moonpool.engine.gvisor.capabilities import probe
from moonpool.engine.instance import Instance
from moonpool.engine.network import Network
from moonpool.errors import MoonpoolError
from moonpool.hosts.settings import GIBIBYTE, HostSettings

PROGRAMS = {"runsc": "runsc", "btrfs": "btrfs-progs", "mkfs.btrfs": "btrfs-progs", "mmdebstrap": "mmdebstrap",
            "nft": "nftables", "zstd": "zstd"}  # fmt: skip
LEAST_DISK = 10 * GIBIBYTE
LEAST_MEMORY = 2 * GIBIBYTE
ARCHITECTURES = ("x86_64", "aarch64")


class Verdict(StrEnum):
    GOOD = "ok"
    NOTE = "note"
    BAD = "missing"


@dataclass(frozen=True)
class Finding:
    """``hint`` says what to run or change; empty where nothing is to be done."""

    subject: str
    verdict: Verdict
    text: str
    hint: str = ""


def inspect_machine(settings: HostSettings) -> list[Finding]:
    """Whether sandboxes can run here; each check fails by itself."""
    return [*_programs(), _root(), _architecture(), _runsc(settings), _cgroups(), _disk(settings), _memory()]


def leftovers(settings: HostSettings) -> list[str]:
    """What a server that is not running any more left on the machine; empty when all is well."""
    instance = Instance(settings.data.resolve())
    found = list(Network.inspect(instance))
    found += [f"cgroup of member {name}" for name in cgroup_names(settings)]
    found += [f"mount {target}" for target in mounts_below(instance.data)]
    found += [f"process {pid} ({command})" for pid, command in processes_of(instance)]
    found += [f"loop device {device}" for device in loop_devices(instance.data)]
    return found


def cgroup_names(settings: HostSettings) -> list[str]:
    """Members that have a control group, of a running server or left over."""
    try:
        return Cgroups.of(Instance(settings.data.resolve())).names()
    except MoonpoolError:
        return []


def mounts_below(folder: Path) -> list[str]:
    rows = (line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return [row[4] for row in rows if row[4] == str(folder) or row[4].startswith(f"{folder}/")]


def processes_of(instance: Instance) -> list[tuple[int, str]]:
    """Sandbox processes that name this server's folder."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                words = Path(entry.path, "cmdline").read_text().split("\0")
            except OSError:
                continue
            if words[0].startswith(("runsc", "/usr/bin/runsc")) and any(f"{instance.run}/" in word for word in words):
                found.append((int(entry.name), words[0]))
    return found


def loop_devices(folder: Path) -> list[str]:
    found = []
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        if backing.read_text().strip().startswith(f"{folder}/"):
            found.append(f"/dev/{backing.parts[3]}")
    return found


def _programs() -> list[Finding]:
    return [
        Finding(program, Verdict.GOOD, path)
        if (path := shutil.which(program))
        else Finding(program, Verdict.BAD, "not installed", f"apt-get install {package}")
        for program, package in PROGRAMS.items()
    ]


def _root() -> Finding:
    if os.geteuid() == 0:
        return Finding("user", Verdict.GOOD, "root")
    return Finding("user", Verdict.BAD, "not root", "Run the server as root: it makes namespaces and mounts.")


def _architecture() -> Finding:
    machine = platform.machine()
    if machine in ARCHITECTURES:
        return Finding("architecture", Verdict.GOOD, machine)
    return Finding("architecture", Verdict.BAD, machine, f"Moonpool runs on {' and '.join(ARCHITECTURES)}.")


def _runsc(settings: HostSettings) -> Finding:
    def check() -> str:
        capabilities = probe(settings.runsc)
        return f"{capabilities.version}, flags {' '.join(capabilities.flags)}"

    return _checked("gVisor", check)


def _cgroups() -> Finding:
    def check() -> str:
        layout = detect()
        return ", ".join(f"v{hierarchy.version} {hierarchy.path}" for hierarchy in layout.hierarchies)

    return _checked("control groups", check)


def _checked(subject: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(subject, Verdict.GOOD, check())
    except MoonpoolError as error:
        return Finding(subject, Verdict.BAD, error.message, error.hint)


def _disk(settings: HostSettings) -> Finding:
    folder = settings.data.resolve()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    text = f"{free / GIBIBYTE:.0f} GiB free at {folder}"
    if free >= LEAST_DISK:
        return Finding("disk", Verdict.GOOD, text)
    return Finding("disk", Verdict.NOTE, text, "Free some space, or set MOONPOOL_DATA to a larger disk.")


def _memory() -> Finding:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    text = f"{total / GIBIBYTE:.1f} GiB, {os.cpu_count()} cores"
    if total >= LEAST_MEMORY:
        return Finding("memory", Verdict.GOOD, text)
    return Finding("memory", Verdict.NOTE, text, "A sandbox at rest needs some 30 MB; expect few at once.")
