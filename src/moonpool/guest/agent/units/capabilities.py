"""Capabilities by their names, and sets of them as units write them."""

from collections.abc import Iterable

NAMES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip
EVERY = frozenset(range(len(NAMES)))
NUMBERS = {f"CAP_{name}": number for number, name in enumerate(NAMES)}
# What settings take away beside what they are named for.
IMPLIED = {
    "PrivateDevices": ("CAP_MKNOD", "CAP_SYS_RAWIO"),
    "ProtectKernelModules": ("CAP_SYS_MODULE",),
    "ProtectKernelLogs": ("CAP_SYSLOG",),
    "ProtectClock": ("CAP_SYS_TIME", "CAP_WAKE_ALARM"),
}


def bounding(lines: Iterable[list[str]] | None, taken: Iterable[str]) -> frozenset[int]:
    """What is taken out of the bounding set: all that ``lines`` (words of each assignment, None where there is no
    such setting) do not leave, and those named in ``taken``. A ``~`` before the first word takes away; a name that is
    not known is passed over, as systemd does."""
    kept: frozenset[int] | None = None
    for line in lines or ():
        inverted = bool(line) and line[0].startswith("~")
        found = frozenset(NUMBERS[name] for name in (word.lstrip("~").upper() for word in line) if name in NUMBERS)
        before = EVERY if inverted and kept is None else kept or frozenset()
        kept = before - found if inverted else before | found
    if kept is None:
        kept = EVERY if lines is None else frozenset()
    return EVERY - (kept - {NUMBERS[name] for name in taken})
