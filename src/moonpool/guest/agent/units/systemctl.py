"""The face of ``systemctl``: verbs, texts and exit codes that scripts depend on."""

import os
import re

from ..users import read_small
from . import lists, unit_files
from .call import DENIED, FAILED, NO_SUCH, NOT_INSTALLED, NOT_RUNNING, Call, Verb
from .console import Arguments, Console, Usage
from .jobs import RELOAD, RESTART, START, STOP, Job, Refused
from .manager import Manager
from .names import SUPPORTED, whole
from .properties import of_manager, properties, status
from .service import Service
from .signals import number_of
from .unit import Unit

SHORT = {
    "p": "property", "P": "value-of", "q": "quiet", "a": "all", "t": "type", "n": "lines", "l": "full", "o": "output",
    "s": "signal", "f": "force", "i": "ignore", "r": "recursive", "H": "host", "M": "machine", "h": "help",
}  # fmt: skip
WITH_VALUE = frozenset(
    ("property", "value-of", "type", "state", "lines", "output", "signal", "kill-whom", "kill-who", "job-mode", "root",
     "preset-mode", "host", "machine", "what", "value-of", "timestamp")
)  # fmt: skip
KNOWN = WITH_VALUE - {"host", "machine"} | frozenset(
    ("quiet", "all", "full", "force", "ignore", "recursive", "help", "version", "failed", "value", "now", "wait",
     "no-block", "no-wall", "no-reload", "no-warn", "legend", "no-legend", "no-pager", "no-ask-password", "runtime",
     "plain", "show-types", "with-dependencies", "reverse", "after", "before", "user", "system", "check-inhibitors",
     "show-transaction", "message")
)  # fmt: skip
REFUSED = frozenset(
    ("host", "machine", "image", "global", "dry-run", "marked", "kill-value", "capsule", "firmware-setup",
     "boot-loader-menu", "boot-loader-entry", "read-only", "mkdir", "drop-in", "stdin", "when", "image-policy")
)  # fmt: skip
HELP = """systemctl [OPTIONS...] COMMAND ...

  start|stop|restart|reload|try-restart|reload-or-restart|kill|reset-failed UNIT...
  status|show|cat|is-active|is-failed|list-dependencies [UNIT...]
  enable|disable|reenable|mask|unmask|link|preset|is-enabled UNIT...
  list-units  list-unit-files  list-timers  list-jobs  is-system-running  get-default
  daemon-reload  daemon-reexec  show-environment  set-environment  unset-environment"""
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


async def run(manager: Manager, console: Console, words: list[str]) -> int:
    try:
        arguments = Arguments(words, SHORT, WITH_VALUE, KNOWN, REFUSED)
        if arguments.value("root") not in ("", "/"):
            raise Usage("option '--root' is not supported in a sandbox for another root than its own")
        name = arguments.rest[0] if arguments.rest else "list-units"
        if arguments.has("version") or arguments.has("help"):
            console.print("systemd 252 (sandbox)" if arguments.has("version") else HELP)
            return 0
        if arguments.has("user") and not arguments.has("system"):
            console.complain("Failed to connect to bus: No medium found")
            return 1
        if name not in VERBS:
            raise Usage(f"Unknown command verb {name}.")
        if name in CHANGING and not console.privileged:
            console.complain(f"Failed to {name} unit: Interactive authentication required.")
            return DENIED
        return await VERBS[name](Call(manager, console, arguments))
    except (Usage, ValueError) as error:
        console.complain(str(error))
        return 1
    except OSError as error:
        console.complain(f"{error.strerror}: {error.filename}")
        return 1


# -- starting and stopping -----------------------------------------------------------------------------------------


def _verb(kind: str, word: str, *, active_only: bool = False) -> Verb:
    async def act(call: Call) -> int:
        names = call.units()
        if active_only:
            names = [name for name in names if call.manager.load(name).is_active]
        return await _act(call, kind, word, names)

    return act


async def _act(call: Call, kind: str, word: str, names: list[str]) -> int:
    code = 0
    jobs: list[tuple[str, Job]] = []
    for name, job in call.manager.act(kind, names):
        if isinstance(job, Refused):
            if kind == STOP and job.kind == "not-found":
                job = Refused(f"Unit {name} not loaded.", "not-found")
            call.console.complain(f"Failed to {word} {name}: {job}")
            if job.kind == "cyclic":
                call.console.complain("See system logs and 'systemctl status " + name + "' for details.")
            code = NOT_INSTALLED if job.kind == "not-found" else FAILED
        elif kind == STOP and job.unit.load_state == "not-found":
            call.console.complain(f"Failed to {word} {name}: Unit {name} not loaded.")
            code = NOT_INSTALLED
        else:
            jobs.append((name, job))
    if call.arguments.has("no-block"):
        return code
    for name, job in jobs:
        result = await job.done
        if result not in ("done", "skipped"):
            code = FAILED
            _explain(call, name, job, result)
    if kind != STOP and call.arguments.has("wait"):
        for _, job in jobs:
            await call.manager.rested(job.unit)
            code = FAILED if job.unit.active == "failed" else code
    return code


