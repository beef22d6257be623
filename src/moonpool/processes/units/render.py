"""Specs as unit files."""

from collections.abc import Iterable, Iterator, Mapping

from moonpool.processes.units.checks import unit_name
from moonpool.processes.units.model import RestartPolicy, UnitMode, UnitPatch, UnitSpec

Setting = tuple[str, str]
MARK = "# Written through the API."  # the manager tells such units from the image's by it
ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r", "%": "%%"}


def render(spec: UnitSpec) -> str:
    """The text of its file."""
    unit = [("Description", _escaped(spec.description or spec.name)), *_relations(spec)]
    if spec.delete_after_success:
        unit.append(("X-DeleteAfterSuccess", "yes"))
    unit += _limits(spec.restart)
    service = [("Type", _kind(spec.mode, spec.ready_signal)), *_commands(spec.mode, spec.exec), *_settings(spec)]
    if spec.mode == "oneshot":
        service.append(("RemainAfterExit", _yes(spec.remain_after_exit)))
    install = [("WantedBy", " ".join(unit_name(name) for name in spec.wanted_by))] if spec.wanted_by else []
    return f"{MARK}\n" + _text({"Unit": unit, "Service": service, "Install": install})


def render_patch(patch: UnitPatch) -> str:
    """The text of a drop-in with the changes alone."""
    unit, service = [*_relations(patch), *_limits(patch.restart)], list(_settings(patch))
    if patch.delete_after_success is not None:
        unit.append(("X-DeleteAfterSuccess", _yes(patch.delete_after_success)))
    if patch.mode is not None or patch.ready_signal is not None:
        service.append(("Type", _kind(patch.mode or "service", patch.ready_signal or False)))
    if patch.exec is not None:
        service += [("ExecStartPre", ""), ("ExecStart", ""), *_commands(patch.mode or "service", patch.exec)]
    if patch.remain_after_exit is not None:
        service.append(("RemainAfterExit", _yes(patch.remain_after_exit)))
    names = [unit_name(name) for name in patch.wanted_by or ()]
    install = [("WantedBy", ""), ("WantedBy", " ".join(names))] if patch.wanted_by is not None else []
    return f"{MARK}\n" + _text({"Unit": unit, "Service": service, "Install": install})


def _kind(mode: UnitMode, ready_signal: bool) -> str:
    if ready_signal:
        return "notify"
    return "oneshot" if mode == "oneshot" else "simple"


def _commands(mode: UnitMode, commands: tuple[str, ...]) -> Iterator[Setting]:
    lines = [_line(command) for command in commands]
    for line in lines if mode == "oneshot" else lines[-1:]:
        yield "ExecStart", line
    if mode != "oneshot":
        for line in lines[:-1]:
            yield "ExecStartPre", line


def _relations(spec: UnitSpec | UnitPatch) -> Iterator[Setting]:
    for key, names in (("After", spec.after), ("Requires", spec.requires), ("OnFailure", spec.on_failure)):
        if names:
            yield key, " ".join(unit_name(name) for name in names)


def _limits(policy: RestartPolicy | None) -> Iterator[Setting]:
    if policy is not None and policy.start_limit_burst is not None:
        yield "StartLimitBurst", str(policy.start_limit_burst)
    if policy is not None and policy.start_limit_interval_sec is not None:
        yield "StartLimitIntervalSec", _seconds(policy.start_limit_interval_sec)


def _settings(spec: UnitSpec | UnitPatch) -> Iterator[Setting]:
    for name, value in sorted((spec.env or {}).items()):
        yield "Environment", _quoted(f"{name}={value}")
    for key, text in (("User", spec.user), ("Group", spec.group), ("WorkingDirectory", spec.workdir)):
        if text is not None:
            yield key, _escaped(text)
    if spec.timeout_sec is not None:
        yield "TimeoutSec", _seconds(spec.timeout_sec) if spec.timeout_sec else "infinity"
    if spec.watchdog_sec:
        yield "WatchdogSec", _seconds(spec.watchdog_sec)
    if spec.restart is not None:
        yield "Restart", spec.restart.policy
        if spec.restart.restart_sec is not None:
            yield "RestartSec", _seconds(spec.restart.restart_sec)


def _text(sections: Mapping[str, Iterable[Setting]]) -> str:
    parts = []
    for name, settings in sections.items():
        lines = [f"{key}={value}" for key, value in settings]
        if lines:
            parts.append("\n".join((f"[{name}]", *lines)) + "\n")
    return "\n".join(parts)


def _line(command: str) -> str:
    """A command line as it is; a line break, which would end the setting, is written in the way that files have."""
    quote, parts = "", []
    characters = iter(command.strip().replace("\r\n", "\n"))
    for character in characters:
        if character == "\\":
            character += next(characters, "")
            parts.append(" " if character == "\\\n" else character)
            continue
        if character in "\"'":
            quote = "" if character == quote else quote or character
        parts.append(character if character != "\n" else "\\n" if quote else " ")
    return "".join(parts)


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _quoted(text: str) -> str:
    return '"' + "".join(ESCAPES.get(character, character) for character in text) + '"'


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"


def _seconds(value: float) -> str:
    return f"{value:g}"
