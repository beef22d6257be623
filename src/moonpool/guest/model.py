"""What the client takes and gives: plain frozen data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

FileKind = Literal["file", "directory", "symlink", "other"]
OutputStream = Literal["stdout", "stderr", "terminal"]
FileEventKind = Literal["created", "modified", "deleted", "moved", "attributes", "overflow"]


@dataclass(frozen=True)
class TerminalSize:
    rows: int = 24
    cols: int = 80


@dataclass(frozen=True)
class ProcessSpec:
    """What to start: either `argv` or a `shell` text of any length, for the image's bash or else its sh.

    `cwd`: the user's home where it is None. `user`: a name or number of the image; None is the sandbox's default user.
    `env` comes on top of the user's login environment and the sandbox's own. `timeout`: seconds, then SIGKILL of the
    process and its group. `tag`: a name under which to find it, unique among running processes. `replay_bytes`: how
    much output is kept for late readers (the agent keeps between 512 KiB and 16 MiB).
    """

    argv: tuple[str, ...] | None = None
    shell: str | None = None
    cwd: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    stdin: bool = False
    timeout: float | None = None
    tag: str | None = None
    terminal: TerminalSize | None = None
    merge_output: bool = False
    replay_bytes: int = 1 << 20


@dataclass(frozen=True)
class ProcessInfo:
    """A process that `start` has started. `exit_code` is 128 + `signal` for one that a signal ended. `started_at` is in
    seconds since 1970, by the sandbox's clock. `written`: bytes of output so far, also those that are not kept."""

    pid: int
    tag: str | None
    argv: tuple[str, ...]
    cwd: str
    user: str
    terminal: bool
    started_at: float
    running: bool
    exit_code: int | None
    signal: int | None
    timed_out: bool
    rows: int | None
    cols: int | None
    written: int = 0


@dataclass(frozen=True)
class GrowthRound:
    """Files, by index, in the order in which they were written to, what follows itself being one; ``grown`` is how many
    bytes each has got in that time."""

    order: tuple[int, ...]
    grown: tuple[int, ...]


@dataclass(frozen=True)
class ProcessResult:
    """How a `run` ended. `truncated`: there was more output than the limit. `duration_ms` is as the client saw it."""

    exit_code: int
    signal: int | None
    timed_out: bool
    stdout: bytes
    stderr: bytes
    truncated: bool
    duration_ms: float


@dataclass(frozen=True)
class Output:
    """A piece of output. `dropped`: bytes that were lost right before it, since nobody read them in time."""

    stream: OutputStream
    data: bytes
    dropped: int = 0


@dataclass(frozen=True)
class Exited:
    """The last event of a process."""

    exit_code: int
    signal: int | None
    timed_out: bool


ProcessEvent = Output | Exited


@dataclass(frozen=True)
class FileInfo:
    """`mode` is the permission bits; `modified_at` (the content), `changed_at` (content or attributes) and
    `accessed_at` are seconds since 1970. For a symbolic link `target` is where it points and `target_kind` what is
    there (None: nothing)."""

    path: str
    name: str
    kind: FileKind
    size: int
    mode: int
    uid: int
    gid: int
    owner: str
    group: str
    modified_at: float
    changed_at: float = 0.0  # so that agents of earlier versions, in sandboxes that have been paused, are understood
    accessed_at: float = 0.0
    target: str | None = None
    target_kind: FileKind | None = None


@dataclass(frozen=True)
class SeenFile:
    """A file as it was: when it was changed, when its content was, and its size; ``user`` is who looks."""

    path: str
    state: tuple[float, float, int]
    user: str | None = None


@dataclass(frozen=True)
class FileEvent:
    """What has happened to something that is watched. `moved`: within what is watched, from `old_path`; what moves in
    or out is `created` or `deleted`. `overflow`: there was more than could be told, so look again at everything."""

    kind: FileEventKind
    path: str
    is_folder: bool
    old_path: str | None = None


@dataclass(frozen=True)
class GrepMatch:
    """`line` counts from 1."""

    file: str
    line: int
    content: str


@dataclass(frozen=True)
class ReplaceResult:
    file: str
    success: bool
    error: str | None


@dataclass(frozen=True)
class Port:
    """A listening TCP port; `pid` and `process` where they can be told."""

    port: int
    address: str
    pid: int | None
    process: str | None


@dataclass(frozen=True)
class DeletedFile:
    """A file of the root that is deleted and still open: it keeps the sandbox's memory from being saved."""

    pid: int
    process: str | None
    path: str


@dataclass(frozen=True)
class GuestMetrics:
    """`cpu_used_percent`: of all CPUs together, since the last call. Sizes in bytes, `uptime` in seconds, `time` in
    seconds since 1970."""

    cpu_count: int
    cpu_used_percent: float
    memory_total: int
    memory_used: int
    memory_cached: int
    disk_total: int
    disk_used: int
    uptime: float
    time: float


@dataclass(frozen=True)
class Identity:
    """Who a sandbox becomes after its memory was restored. Texts that are None leave the file as it is.

    `env` replaces the environment of the whole sandbox, `workdir` is where programs start that name no folder (their
    user's home where it is "" or not there), `user` is who processes run as where none is named, `group` the one that
    this user has ("": those that the image's files give it), `processes` how many processes and threads each ordinary
    user may have at once (None: as it was; root is not limited). `cpu` (in processors) and `memory_bytes` are what
    programs are told of its size; the limits themselves are the host's. `at_leisure`: nothing is known to be started by
    itself, so looking for it may wait for the first command.
    """

    secret: bytes
    hostname: str | None = None
    hosts: str | None = None
    resolv_conf: str | None = None
    machine_id: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    group: str = ""
    workdir: str = ""
    time_unix: float | None = None
    processes: int | None = None
    cpu: float | None = None
    memory_bytes: int | None = None
    at_leisure: bool = False


@dataclass(frozen=True)
class DiskSize:
    """Of a sandbox's disk or of a volume, in bytes. ``free``: what can still be written."""

    size: int
    used: int
    free: int


TELEMETRY_PORT = 49984
"""The agent's, on the sandbox's loopback: ``agent.telemetry`` has the same."""


@dataclass(frozen=True)
class Telemetry:
    """One request of OTLP, as a program made it: ``signal`` is logs, traces or metrics, ``encoding`` "gzip" or "".
    Numbers grow, and begin anew with the agent."""

    number: int
    signal: str
    media_type: str
    encoding: str
    body: bytes
