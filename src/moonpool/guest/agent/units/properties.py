"""How a unit is shown: as properties for programs, as a page for people, as a document for the host."""

import os
import time
from datetime import datetime
from typing import Any

from . import unit_files
from .commands import Command
from .journalctl import latest
from .launch import STATUS_NAMES
from .manager import Manager
from .service import Service
from .settings import COMMANDS, DEFAULT_RESTART, DEFAULT_TIMEOUT
from .socket_unit import SocketUnit
from .timer import Timer
from .unit import Unit

DOTS = {"active": "●", "reloading": "↻", "failed": "\u00d7", "activating": "●", "deactivating": "●"}


def document(unit: Unit) -> dict[str, Any]:
    """For the host: fields of its ``Unit``."""
    service = unit if isinstance(unit, Service) else None
    status = service.main_status if service else None
    code = None
    if status is not None:
        code = 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    return {
        "name": unit.name,
        "description": unit.description,
        "load_state": unit.load_state,
        "active_state": unit.active,
        "sub_state": unit.sub,
        "enabled": unit_files.file_state(unit.name) or "",
        "result": unit.result,
        "pid": _pid(unit) or None,
        "exit_code": code,
        "started_at": unit.active_since,
        "own": unit.definition.own,
    }


def _pid(unit: Unit) -> int:
    return unit.main.pid if isinstance(unit, Service) and unit.main is not None and unit.main.alive else 0


def properties(unit: Unit) -> dict[str, str]:
    found = {
        "Id": unit.name,
        "Names": unit.name,
        "Description": unit.description,
        "LoadState": unit.load_state,
        "ActiveState": unit.active,
        "SubState": unit.sub,
        "Result": unit.result,
        "FragmentPath": unit.definition.path or "",
        "DropInPaths": " ".join(unit.definition.dropins),
        "UnitFileState": unit_files.file_state(unit.name) or "",
        "UnitFilePreset": "enabled",
        "NeedDaemonReload": "no",
        "CanStart": "yes" if unit.load_state == "loaded" else "no",
        "CanReload": "yes" if unit.can_reload else "no",
        "ActiveEnterTimestamp": date_of(unit.active_since),
        "InactiveEnterTimestamp": date_of(unit.inactive_since),
        "StateChangeTimestamp": date_of(unit.changed_at),
    }
    for key in ("Requires", "Wants", "BindsTo", "PartOf", "Conflicts", "After", "Before", "OnFailure"):
        found[key] = " ".join(unit.related(key))
    if unit.load_error:
        found["LoadError"] = unit.load_error
    if isinstance(unit, Timer):
        found |= {
            "Unit": unit.rules.target,
            "Triggers": unit.rules.target,
            "NextElapseUSecRealtime": date_of(unit.next_at),
            "LastTriggerUSec": date_of(unit.last_at),
            "Persistent": "yes" if unit.rules.persistent else "no",
        }
    elif unit.triggers is not None:
        found["Triggers"] = unit.triggers
    if isinstance(unit, SocketUnit) and unit.rules is not None:
        found |= {
            "Listen": "\n".join(f"{address} ({key.removeprefix('Listen')})" for key, address in unit.rules.addresses),
            "Accept": "yes" if unit.rules.accept else "no",
            "NAccepted": str(unit.accepted),
            "NConnections": str(unit.connections),
        }
    return found | (_of_service(unit) if isinstance(unit, Service) else {})


def of_manager(manager: Manager) -> dict[str, str]:
    """What ``systemctl show`` says without a unit."""
    failed = sum(unit.active == "failed" for unit in manager.units.values())
    return {
        "Version": "252 (sandbox)",
        "SystemState": "starting" if manager.jobs else "degraded" if failed else "running",
        "NNames": str(len(manager.units)),
        "NFailedUnits": str(failed),
        "NJobs": str(len(manager.jobs)),
        "UserspaceTimestamp": date_of(manager.began),
        "Environment": " ".join(f"{name}={value}" for name, value in manager.environment.items()),
        "UnitPath": " ".join(unit_files.SEARCH),
        "DefaultTimeoutStartUSec": _span(DEFAULT_TIMEOUT),
        "DefaultTimeoutStopUSec": _span(DEFAULT_TIMEOUT),
        "DefaultRestartUSec": _span(DEFAULT_RESTART),
    }


