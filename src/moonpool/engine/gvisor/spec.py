"""The OCI runtime specification (config.json) of a sandbox: the agent, alone, on an empty root."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

AGENT_MOUNT = "/.agent"
LATE_MOUNT = "/.late"
LATE_ROOT = f"{LATE_MOUNT}/root"
SHARES_MOUNT = "/.volumes"
SHARES = 16  # folders that others write to as well, of one sandbox
ROOT_FOLDERS = ("proc", "dev", "sys", "tmp", "root", AGENT_MOUNT[1:], LATE_MOUNT[1:], SHARES_MOUNT[1:])
COMMAND = (
    f"{AGENT_MOUNT}/lib/ld.so",
    "--library-path",
    f"{AGENT_MOUNT}/lib",
    f"{AGENT_MOUNT}/bin/python3",
    "-I",
    "-S",
    f"{AGENT_MOUNT}/agent",
)
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# What root inside may do to the sandbox's own kernel: the usual container set, what sudo (AUDIT_WRITE) and package
# managers (SETFCAP, MKNOD) use, and what the agent needs to mount and chroot. NET_RAW and NET_ADMIN are left out:
# without them no packet can be forged and the address stays what it is. ping works without, by ICMP datagram sockets.
CAPABILITIES = (
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_ADMIN",
    "CAP_SYS_CHROOT",
    "CAP_SYS_NICE",
    "CAP_SYS_PTRACE",
    "CAP_SYS_RESOURCE",
)
OPEN_FILES = 1 << 20

# The highest: when the machine runs out of memory, sandboxes go before the server; when a sandbox does, its sentry goes
# and the sandbox ends as a whole, rather than one of the sentry's helpers that stands for a program inside.
OOM_SCORE = 1000


@dataclass(frozen=True)
class Folders:
    """What sandboxes have in common, read-only to them: ``empty`` as their first root with ``agent`` at /.agent in it,
    and ``shares`` at /.volumes, with a mount point for each volume.

    The agent and the late root are parts of the root, since gVisor keeps what it has seen there ("exclusive"). What it
    calls a mount is shared with others: there it asks for everything anew. It knows no such difference between mounts:
    in 20240729 an annotation that makes one puts an overlay on it.
    """

    empty: Path
    agent: Path
    shares: Path

    @property
    def agent_target(self) -> Path:
        return self.empty / AGENT_MOUNT[1:]

    @property
    def late_root(self) -> Path:
        return self.empty / LATE_ROOT[1:]

    def share(self, slot: int) -> Path:
        return self.shares / str(slot)

    def make(self) -> None:
        """The mount points that every sandbox starts from."""
        for name in ROOT_FOLDERS:
            (self.empty / name).mkdir(parents=True, exist_ok=True)
        self.late_root.mkdir(exist_ok=True)
        for slot in range(SHARES):
            self.share(slot).mkdir(parents=True, exist_ok=True)


def share_target(slot: int) -> str:
    """Where a shared folder of this number (0 to ``SHARES`` - 1) is mounted, as a sandbox and its gofer see it."""
    return f"{SHARES_MOUNT}/{slot}"


def build(namespace: Path, folders: Folders, secret: str | None) -> dict[str, Any]:
    """The specification of a sandbox in the network namespace whose file is ``namespace``.

    ``secret`` goes to the agent's environment; None on restore, where the agent's memory holds one.

    No inheritable capabilities: a program that an ordinary user starts must not find any. /tmp is the root's own, on
    disk, not a tmpfs: what is written there must not count as memory or end in a checkpoint.
    """
    environment = [f"PYTHONHOME={AGENT_MOUNT}", PATH, "HOME=/root"]
    if secret is not None:
        environment.append(f"MOONPOOL_AGENT_SECRET={secret}")
    held = list(CAPABILITIES)
    return {
        "ociVersion": "1.0.0",
        "hostname": "sandbox",
        # Not "readonly": what is mounted below it later would be as well. The launcher has it read-only itself.
        "root": {"path": str(folders.empty)},
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "cwd": "/",
            "args": list(COMMAND),
            "env": environment,
            "capabilities": {"bounding": held, "effective": held, "permitted": held, "inheritable": [], "ambient": []},
            "oomScoreAdj": OOM_SCORE,
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": OPEN_FILES, "soft": OPEN_FILES}],
        },
        "mounts": _mounts(folders),
        "linux": {
            "namespaces": [
                *({"type": kind} for kind in ("pid", "ipc", "uts", "mount")),
                {"type": "network", "path": str(namespace)},
            ]
        },
    }


def _mounts(folders: Folders) -> list[dict[str, Any]]:
    return [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts"},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "tmpfs"},  # noqa: S108 - a mount point
        {"destination": "/sys", "type": "sysfs", "source": "sysfs"},
        {"destination": SHARES_MOUNT, "type": "bind", "source": str(folders.shares), "options": ["rbind", "rw"]},
    ]


def write(bundle: Path, specification: dict[str, Any]) -> Path:
    """Write ``bundle``/config.json, readable by its owner only: it may hold the agent's secret."""
    path = bundle / "config.json"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(specification, file)
    return path
