"""What can be said of a unit's description before it reaches the sandbox."""

import re
from collections.abc import Iterable

from moonpool.errors import InvalidUnit
from moonpool.processes.units.model import SUFFIX, UnitPatch, UnitSpec

NAME = re.compile(r"[A-Za-z0-9:_.\\@-]+")
NAME_LENGTH = 255  # characters, its suffix included
SUFFIXES = (".service", ".target", ".socket", ".timer", ".path", ".mount", ".slice", ".device", ".swap", ".scope")
TEXT_LENGTH = 64 << 10  # characters of one command or value


def unit_name(name: str) -> str:
    """The whole name; InvalidUnit for one that cannot be."""
    full = name if name.endswith(SUFFIXES) else f"{name}{SUFFIX}"
    if not NAME.fullmatch(full) or len(full) > NAME_LENGTH or full.startswith((".", "-")):
        raise InvalidUnit(f"Not a name of a unit: {name[:100]!r}", field="name")
    return full


def check(spec: UnitSpec) -> None:
    """InvalidUnit, naming the first field that cannot be used."""
    if not unit_name(spec.name).endswith(SUFFIX):
        raise InvalidUnit(f"Only services can be made: {spec.name}", field="name")
    _check_commands(spec.exec)
    _check_environment(spec.env)
    for field in ("user", "group", "workdir", "description"):
        _check_text(getattr(spec, field), field)
    for field in ("after", "requires", "on_failure", "wanted_by"):
        _check_names(getattr(spec, field), field)


def check_patch(patch: UnitPatch) -> None:
    unit_name(patch.name)
    if patch.exec is not None:
        _check_commands(patch.exec)
    _check_environment(patch.env or {})
    for field in ("user", "group", "workdir"):
        _check_text(getattr(patch, field), field)
    for field in ("after", "requires", "on_failure", "wanted_by"):
        _check_names(getattr(patch, field) or (), field)


def _check_commands(commands: Iterable[str]) -> None:
    commands = tuple(commands)
    if not commands:
        raise InvalidUnit("At least one command is needed", field="exec")
    for command in commands:
        if not command.strip():
            raise InvalidUnit("A command is empty", field="exec")
        if "\0" in command or len(command) > TEXT_LENGTH:
            raise InvalidUnit("A command has a NUL character or is too long", field="exec")


def _check_environment(env: Iterable[str]) -> None:
    for name in env:
        if not name or "=" in name or any(character.isspace() or character == "\0" for character in name):
            raise InvalidUnit(f"Not a name of an environment variable: {name[:100]!r}", field="env")


def _check_text(text: str | None, field: str) -> None:
    if text is None:
        return
    if not text.strip():
        raise InvalidUnit(f"{field} is empty", field=field)
    if any(character in text for character in "\0\n\r") or len(text) > TEXT_LENGTH:
        raise InvalidUnit(f"{field} has a line break or is too long", field=field)


def _check_names(names: Iterable[str], field: str) -> None:
    for name in names:
        try:
            unit_name(name)
        except InvalidUnit as error:
            raise InvalidUnit(error.message, field=field) from None