def _of_service(service: Service) -> dict[str, str]:
    status, rule = service.main_status, service.settings
    killed = status is not None and os.WIFSIGNALED(status)
    number = 0 if status is None else os.WTERMSIG(status) if killed else os.WEXITSTATUS(status)
    found = {
        "MainPID": str(_pid(service)),
        "ControlPID": str(service.control.pid if service.control else 0),
        "ExecMainPID": str(service.main_pid_last or 0),
        "ExecMainCode": "0" if status is None else "2" if killed else "1",
        "ExecMainStatus": str(number),
        "ExecMainStartTimestamp": date_of(service.main_started),
        "ExecMainExitTimestamp": date_of(service.main_ended),
        "NRestarts": str(service.restarts),
        "StatusText": service.status_text,
        "InvocationID": service.invocation,
    }
    if rule is not None:
        found |= {
            "Type": rule.kind,
            "Restart": rule.restart,
            "RestartUSec": _span(rule.restart_delay),
            "User": rule.user or "",
            "Group": rule.group or "",
            "WorkingDirectory": rule.folder or "",
            "Environment": " ".join(f"{name}={value}" for name, value in rule.environment.items()),
            "RemainAfterExit": "yes" if rule.remain else "no",
            "KillMode": rule.kill_mode,
            "TimeoutStartUSec": _span(rule.start_timeout),
            "TimeoutStopUSec": _span(rule.stop_timeout),
            "WatchdogUSec": _span(rule.watchdog or 0.0),
            "PIDFile": rule.pid_file or "",
            "EnvironmentFiles": " ".join(rule.files),
        }
        found |= {key: _commands(rule.commands[key]) for key in COMMANDS if rule.commands[key]}
    return found


def _commands(commands: tuple[Command, ...]) -> str:
    return " ; ".join(
        f"{{ path={command.executable} ; argv[]={' '.join(command.argv)} ; "
        f"ignore_errors={'yes' if command.ignored else 'no'} }}"
        for command in commands
    )


def _span(value: float | None) -> str:
    if value is None:
        return "infinity"
    if value >= 60 and value % 60 == 0:
        return f"{value / 60:g}min"
    return f"{value:g}s" if value >= 1 or not value else f"{value * 1000:g}ms"


def date_of(moment: float | None) -> str:
    return "" if moment is None else datetime.fromtimestamp(moment).astimezone().strftime("%a %Y-%m-%d %H:%M:%S %Z")


def status(manager: Manager, unit: Unit, lines: int) -> list[str]:
    """The page of ``systemctl status``."""
    title = unit.name if unit.description == unit.name else f"{unit.name} - {unit.description}"
    page = [f"{DOTS.get(unit.active, '○')} {title}", f"     Loaded: {_loaded(unit)}"]
    since = unit.active_since if unit.is_active else unit.changed_at
    state = f"{unit.active} ({unit.sub if unit.active != 'failed' else 'Result: ' + unit.result})"
    ago = (
        f" since {date_of(since)}; {_ago(since)} ago"
        if since and (unit.active_since or unit.active != "inactive")
        else ""
    )
    page.append(f"     Active: {state}{ago}")
    if isinstance(unit, Service):
        page += _of_processes(unit)
    if isinstance(unit, Timer):
        page.append(f"    Trigger: {date_of(unit.next_at) or 'n/a'}")
    if unit.triggers is not None:
        page.append(f"   Triggers: ● {unit.triggers}")
    if isinstance(unit, SocketUnit) and unit.rules is not None:
        page += [f"     Listen: {address} ({key.removeprefix('Listen')})" for key, address in unit.rules.addresses]
    tail = latest(manager.journal, unit.name, lines) if lines else []
    return [*page, "", *tail] if tail else page


def _loaded(unit: Unit) -> str:
    if unit.load_state == "not-found":
        return f"not-found (Reason: Unit {unit.name} not found.)"
    if unit.load_state == "masked":
        return f"masked (Reason: Unit {unit.name} is masked.)"
    if unit.load_state != "loaded":
        return f"{unit.load_state} (Reason: Unit {unit.name} has a bad unit file setting: {unit.load_error})"
    if unit.definition.path is None:
        return "loaded"
    return f"loaded ({unit.definition.path}; {unit_files.file_state(unit.name)}; preset: enabled)"


def _of_processes(service: Service) -> list[str]:
    found = []
    pid = _pid(service)
    if pid:
        found.append(f"   Main PID: {pid} ({_command(pid)})")
    elif service.main_pid_last and service.main_status is not None:
        status = service.main_status
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        code = "killed" if os.WIFSIGNALED(status) else "exited"
        name = STATUS_NAMES.get(number, "SUCCESS" if not number else "FAILURE")
        found.append(f"   Main PID: {service.main_pid_last} (code={code}, status={number}/{name})")
    if service.status_text:
        found.append(f'     Status: "{service.status_text}"')
    return found


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().strip()
    except OSError:
        return "?"


def _ago(moment: float) -> str:
    seconds = int(max(0.0, time.time() - moment))
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}min {seconds % 60}s"
    return f"{seconds // 3600}h {seconds % 3600 // 60}min"
