"""What of the file system and of root's rights a service is to see and have: the settings, and what they come to."""

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import capabilities
from .syntax import FALSE, TRUE, words

if TYPE_CHECKING:
    from .settings import Reader

TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108 - what PrivateTmp= stands for
HOMES = ("/home", "/run/user", "/root")
SYSTEM = ("/usr", "/boot", "/efi")
INTERFACES = ("/proc", "/sys", "/dev")
# Read-only, and out of reach.
TUNABLES = (
    "/proc/acpi", "/proc/apm", "/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/latency_stats",
    "/proc/mtrr", "/proc/scsi", "/proc/sys", "/proc/sysrq-trigger", "/proc/timer_stats", "/sys", "/sys/fs/bpf",
    "/sys/kernel/debug", "/sys/kernel/tracing",
)  # fmt: skip
TUNABLES_HIDDEN = ("/proc/kallsyms", "/proc/kcore")
MODULES = ("/lib/modules", "/usr/lib/modules")
LOGS = ("/proc/kmsg", "/dev/kmsg")
GROUPS = "/sys/fs/cgroup"
TEMPORARY_OPTIONS = "mode=0755"


class Kind(enum.IntEnum):
    """What becomes of a path. Of several for one path the first of this order holds, as it does in systemd."""

    INACCESSIBLE = 0
    BIND = 1
    BIND_ALL = 2  # with what is mounted below the source
    TEMPORARY = 3  # the service's own folder
    DEVICES = 4
    READ_ONLY = 5
    READ_WRITE = 6
    MEMORY = 7
    AS_IT_IS = 8


@dataclass(frozen=True)
class Entry:
    """``optional``: nothing to do where the path, or the source, is not there. ``source`` of binds is a path outside of
    RootDirectory=, ``options`` are a tmpfs' own."""

    path: str
    kind: Kind
    optional: bool = False
    source: str = ""
    read_only: bool = False
    options: str = ""

    def seals(self, path: str) -> bool:
        """Whether what is mounted at the path, which is its own or below, becomes read-only."""
        if self.kind is Kind.DEVICES:  # terminals and shared memory are to be written to
            return path == self.path
        return self.read_only or self.kind in (Kind.READ_ONLY, Kind.INACCESSIBLE)


@dataclass(frozen=True)
class Confinement:
    """``dropped``: numbers of capabilities that are out of reach. ``interfaces``: whether the root has to be given
    /proc, /sys, /dev and /run."""

    entries: tuple[Entry, ...] = ()
    private: bool = False
    private_temporary: bool = False
    root: str = ""
    root_optional: bool = False
    interfaces: bool = False
    dropped: frozenset[int] = frozenset()
    no_new_privileges: bool = False

    @property
    def of_files(self) -> bool:
        return bool(self.entries or self.private or self.private_temporary or self.root)

    def __bool__(self) -> bool:
        return self.of_files or bool(self.dropped) or self.no_new_privileges


NOTHING = Confinement()


def read(reader: "Reader", folders: tuple[str, ...]) -> Confinement:
    """``folders``: those of the service's own that it may write to whatever else holds. What makes
    no sense is passed over, as systemd does."""
    dynamic = _flag(reader, "DynamicUser")
    root = reader.text("RootDirectory") or ""
    found = (
        *_named(reader), *_binds(reader), *_memory(reader), *_system(reader, dynamic), *_homes(reader, dynamic),
        *_kernel(reader), *(Entry(path, Kind.READ_WRITE, optional=True) for path in folders),
    )  # fmt: skip
    entries = tuple(entry for entry in found if entry.path.startswith("/"))
    return Confinement(
        # Where nothing else is asked for, all is writable anyway.
        entries=entries if any(entry.kind is not Kind.READ_WRITE for entry in entries) else (),
        private=_flag(reader, "PrivateMounts"),
        private_temporary=dynamic or _flag(reader, "PrivateTmp"),
        root=root.removeprefix("-") if root.removeprefix("-") != "/" else "",
        root_optional=root.startswith("-"),
        interfaces=_flag(reader, "MountAPIVFS", default=bool(root)),
        dropped=_dropped(reader),
        no_new_privileges=_flag(reader, "NoNewPrivileges") or dynamic,
    )


def _dropped(reader: "Reader") -> frozenset[int]:
    taken = [name for key, names in capabilities.IMPLIED.items() if _flag(reader, key) for name in names]
    key = ("Service", "CapabilityBoundingSet")
    lines = None
    if key in reader.definition.values:
        lines = [words(value) for value in reader.definition.all(*key)]
    return capabilities.bounding(lines, taken)


