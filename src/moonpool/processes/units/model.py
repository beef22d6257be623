"""What this feature gives and takes. States are systemd's own words."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

UnitMode = Literal["oneshot", "service"]
RestartKind = Literal["no", "on-failure", "always", "on-abnormal"]
SUFFIX = ".service"
DEFAULT_TARGET = "multi-user.target"


@dataclass(frozen=True)
class RestartPolicy:
    """Seconds; None is the manager's own (0.1 s between restarts, five starts in ten seconds)."""

    policy: RestartKind
    restart_sec: float | None = None
    start_limit_burst: int | None = None
    start_limit_interval_sec: float | None = None


@dataclass(frozen=True)
class UnitSpec:
    """A service to write. ``name`` without ``.service``; names of other units may lack it too.

    ``exec`` are command lines as ``ExecStart=`` has them, run one after the other; more than one in mode "service"
    runs all but the last before it. ``timeout_sec``: of the start and of the stop; 0 is none, None the manager's 90 s.
    ``delete_after_success``: a oneshot takes its own file away once it has ended well. ``ready_signal``: it is started
    when it says so (``sd_notify``). ``user`` None is root.
    """

    name: str
    mode: UnitMode
    exec: tuple[str, ...]
    description: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    group: str | None = None
    workdir: str | None = None
    after: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    on_failure: tuple[str, ...] = ()
    wanted_by: tuple[str, ...] = (DEFAULT_TARGET,)
    enable: bool = True
    timeout_sec: float | None = None
    delete_after_success: bool = False
    remain_after_exit: bool = True
    ready_signal: bool = False
    watchdog_sec: float | None = None
    restart: RestartPolicy | None = None


@dataclass(frozen=True)
class UnitPatch:
    """Changes of a unit that is there: what is None stays as it is, ``env`` is added to."""

    name: str
    mode: UnitMode | None = None
    exec: tuple[str, ...] | None = None
    env: Mapping[str, str] | None = None
    user: str | None = None
    group: str | None = None
    workdir: str | None = None
    after: tuple[str, ...] | None = None
    requires: tuple[str, ...] | None = None
    on_failure: tuple[str, ...] | None = None
    wanted_by: tuple[str, ...] | None = None
    enable: bool | None = None
    timeout_sec: float | None = None
    delete_after_success: bool | None = None
    remain_after_exit: bool | None = None
    ready_signal: bool | None = None
    watchdog_sec: float | None = None
    restart: RestartPolicy | None = None


@dataclass(frozen=True)
class Unit:
    """``name`` has its suffix. ``load_state``: loaded, not-found, bad-setting, error, masked. ``active_state``: active,
    activating, deactivating, inactive, failed. ``enabled`` as ``systemctl is-enabled`` says it. ``exit_code`` is 128 +
    the signal for a process that one ended. ``started_at``: Unix seconds of the last change to active.
    ``own``: it was written through ``UnitService``, and is no part of the image."""

    name: str
    description: str
    load_state: str
    active_state: str
    sub_state: str
    enabled: str
    result: str
    pid: int | None
    exit_code: int | None
    started_at: float | None
    own: bool

    @property
    def failed(self) -> bool:
        return self.active_state == "failed"


@dataclass(frozen=True)
class UnitResult:
    """``name`` as it was asked for."""

    name: str
    success: bool
    message: str


@dataclass(frozen=True)
class LogLine:
    """``timestamp``: Unix seconds. ``priority``: 0 (emergency) to 7 (debug)."""

    message: str
    timestamp: float
    priority: int
    unit: str


@dataclass(frozen=True)
class SetupResult:
    """``settled`` is False when the time was over first. ``units`` are all service units that are loaded."""

    settled: bool
    units: tuple[Unit, ...]
    failed: tuple[Unit, ...]
