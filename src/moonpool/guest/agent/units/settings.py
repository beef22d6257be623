"""What a unit's files ask for, in the types that the manager works with."""

import contextlib
import os
import resource
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from ..users import read_small
from . import confinement as confining
from . import names, syntax
from .commands import Command, parse
from .signals import number_of
from .syntax import BadSetting
from .unit_files import Definition

DEFAULT_TIMEOUT = 90.0  # seconds
DEFAULT_RESTART = 0.1  # seconds
DEFAULT_BURST, DEFAULT_INTERVAL = 5, 10.0  # starts, seconds
KINDS = ("simple", "exec", "forking", "oneshot", "dbus", "notify", "notify-reload", "idle")
RESTARTS = ("no", "on-success", "on-failure", "on-abnormal", "on-watchdog", "on-abort", "always")
KILL_MODES = ("control-group", "mixed", "process", "none")
COMMANDS = ("ExecCondition", "ExecStartPre", "ExecStart", "ExecStartPost", "ExecReload", "ExecStop", "ExecStopPost")
LIMITS = {
    "LimitAS": resource.RLIMIT_AS,
    "LimitDATA": resource.RLIMIT_DATA,
    "LimitFSIZE": resource.RLIMIT_FSIZE,
    "LimitNOFILE": resource.RLIMIT_NOFILE,
    "LimitNPROC": resource.RLIMIT_NPROC,
    "LimitCORE": resource.RLIMIT_CORE,
    "LimitMEMLOCK": resource.RLIMIT_MEMLOCK,
    "LimitSTACK": resource.RLIMIT_STACK,
}
FOLDERS = {
    "RuntimeDirectory": ("/run", "RUNTIME_DIRECTORY"),
    "StateDirectory": ("/var/lib", "STATE_DIRECTORY"),
    "CacheDirectory": ("/var/cache", "CACHE_DIRECTORY"),
    "LogsDirectory": ("/var/log", "LOGS_DIRECTORY"),
    "ConfigurationDirectory": ("/etc", "CONFIGURATION_DIRECTORY"),
}
PLACES = {
    "t": "/run", "S": "/var/lib", "C": "/var/cache", "L": "/var/log", "E": "/etc", "s": "/bin/sh",
    "T": "/tmp", "V": "/var/tmp",  # noqa: S108 - what the specifiers stand for
}  # fmt: skip
UNLIMITED = "infinity"
SIZES = "KMGT"
Value = TypeVar("Value")


@dataclass(frozen=True)
class Folder:
    """A folder that is made before the service starts; ``variable`` tells it where."""

    path: str
    variable: str
    mode: int


@dataclass(frozen=True)
class Exits:
    """Exit codes and signals that mean something other than usual."""

    codes: frozenset[int] = frozenset()
    signals: frozenset[int] = frozenset()

    def match(self, code: int | None, number: int | None) -> bool:
        return number in self.signals if number is not None else code in self.codes


@dataclass(frozen=True)
class Settings:
    """Of a service. Times in seconds, None for ever."""

    kind: str
    commands: dict[str, tuple[Command, ...]]
    user: str | None
    group: str | None
    extra_groups: tuple[str, ...]
    folder: str | None
    folder_optional: bool
    environment: dict[str, str]
    files: tuple[str, ...]
    unset: tuple[str, ...]
    pid_file: str | None
    remain: bool
    restart: str
    restart_delay: float
    burst: int
    interval: float
    start_timeout: float | None
    stop_timeout: float | None
    watchdog: float | None
    runtime: float | None
    kill_mode: str
    kill_signal: int
    watchdog_signal: int
    send_sighup: bool
    send_sigkill: bool
    success: Exits
    prevent: Exits
    force: Exits
    input: str
    output: str
    errors: str
    sockets: tuple[str, ...]
    non_blocking: bool
    identifier: str | None
    notify_all: bool
    folders: tuple[Folder, ...] = ()
    limits: tuple[tuple[int, int, int], ...] = ()
    nice: int = 0
    mask: int | None = None
    delete_after_success: bool = False
    conditions: tuple[tuple[str, str], ...] = field(default=())
    confinement: confining.Confinement = confining.NOTHING

    @property
    def bounded(self) -> bool:
        """Whether its programs have something that the agent can only give them once they are processes."""
        return bool(self.limits or self.nice or self.mask is not None)


def general_specifier(letter: str) -> str | None:
    """What a specifier stands for that is not about one unit."""
    if letter in PLACES:
        return PLACES[letter]
    if letter in "Hlq":
        return socket.gethostname() if letter != "l" else socket.gethostname().partition(".")[0]
    if letter in "mb":
        path = "/etc/machine-id" if letter == "m" else "/proc/sys/kernel/random/boot_id"
        return read_small(path).decode(errors="replace").strip().replace("-", "")
    if letter in "Uv":
        return "0" if letter == "U" else os.uname().release
    return None


