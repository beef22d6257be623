"""Conditions of units that can be told in a sandbox; those that cannot are taken as met."""

import glob
import os
from collections.abc import Callable

from ..users import read_small
from . import syntax
from .settings import Settings

SYSTEMD_ITSELF = (
    "/lib/systemd/", "/usr/lib/systemd/", "/sbin/agetty", "/usr/sbin/agetty", "systemd-", "/bin/systemd-",
    "/usr/bin/systemd-",
)  # fmt: skip
CONTAINERS = ("yes", "true", "1", "container", "docker", "oci", "gvisor")
MACHINES = ("vm", "private-users", "no", "false", "0", "kvm", "qemu")


# In the kernel's order.
CAPABILITIES = (
    "chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap",
    "linux_immutable", "net_bind_service", "net_broadcast", "net_admin", "net_raw", "ipc_lock", "ipc_owner",
    "sys_module", "sys_rawio", "sys_chroot", "sys_ptrace", "sys_pacct", "sys_admin", "sys_boot", "sys_nice",
    "sys_resource", "sys_time", "sys_tty_config", "mknod", "lease", "audit_write", "audit_control", "setfcap",
    "mac_override", "mac_admin", "syslog", "wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf",
    "checkpoint_restore",
)  # fmt: skip


def _capability(name: str) -> bool:
    """Whether a service could have it: it is in the set that bounds the agent's own."""
    word = name.lower().removeprefix("cap_")
    if word not in CAPABILITIES:
        return False
    for line in read_small("/proc/self/status").decode().splitlines():
        if line.startswith("CapBnd:"):
            return bool(int(line.split()[1], 16) >> CAPABILITIES.index(word) & 1)
    return True


def _not_empty(path: str) -> bool:
    return os.path.isdir(path) and bool(os.listdir(path))


def _virtualization(value: str) -> bool:
    return value.lower() in CONTAINERS or value.lower() not in MACHINES


TESTS: dict[str, Callable[[str], bool]] = {
    "PathExists": os.path.exists,
    "PathExistsGlob": lambda pattern: bool(glob.glob(pattern)),
    "PathIsDirectory": os.path.isdir,
    "PathIsSymbolicLink": os.path.islink,
    "PathIsMountPoint": os.path.ismount,
    "PathIsReadWrite": lambda path: os.access(path, os.W_OK),
    "DirectoryNotEmpty": _not_empty,
    "FileNotEmpty": lambda path: os.path.isfile(path) and os.path.getsize(path) > 0,
    "FileIsExecutable": lambda path: os.path.isfile(path) and os.access(path, os.X_OK),
    "Virtualization": _virtualization,
    "Host": lambda name: name == os.uname().nodename,
    "Architecture": lambda name: name.replace("-", "_") == os.uname().machine.replace("aarch64", "arm64"),
    "Capability": _capability,
    "User": lambda name: name in ("root", "0", "@system"),
    "ACPower": syntax.flag,
    "FirstBoot": lambda value: not syntax.flag(value),
    "NeedsUpdate": lambda value: False,
    "Security": lambda value: False,
}


def unmet(settings: Settings) -> str | None:
    """The first condition that does not hold, as it stands in the file; None when all do.

    Of those that begin with ``|`` one is enough.
    """
    triggers: list[tuple[bool, str]] = []
    for key, value in settings.conditions:
        test = TESTS.get(key.removeprefix("Condition").removeprefix("Assert"))
        if test is None:
            continue
        plain = value.lstrip("|!")
        holds = test(plain.strip()) is not ("!" in value[: len(value) - len(plain)])
        if value.startswith("|"):
            triggers.append((holds, f"{key}={value}"))
        elif not holds:
            return f"{key}={value}"
    if triggers and not any(holds for holds, _ in triggers):
        return triggers[0][1]
    first = settings.commands["ExecStart"][:1]
    if first and first[0].executable.startswith(SYSTEMD_ITSELF):
        return f"{first[0].executable} is a part of systemd, which a sandbox does without"
    return None