def explanation(name: str, result: str, unit: Unit) -> str:
    """Why a job has not succeeded, in the words of systemctl."""
    if result == "dependency":
        return f"A dependency job for {name} failed. See 'journalctl -xe' for details."
    if result == "canceled":
        return f"Job for {name} canceled."
    reasons = {
        "exit-code": "the control process exited with error code",
        "signal": "a fatal signal was delivered to the control process",
        "core-dump": "a fatal signal was delivered causing the control process to dump core",
        "timeout": "a timeout was exceeded",
        "protocol": "the service did not take the steps required by its unit configuration",
        "resources": "of unavailable resources or another system error",
        "start-limit-hit": "start of the service was attempted too often",
    }
    reason = reasons.get("timeout" if result == "timeout" else unit.result)
    why = f" because {reason}" if reason else ""
    hint = f'See "systemctl status {name}" and "journalctl -xeu {name}" for details.'
    return f"Job for {name} failed{why}.\n{hint}"


def _explain(call: Call, name: str, job: Job, result: str) -> None:
    if job.kind == RELOAD and not job.unit.can_reload:
        call.say(f"Failed to reload {name}: Job type reload is not applicable for unit {name}.")
        return
    call.say(explanation(name, result, job.unit))


async def _reload_or_restart(call: Call) -> int:
    code = 0
    for name in call.units():
        unit = call.manager.load(name)
        if call.arguments.rest[0].startswith("try-") and not unit.is_active:
            continue
        kind = RELOAD if unit.can_reload and unit.is_active else RESTART
        code = await _act(call, kind, kind, [name]) or code
    return code


async def _kill(call: Call) -> int:
    number = number_of(call.arguments.value("signal", "SIGTERM"))
    whom = call.arguments.value("kill-whom", call.arguments.value("kill-who", "all"))
    for each in call.units():
        unit = call.manager.load(each)
        if not isinstance(unit, Service) or unit.at_rest:
            call.console.complain(f"Failed to kill unit {each}: Unit {each} not loaded.")
            return FAILED
        unit.kill(number, whom)
    return 0


async def _reset_failed(call: Call) -> int:
    names = call.units(needed=False) or [unit.name for unit in call.manager.units.values()]
    for name in names:
        call.manager.load(name).reset_failed()
    return 0


async def _daemon_reload(call: Call) -> int:
    await call.manager.generate()
    call.manager.reload()
    return 0


# -- enabling ------------------------------------------------------------------------------------------------------


async def _enable(call: Call) -> int:
    code = 0
    paths = [name for name in call.names if "/" in name]
    if paths and await _link_all(call, paths):
        return FAILED
    call.names = [name.rpartition("/")[2] for name in call.names]
    for name in call.units():
        if _is_script(call, name, "enable"):
            return FAILED
        if unit_files.file_state(name) is None:
            call.console.complain(f"Failed to enable unit: Unit file {name} does not exist.")
            return FAILED
        if unit_files.file_state(name) in ("masked", "masked-runtime"):
            call.console.complain(f"Failed to enable unit: Unit file {unit_files.find(name)} is masked.")
            return FAILED
        if call.arguments.rest[0] == "reenable":
            unit_files.disable(name)
        for link, target in unit_files.enable(name, runtime=call.arguments.has("runtime")):
            call.say(f"Created symlink {link} → {target}.")
        if unit_files.file_state(name) == "static":
            call.say(
                f"The unit files have no installation config (WantedBy=, RequiredBy=, Also=, Alias= settings): {name}"
            )
    call.manager.reload()
    if call.arguments.has("now"):
        code = await _act(call, START, "start", call.units())
    return code


def _is_script(call: Call, name: str, verb: str) -> bool:
    """Whether it is started by a script, whose links are not ours to make."""
    if unit_files.file_state(name) != "generated":
        return False
    call.console.complain(f"{name} is not a native service: use update-rc.d {name.removesuffix('.service')} {verb}.")
    return True


