"""What this machine can do, found without changing anything."""

import os
import platform
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from moonpool.engine.cgroups.layout import detect
from moonpool.engine.gvisor.capabilities import probe
from moonpool.engine.gvisor.mending import NotMended, mend, mistaken
from moonpool.engine.images import base_recipe
from moonpool.engine.images.base import HASH_SHOWN
from moonpool.engine.instance import Instance
from moonpool.engine.network import Network
from moonpool.errors import MoonpoolError
from moonpool.hosts.settings import GIBIBYTE, HostSettings

PROGRAMS = {"btrfs": "btrfs-progs", "mkfs.btrfs": "btrfs-progs", "mmdebstrap": "mmdebstrap",
            "nft": "nftables", "skopeo": "skopeo", "zstd": "zstd", "losetup": "util-linux"}  # fmt: skip
LEAST_DISK = 10 * GIBIBYTE
LEAST_MEMORY = 2 * GIBIBYTE
ARCHITECTURES = ("x86_64", "aarch64")
FILESYSTEMS = Path("/proc/filesystems")
MODULES = Path("/lib/modules")
SIMPLE_QUOTAS = (6, 7)  # the kernel that brought them
LIMITS = "disk limits"


class Verdict(StrEnum):
    GOOD = "ok"
    NOTE = "note"
    BAD = "missing"
    LEFT = "left over"


@dataclass(frozen=True)
class Finding:
    """``hint`` says what to run or change; empty where nothing is to be done."""

    subject: str
    verdict: Verdict
    text: str
    hint: str = ""

    @property
    def wrong(self) -> bool:
        return self.verdict in (Verdict.BAD, Verdict.LEFT)


def inspect_machine(settings: HostSettings) -> list[Finding]:
    """Whether sandboxes can run here. Each check fails by itself: one that is missing hides no other."""
    return [
        _user(),
        _architecture(),
        _checked("gVisor", lambda: _gvisor(settings.runsc, settings.mend_runsc)),
        *(_program(name, package) for name, package in PROGRAMS.items()),
        _btrfs(),
        disk_limits(platform.release()),
        _checked("control groups", _control_groups),
        _checked("network", lambda: _network(settings)),
        _disk(settings.data.resolve()),
        _memory(),
        _checked("base image", lambda: _base_image(settings)),
    ]


def _user() -> Finding:
    if os.geteuid() == 0:
        return Finding("user", Verdict.GOOD, "root")
    return Finding("user", Verdict.BAD, "not root", "Run the server as root: it makes namespaces and mounts.")


def _architecture() -> Finding:
    machine = platform.machine()
    if machine in ARCHITECTURES:
        return Finding("architecture", Verdict.GOOD, machine)
    return Finding("architecture", Verdict.BAD, machine, f"Moonpool runs on {' and '.join(ARCHITECTURES)}.")


def _gvisor(runsc: str, wanted: bool) -> Finding:
    capabilities = probe(runsc)
    text = f"runsc {capabilities.version}, platform {capabilities.platform}"
    if not mistaken(capabilities.version):
        return Finding("gVisor", Verdict.GOOD, text)
    try:
        if not wanted:
            raise NotMended("MOONPOOL_MEND_RUNSC is off")
        mend(Path(shutil.which(runsc) or runsc).read_bytes())
    except (OSError, NotMended) as error:
        text += f": programs that wait with epoll may die when their memory is brought back ({error})"
        return Finding("gVisor", Verdict.NOTE, text, "Install Debian's runsc, or gVisor's newest.")
    return Finding("gVisor", Verdict.GOOD, f"{text}, its epoll mended")


def _program(name: str, package: str) -> Finding:
    if path := shutil.which(name):
        return Finding(name, Verdict.GOOD, path)
    return Finding(name, Verdict.BAD, "not installed", f"apt-get install {package}")


def _btrfs() -> Finding:
    """In the kernel, or there as a module that mount loads."""
    if "btrfs" in FILESYSTEMS.read_text().split():
        return Finding("btrfs in the kernel", Verdict.GOOD, "there")
    if any((MODULES / platform.release()).rglob("btrfs.ko*")):
        return Finding("btrfs in the kernel", Verdict.GOOD, "a module")
    return Finding(
        "btrfs in the kernel", Verdict.BAD, "not there", "Run a kernel with btrfs: Debian's and Ubuntu's do."
    )


def disk_limits(release: str) -> Finding:
    """`release` is the kernel's, as "6.1.0-18-amd64"."""
    numbers = re.match(r"(\d+)\.(\d+)", release)
    if numbers and tuple(map(int, numbers.groups())) >= SIMPLE_QUOTAS:
        return Finding(LIMITS, Verdict.GOOD, f"simple quotas, kernel {release}")
    text = f"kernel {release} has classic btrfs quotas only: many snapshots of one image slow them down"
    least = ".".join(map(str, SIMPLE_QUOTAS))
    return Finding(LIMITS, Verdict.NOTE, text, f"Simple quotas need kernel {least}; Debian's is in bookworm-backports.")


def _control_groups() -> Finding:
    layout = detect()
    text = ", ".join(f"v{hierarchy.version} {hierarchy.path}" for hierarchy in layout.hierarchies)
    return Finding("control groups", Verdict.GOOD, text)


def _network(settings: HostSettings) -> Finding:
    obstacles = Network.obstacles(Instance(settings.data.resolve()))
    if not obstacles:
        return Finding("network", Verdict.GOOD, "no other filter stands in the way")
    return Finding("network", Verdict.NOTE, "; ".join(obstacles), "Sandboxes may not reach the internet until then.")


def _disk(folder: Path) -> Finding:
    existing = next(path for path in (folder, *folder.parents) if path.is_dir())
    free = shutil.disk_usage(existing).free
    text = f"{free / GIBIBYTE:.0f} GiB free at {existing}"
    if free >= LEAST_DISK:
        return Finding("disk", Verdict.GOOD, text)
    return Finding("disk", Verdict.NOTE, text, "Free some space, or set MOONPOOL_DATA to a larger disk.")


def _memory() -> Finding:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    text = f"{total / GIBIBYTE:.1f} GiB, {os.cpu_count()} cores"
    if total >= LEAST_MEMORY:
        return Finding("memory", Verdict.GOOD, text)
    return Finding("memory", Verdict.NOTE, text, "A sandbox at rest needs some 30 MB; expect few at once.")


def _base_image(settings: HostSettings) -> Finding:
    archive = settings.cache / f"base-{base_recipe(settings.base_packages).digest[:HASH_SHOWN]}.tar.zst"
    if archive.exists():
        return Finding("base image", Verdict.GOOD, str(archive))
    hint = "'moonpool image build' makes it, and so does the first start: that takes some minutes."
    return Finding("base image", Verdict.NOTE, f"not in {settings.cache}", hint)


def _checked(subject: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except MoonpoolError as error:
        return Finding(subject, Verdict.BAD, error.message, error.hint)
    except OSError as error:
        return Finding(subject, Verdict.BAD, str(error))