def _named(reader: "Reader") -> list[Entry]:
    """Of two names of a setting the second is that of older versions."""
    kinds = {
        "ReadOnlyPaths": Kind.READ_ONLY, "ReadOnlyDirectories": Kind.READ_ONLY,
        "ReadWritePaths": Kind.READ_WRITE, "ReadWriteDirectories": Kind.READ_WRITE,
        "InaccessiblePaths": Kind.INACCESSIBLE, "InaccessibleDirectories": Kind.INACCESSIBLE,
    }  # fmt: skip
    found = []
    for key, kind in kinds.items():
        for word in reader.words(key):
            path = word.lstrip("-+")
            prefixes = word[: len(word) - len(path)]
            found.append(Entry(path, kind, optional="-" in prefixes))
    return found


def _binds(reader: "Reader") -> list[Entry]:
    found = []
    for key, read_only in (("BindPaths", False), ("BindReadOnlyPaths", True)):
        for word in reader.words(key):
            source, _, rest = word.removeprefix("-").partition(":")
            target, _, option = rest.partition(":")
            kind = Kind.BIND if option == "norbind" else Kind.BIND_ALL
            if source.startswith("/"):
                found.append(Entry(target or source, kind, word.startswith("-"), source, read_only))
    return found


def _memory(reader: "Reader") -> list[Entry]:
    found = []
    for word in reader.words("TemporaryFileSystem"):
        path, _, text = word.partition(":")
        given = [option for option in text.split(",") if option]
        known = [option for option in given if option.partition("=")[0] in ("mode", "uid", "gid", "size")]
        options = ",".join(option for option in known if not option.endswith("%"))
        options = options if "mode=" in options else f"{TEMPORARY_OPTIONS},{options}".strip(",")
        found.append(Entry(path, Kind.MEMORY, read_only="ro" in given, options=options))
    return found


def _system(reader: "Reader", dynamic: bool) -> list[Entry]:
    level = reader.definition.last("Service", "ProtectSystem", "strict" if dynamic else "no")
    if level == "strict":
        spared = [Entry(path, Kind.AS_IT_IS, optional=True) for path in (*INTERFACES, *HOMES)]
        return [Entry("/", Kind.READ_ONLY), *spared]
    if level != "full" and not _meant(level):
        return []
    paths = (*SYSTEM, "/etc") if level == "full" else SYSTEM
    return [Entry(path, Kind.READ_ONLY, optional=True) for path in paths]


def _homes(reader: "Reader", dynamic: bool) -> list[Entry]:
    level = reader.definition.last("Service", "ProtectHome", "read-only" if dynamic else "no")
    if level == "tmpfs":
        return [Entry(path, Kind.MEMORY, True, read_only=True, options=TEMPORARY_OPTIONS) for path in HOMES]
    if level != "read-only" and not _meant(level):
        return []
    kind = Kind.READ_ONLY if level == "read-only" else Kind.INACCESSIBLE
    return [Entry(path, kind, optional=True) for path in HOMES]


def _kernel(reader: "Reader") -> list[Entry]:
    """Interfaces of the kernel, each where there is one."""
    found: list[tuple[str, Kind]] = []
    if _flag(reader, "PrivateDevices"):
        found.append(("/dev", Kind.DEVICES))
    if _flag(reader, "ProtectKernelTunables"):
        found += [(path, Kind.READ_ONLY) for path in TUNABLES]
        found += [(path, Kind.INACCESSIBLE) for path in TUNABLES_HIDDEN]
        found.append((GROUPS, Kind.AS_IT_IS))
    if _flag(reader, "ProtectKernelModules"):
        found += [(path, Kind.INACCESSIBLE) for path in MODULES]
    if _flag(reader, "ProtectKernelLogs"):
        found += [(path, Kind.INACCESSIBLE) for path in LOGS]
    if _flag(reader, "ProtectControlGroups"):
        found.append((GROUPS, Kind.READ_ONLY))
    return [Entry(path, kind, optional=True) for path, kind in found]


def _flag(reader: "Reader", key: str, default: bool = False) -> bool:
    return _meant(reader.definition.last("Service", key), default)


def _meant(text: str, default: bool = False) -> bool:
    return default if text.lower() not in (*TRUE, *FALSE) else text.lower() in TRUE