async def _preset(call: Call) -> int:
    """Debian's packages ask for this when they are installed: what can be enabled is."""
    for name in call.units():
        if unit_files.file_state(name) == "disabled" and call.arguments.value("preset-mode") != "disable-only":
            unit_files.enable(name)
    call.manager.reload()
    return 0


async def _disable(call: Call) -> int:
    for name in call.units():
        if unit_files.file_state(name) is None:
            call.console.complain(f"Failed to disable unit: Unit file {name} does not exist.")
            return FAILED
        if _is_script(call, name, "disable"):
            return FAILED
        for link in unit_files.disable(name):
            call.say(f'Removed "{link}".')
    call.manager.reload()
    return await _act(call, STOP, "stop", call.units()) if call.arguments.has("now") else 0


async def _mask(call: Call) -> int:
    for name in call.units():
        try:
            link = unit_files.mask(name, runtime=call.arguments.has("runtime"))
        except FileExistsError as error:
            call.console.complain(f"Failed to mask unit: File {error.filename2 or error.filename} already exists.")
            return FAILED
        if link is not None:
            call.say(f"Created symlink {link} → /dev/null.")
    call.manager.reload()
    return await _act(call, STOP, "stop", call.units()) if call.arguments.has("now") else 0


async def _unmask(call: Call) -> int:
    for name in call.units():
        for link in unit_files.unmask(name):
            call.say(f'Removed "{link}".')
    call.manager.reload()
    return 0


async def _is_enabled(call: Call) -> int:
    good = False
    for name in call.units():
        state = unit_files.file_state(name)
        if state is None:
            call.console.complain(f"Failed to get unit file state for {name}: No such file or directory")
            continue
        if not call.arguments.has("quiet"):
            call.console.print(state)
        good = good or state in ("enabled", "enabled-runtime", "static", "alias", "indirect", "generated")
    return 0 if good else 1


# -- looking -------------------------------------------------------------------------------------------------------


async def _is_active(call: Call) -> int:
    states = [call.manager.load(name).active for name in call.units()]
    if not call.arguments.has("quiet"):
        for state in states:
            call.console.print(state)
    return 0 if any(state in ("active", "reloading") for state in states) else NOT_RUNNING


async def _is_failed(call: Call) -> int:
    states = [call.manager.load(name).active for name in call.units(needed=False)]
    if not call.names:
        states = [unit.active for unit in call.manager.units.values()]
    if not call.arguments.has("quiet") and call.names:
        for state in states:
            call.console.print(state)
    return 0 if "failed" in states else 1


async def _is_running(call: Call) -> int:
    if call.arguments.has("wait"):
        await call.manager.settled()
    degraded = any(unit.active == "failed" for unit in call.manager.units.values())
    word = "starting" if call.manager.jobs else "degraded" if degraded else "running"
    if not call.arguments.has("quiet"):
        call.console.print(word)
    return 0 if word == "running" else 1


async def _status(call: Call) -> int:
    call.names = [call.manager.owner(int(name)) or name if name.isdigit() else name for name in call.names]
    names = call.units(needed=False)
    if not names:
        call.console.print(f"● {_host()}\n    State: {'running' if call.manager.booted else 'starting'}")
        return 0
    code = 0
    for name in names:
        unit = call.manager.load(name)
        if unit.load_state == "not-found" and unit.at_rest:
            call.console.complain(f"Unit {name} could not be found.")
            code = NO_SUCH
            continue
        count = call.arguments.value("lines", "10")
        for line in status(call.manager, unit, int(count) if count.isdigit() else 10):
            call.console.print(line)
        code = code or (0 if unit.is_active else NOT_RUNNING)
    return code


def _host() -> str:
    return os.uname().nodename


async def _show(call: Call) -> int:
    wanted = call.arguments.values("property") + call.arguments.values("value-of")
    bare = call.arguments.has("value") or call.arguments.has("value-of")
    units = [call.manager.load(name) for name in call.units(needed=False)]
    pages = [properties(unit) for unit in units] if call.names else [of_manager(call.manager)]
    for position, found in enumerate(pages):
        if position:
            call.console.print()
        for key in wanted or found:
            if key in found:
                call.console.print(found[key] if bare else f"{key}={found[key]}")
    return 0


async def _cat(call: Call) -> int:
    code = 0
    for name in call.units():
        definition = unit_files.read(name)
        paths = [path for path in (definition.path, *definition.dropins) if path]
        if not paths:
            call.console.complain(f"No files found for {name}.")
            code = 1
        for path in paths:
            call.console.print(f"# {path}")
            call.console.print(read_small(path).decode(errors="replace").rstrip("\n"))
    return code


