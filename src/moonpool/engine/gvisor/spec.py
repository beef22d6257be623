"""The OCI runtime specification (config.json) of a sandbox: the agent, alone, on an empty root."""

import json
import os
from pathlib import Path
from typing import Any

AGENT_MOUNT = "/.agent"
LATE_MOUNT = "/.late"
LATE_ROOT = f"{LATE_MOUNT}/root"
ROOT_FOLDERS = ("proc", "dev", "sys", "tmp", "root", AGENT_MOUNT[1:], LATE_MOUNT[1:])
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


def build(namespace: Path, agent: Path, empty: Path, late: Path, secret: str | None) -> dict[str, Any]:
    """The specification of a sandbox in the network namespace whose file is ``namespace``.

    ``empty`` is the root's folder and ``late`` what is bound at /.late; both are shared by all sandboxes and read-only
    to them. ``secret`` goes to the agent's environment; None on restore, where the agent's memory holds one.

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
        "root": {"path": str(empty), "readonly": True},
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
        "mounts": _mounts(agent, late),
        "linux": {
            "namespaces": [
                *({"type": kind} for kind in ("pid", "ipc", "uts", "mount")),
                {"type": "network", "path": str(namespace)},
            ]
        },
    }


def _mounts(agent: Path, late: Path) -> list[dict[str, Any]]:
    return [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts"},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "tmpfs"},  # noqa: S108 - a mount point
        {"destination": "/sys", "type": "sysfs", "source": "sysfs"},
        {"destination": AGENT_MOUNT, "type": "bind", "source": str(agent), "options": ["rbind", "ro"]},
        {"destination": LATE_MOUNT, "type": "bind", "source": str(late), "options": ["rbind", "rw"]},
    ]


def write(bundle: Path, specification: dict[str, Any]) -> Path:
    """Write ``bundle``/config.json, readable by its owner only: it may hold the agent's secret."""
    path = bundle / "config.json"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(specification, file)
    return path


def make_shared_folders(empty: Path, late: Path) -> None:
    """The mount points every sandbox starts from."""
    for name in ROOT_FOLDERS:
        (empty / name).mkdir(parents=True, exist_ok=True)
    (late / "root").mkdir(parents=True, exist_ok=True)