class Reader:
    """A definition with its specifiers resolved; BadSetting names the key."""

    def __init__(self, definition: Definition, home: Callable[[str], str]) -> None:
        self.definition = definition
        self._home = home

    def specifier(self, letter: str) -> str | None:
        name = self.definition.name
        instance, prefix = names.instance_of(name), names.prefix_of(name)
        user = self.definition.last("Service", "User", "root")
        simple = {
            "n": name, "N": name.rpartition(".")[0], "p": prefix, "P": names.unescaped(prefix), "i": instance,
            "I": names.unescaped(instance), "j": prefix.rpartition("-")[2], "u": user,
            "f": "/" + names.unescaped(instance or prefix),
        }  # fmt: skip
        if letter in simple:
            return simple[letter]
        return self._home(user) if letter == "h" else general_specifier(letter)

    def text(self, key: str, default: str | None = None, section: str = "Service") -> str | None:
        value = self.definition.last(section, key)
        return syntax.expand(value, self.specifier) if value else default

    def choice(self, key: str, default: str, choices: tuple[str, ...]) -> str:
        value = self.definition.last("Service", key, default)
        if value not in choices:
            raise BadSetting(f"Failed to parse {key}: {value[:100]}")
        return value

    def flag(self, key: str, default: bool = False, section: str = "Service") -> bool:
        value = self.definition.last(section, key)
        return self._read(key, lambda: syntax.flag(value)) if value else default

    def span(self, key: str, default: float | None, section: str = "Service") -> float | None:
        value = self.definition.last(section, key)
        return self._read(key, lambda: syntax.seconds(value)) if value else default

    def number(self, key: str, default: int, section: str = "Service", base: int = 10) -> int:
        value = self.definition.last(section, key)
        return self._read(key, lambda: int(value, base)) if value else default

    def words(self, key: str, section: str = "Service") -> list[str]:
        values = self.definition.all(section, key)
        found = self._read(key, lambda: [word for value in values for word in syntax.words(value, relaxed=True)])
        return [syntax.expand(word, self.specifier) for word in found]

    def commands(self, key: str) -> tuple[Command, ...]:
        lines = self.definition.all("Service", key)
        return self._read(key, lambda: tuple(each for line in lines for each in parse(line, self.specifier)))

    def signal(self, key: str, default: int) -> int:
        value = self.definition.last("Service", key)
        return self._read(key, lambda: number_of(value)) if value else default

    def exits(self, key: str) -> Exits:
        codes, signals = set(), set()
        for word in self.words(key):
            if word.isdigit():
                codes.add(int(word))
            else:
                signals.add(number_of(word))
        return Exits(frozenset(codes), frozenset(signals))

    def _read(self, key: str, read: Callable[[], Value]) -> Value:
        try:
            return read()
        except (ValueError, OverflowError) as error:
            raise BadSetting(f"{key}=: {error}") from error


def read(definition: Definition, home: Callable[[str], str]) -> Settings:
    """Everything a service is told by its files. BadSetting where that makes no sense."""
    reader = Reader(definition, home)
    commands = {key: reader.commands(key) for key in COMMANDS}
    kind = reader.choice("Type", "simple" if commands["ExecStart"] else "oneshot", KINDS)
    _check(reader, kind, commands)
    both = reader.span("TimeoutSec", -1.0)
    default_start = None if kind == "oneshot" else DEFAULT_TIMEOUT
    start = reader.span("TimeoutStartSec", default_start if both == -1.0 else both)
    folder = reader.text("WorkingDirectory")
    source = reader.text("StandardInput", "null") or "null"
    folders = _folders(reader)
    return Settings(
        kind=kind,
        commands=commands,
        user=reader.text("User", "nobody" if reader.flag("DynamicUser") else None),
        group=reader.text("Group"),
        extra_groups=tuple(reader.words("SupplementaryGroups")),
        folder=folder.removeprefix("-") if folder else None,
        folder_optional=bool(folder) and str(folder).startswith("-"),
        environment=_environment(reader.words("Environment")),
        files=tuple(syntax.expand(each, reader.specifier) for each in definition.all("Service", "EnvironmentFile")),
        unset=tuple(reader.words("UnsetEnvironment")),
        pid_file=_pid_file(reader.text("PIDFile")),
        remain=reader.flag("RemainAfterExit"),
        restart=reader.choice("Restart", "no", RESTARTS),
        restart_delay=reader.span("RestartSec", DEFAULT_RESTART) or 0.0,
        start_timeout=start or None,
        stop_timeout=reader.span("TimeoutStopSec", DEFAULT_TIMEOUT if both == -1.0 else both) or None,
        watchdog=reader.span("WatchdogSec", None) or None,
        runtime=reader.span("RuntimeMaxSec", None) or None,
        kill_mode=reader.choice("KillMode", "control-group", KILL_MODES),
        kill_signal=reader.signal("KillSignal", signal.SIGTERM),
        watchdog_signal=reader.signal("WatchdogSignal", signal.SIGABRT),
        send_sighup=reader.flag("SendSIGHUP"),
        send_sigkill=reader.flag("SendSIGKILL", True),
        success=reader.exits("SuccessExitStatus"),
        prevent=reader.exits("RestartPreventExitStatus"),
        force=reader.exits("RestartForceExitStatus"),
        input=source,
        output=reader.text("StandardOutput", "socket" if source == "socket" else "journal") or "journal",
        errors=reader.text("StandardError", "inherit") or "inherit",
        sockets=tuple(reader.words("Sockets")),
        non_blocking=reader.flag("NonBlocking"),
        identifier=reader.text("SyslogIdentifier"),
        notify_all=definition.last("Service", "NotifyAccess") in ("all", "exec"),
        folders=folders,
        limits=_limits(reader),
        nice=reader.number("Nice", 0),
        mask=reader.number("UMask", -1, base=8) & 0o777 if definition.last("Service", "UMask") else None,
        delete_after_success=reader.flag("X-DeleteAfterSuccess", section="Unit"),
        conditions=_conditions(reader),
        confinement=confining.read(reader, _writable(folders)),
        burst=_burst(reader),
        interval=_interval(reader),
    )


