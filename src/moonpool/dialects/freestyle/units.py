"""Services as Freestyle writes them, checked with its own codes, and as the core takes them."""

from collections.abc import Iterable, Mapping

from moonpool.dialects.freestyle.extensions import SystemdConfig, SystemdUnitSpec
from moonpool.dialects.freestyle.mapping import FreestyleError
from moonpool.dialects.freestyle.schemas import SystemdRestartPolicy, SystemdUnitSpecPatch
from moonpool.processes.units.checks import NAME_LENGTH, check, check_patch
from moonpool.processes.units.model import DEFAULT_TARGET, SUFFIX, RestartPolicy, UnitPatch, UnitSpec

DEPENDENCIES: Mapping[str, str] = {
    "after": "AFTER_ARRAY_CONTAINS_EMPTY",
    "requires": "REQUIRES_ARRAY_CONTAINS_EMPTY",
    "onFailure": "ON_FAILURE_ARRAY_CONTAINS_EMPTY",
    "wantedBy": "WANTED_BY_EMPTY",
}
TEXTS: Mapping[str, str] = {"user": "USER_EMPTY", "group": "GROUP_EMPTY", "workdir": "WORKDIR_EMPTY"}


def specs_of(config: SystemdConfig | None) -> tuple[UnitSpec, ...]:
    return tuple(spec_of(unit) for unit in (config.services if config else None) or ())


def patches_of(config: SystemdConfig | None) -> tuple[UnitPatch, ...]:
    return tuple(patch_of(unit) for unit in (config.patchedServices if config else None) or ())


def spec_of(unit: SystemdUnitSpec) -> UnitSpec:
    """FreestyleError with the vendor's code for what cannot be."""
    refuse_empty(unit)
    if not unit.exec or not all(command.strip() for command in unit.exec):
        raise FreestyleError(400, "EXEC_EMPTY", "Executable path (exec) cannot be empty")
    remain = True if unit.remainAfterExit is None else unit.remainAfterExit
    spec = UnitSpec(
        name=bare(unit.name),
        mode=unit.mode.value,
        exec=tuple(unit.exec),
        env=unit.env or {},
        user=unit.user,
        group=unit.group,
        workdir=unit.workdir,
        after=tuple(unit.after or ()),
        requires=tuple(unit.requires or ()),
        on_failure=tuple(unit.onFailure or ()),
        wanted_by=tuple(unit.wantedBy or (DEFAULT_TARGET,)),
        enable=unit.enable is not False,
        timeout_sec=unit.timeoutSec,
        delete_after_success=bool(unit.deleteAfterSuccess),
        remain_after_exit=remain,
        ready_signal=bool(unit.readySignal),
        watchdog_sec=unit.watchdogSec,
        restart=restart_of(unit.restartPolicy),
    )
    check(spec)
    return spec


def patch_of(unit: SystemdUnitSpecPatch) -> UnitPatch:
    refuse_empty(unit)
    patch = UnitPatch(
        name=bare(unit.name),
        mode=unit.mode.value if unit.mode else None,
        exec=optional(unit.exec),
        env=unit.env,
        user=unit.user,
        group=unit.group,
        workdir=unit.workdir,
        after=optional(unit.after),
        requires=optional(unit.requires),
        on_failure=optional(unit.onFailure),
        wanted_by=optional(unit.wantedBy),
        enable=unit.enable,
        timeout_sec=unit.timeoutSec,
        delete_after_success=unit.deleteAfterSuccess,
        ready_signal=unit.readySignal,
        watchdog_sec=unit.watchdogSec,
        restart=restart_of(unit.restartPolicy),
    )
    check_patch(patch)
    return patch


def restart_of(policy: SystemdRestartPolicy | None) -> RestartPolicy | None:
    if policy is None:
        return None
    return RestartPolicy(policy.policy.value, policy.restartSec, policy.startLimitBurst, policy.startLimitIntervalSec)


def refuse_empty(unit: SystemdUnitSpec | SystemdUnitSpecPatch) -> None:
    check_name(unit.name)
    for key in unit.env or {}:
        if not key:
            raise FreestyleError(400, "ENV_KEY_EMPTY", "Environment variable key cannot be empty")
        if "=" in key:
            raise FreestyleError(
                400, "ENV_KEY_CONTAINS_EQUALS", f"Environment variable key '{key}' contains '='", key=key
            )
    for field, code in DEPENDENCIES.items():
        if not all(name.strip() for name in getattr(unit, field) or ()):
            raise FreestyleError(400, code, f"'{field}' array cannot contain empty strings")
    for field, code in TEXTS.items():
        value = getattr(unit, field)
        if value is not None and not value.strip():
            raise FreestyleError(400, code, f"{field} cannot be empty if provided")


def check_name(name: str) -> None:
    most = NAME_LENGTH - len(SUFFIX)
    problems = (
        (not name.strip(), "EMPTY", "cannot be empty"),
        (len(bare(name)) > most, "TOO_LONG", f"is too long (max {most} characters)"),
        ("/" in name or "\0" in name, "INVALID_CHARS", "contains invalid characters (/ or null)"),
        (name.startswith((".", "-")), "INVALID_PREFIX", "cannot start with '.' or '-'"),
    )
    for found, code, message in problems:
        if found:
            raise FreestyleError(400, f"SERVICE_NAME_{code}", f"Service name '{name[:300]}' {message}", name=name[:300])


def bare(name: str) -> str:
    return name.removesuffix(SUFFIX)


def optional(values: Iterable[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)