async def _link(call: Call) -> int:
    return await _link_all(call, call.names)


async def _link_all(call: Call, paths: list[str]) -> int:
    for path in paths:
        name = path.rpartition("/")[2]
        if not unit_files.is_linkable(path):
            call.console.complain(f"Failed to link unit: File {path} does not exist, or is no absolute path.")
            return FAILED
        if unit_files.link(whole(name), path):
            call.say(f"Created symlink {unit_files.CONFIGURED}/{name} → {path}.")
    call.manager.reload()
    return 0


async def _show_environment(call: Call) -> int:
    for name, value in sorted(call.manager.environment.items()):
        call.console.print(f"{name}={value}")
    return 0


async def _set_environment(call: Call) -> int:
    """For services that are started from now on, until the sandbox is stopped."""
    assignments = [word.partition("=") for word in call.names]
    if not assignments:
        raise Usage("Too few arguments.")
    if not all(sign and VARIABLE.fullmatch(name) for name, sign, _ in assignments):
        raise Usage("Failed to set environment: Invalid environment assignments")
    call.manager.environment.update({name: value for name, _, value in assignments})
    return 0


async def _unset_environment(call: Call) -> int:
    for word in call.names:
        name, sign, value = word.partition("=")
        if not sign or call.manager.environment.get(name) == value:
            call.manager.environment.pop(name, None)
    return 0


async def _machine(call: Call) -> int:
    """What is not for programs inside to decide."""
    verb = call.arguments.rest[0]
    call.console.complain(f"Failed to {verb}: a sandbox is stopped, started and paused through its API.")
    return FAILED


async def _unsupported(call: Call) -> int:
    call.console.complain(f"systemctl {call.arguments.rest[0]} is not supported in a sandbox.")
    return FAILED


async def _nothing(call: Call) -> int:
    """What there is nothing to do for in a sandbox."""
    return 0


NOT_HERE = (
    "isolate", "edit", "revert", "set-property", "set-default", "switch-root", "import-environment", "add-wants",
    "add-requires", "freeze", "thaw", "clean", "bind", "mount-image", "cancel", "list-machines", "log-level",
    "log-target", "service-log-level", "soft-reboot", "help",
)  # fmt: skip
VERBS: dict[str, Verb] = {
    "start": _verb(START, "start"),
    "stop": _verb(STOP, "stop"),
    "restart": _verb(RESTART, "restart"),
    "reload": _verb(RELOAD, "reload"),
    "try-restart": _verb(RESTART, "restart", active_only=True),
    "condrestart": _verb(RESTART, "restart", active_only=True),
    "reload-or-restart": _reload_or_restart,
    "try-reload-or-restart": _reload_or_restart,
    "force-reload": _reload_or_restart,
    "kill": _kill,
    "reset-failed": _reset_failed,
    "daemon-reload": _daemon_reload,
    "daemon-reexec": _daemon_reload,
    "enable": _enable,
    "reenable": _enable,
    "disable": _disable,
    "mask": _mask,
    "unmask": _unmask,
    "preset": _preset,
    "preset-all": _nothing,
    "show-environment": _show_environment,
    "set-environment": _set_environment,
    "unset-environment": _unset_environment,
    "is-enabled": _is_enabled,
    "is-active": _is_active,
    "is-failed": _is_failed,
    "is-system-running": _is_running,
    "status": _status,
    "show": _show,
    "cat": _cat,
    "list-units": lists.units,
    "list-unit-files": lists.files,
    "list-dependencies": lists.dependencies,
    "get-default": lists.default,
    "list-jobs": lists.jobs,
    "list-timers": lists.timers,
    "list-sockets": lists.sockets,
    "list-paths": lists.paths,
    "list-automounts": lists.none,
    "link": _link,
    **dict.fromkeys(("poweroff", "halt", "reboot", "suspend", "hibernate", "kexec", "rescue", "emergency"), _machine),
    **dict.fromkeys(NOT_HERE, _unsupported),
}
READING = frozenset(
    ("is-enabled", "is-active", "is-failed", "is-system-running", "status", "show", "cat", "list-units",
     "list-unit-files", "list-dependencies", "get-default", "list-jobs", "list-timers", "list-sockets", "list-paths",
     "list-automounts", "show-environment")
)  # fmt: skip
CHANGING = frozenset(VERBS) - READING
__all__ = ["SUPPORTED", "explanation", "run"]