def _check(reader: Reader, kind: str, commands: dict[str, tuple[Command, ...]]) -> None:
    start = commands["ExecStart"]
    if not start and not commands["ExecStop"]:
        raise BadSetting("Service has no ExecStart=, ExecStop=, or SuccessAction=. Refusing.")
    if kind != "oneshot" and not start:
        raise BadSetting(
            "Service has no ExecStart= setting, which is only allowed for Type=oneshot services. Refusing."
        )
    if kind != "oneshot" and len(start) > 1:
        raise BadSetting(
            "Service has more than one ExecStart= setting, which is only allowed for Type=oneshot services. Refusing."
        )
    if kind == "oneshot" and reader.definition.last("Service", "Restart") in ("always", "on-success"):
        raise BadSetting(
            "Service has Restart= set to either always or on-success, "
            "which isn't allowed for Type=oneshot services. Refusing."
        )


def _burst(reader: Reader) -> int:
    """Older versions have it in [Service]."""
    section = "Unit" if reader.definition.all("Unit", "StartLimitBurst") else "Service"
    return reader.number("StartLimitBurst", DEFAULT_BURST, section)


def _interval(reader: Reader) -> float:
    places = (("StartLimitIntervalSec", "Unit"), ("StartLimitInterval", "Unit"), ("StartLimitInterval", "Service"))
    for key, section in places:
        if reader.definition.all(section, key):
            return reader.span(key, DEFAULT_INTERVAL, section) or 0.0
    return DEFAULT_INTERVAL


def _pid_file(path: str | None) -> str | None:
    return path if path is None or path.startswith("/") else f"/run/{path}"


def _environment(assignments: list[str]) -> dict[str, str]:
    found = (word.partition("=") for word in assignments)
    return {name: value for name, sign, value in found if sign and name}


def _folders(reader: Reader) -> tuple[Folder, ...]:
    found = []
    for key, (top, variable) in FOLDERS.items():
        mode = reader.number(f"{key}Mode", 0o755, base=8)
        for word in reader.words(key):
            path = os.path.normpath(f"{top}/{word.partition(':')[0]}")
            if path.startswith(f"{top}/"):
                found.append(Folder(path, variable, mode))
    return tuple(found)


def _writable(folders: tuple[Folder, ...]) -> tuple[str, ...]:
    return tuple(folder.path for folder in folders if folder.variable != "CONFIGURATION_DIRECTORY")


def _limits(reader: Reader) -> tuple[tuple[int, int, int], ...]:
    found = []
    for key, which in LIMITS.items():
        value = reader.definition.last("Service", key)
        soft, _, hard = value.partition(":")
        with contextlib.suppress(ValueError):  # Passed over, as systemd does.
            if value:
                found.append((which, _limit(soft), _limit(hard or soft)))
    return tuple(found)


def _limit(text: str) -> int:
    """A number, with K, M, G or T for powers of 1024; "infinity" is no limit."""
    if text == UNLIMITED:
        return resource.RLIM_INFINITY
    power = SIZES.find(text[-1:].upper()) + 1 if text[-1:].isalpha() else 0
    if text[-1:].isalpha() and not power:
        raise ValueError(f"Failed to parse resource value: {text[:40]}")
    return int(text[:-1] if power else text) << 10 * power


def _conditions(reader: Reader) -> tuple[tuple[str, str], ...]:
    return tuple(
        (key, syntax.expand(value, reader.specifier))
        for (section, key), values in reader.definition.values.items()
        if section == "Unit" and key.startswith(("Condition", "Assert"))
        for value in values
    )


def environment_of_file(path: str) -> dict[str, str] | None:
    """Assignments of an environment file; None where it cannot be read."""
    if not os.path.isfile(path):
        return None
    found = {}
    for line in read_small(path).decode(errors="replace").replace("\\\n", "").splitlines():
        name, sign, value = line.strip().partition("=")
        if sign and name and not name.startswith(("#", ";")):
            with contextlib.suppress(BadSetting):
                value = "".join(syntax.words(value, relaxed=True)) if value[:1] in ("'", '"') else value.strip()
            found[name.strip()] = value
    return found
