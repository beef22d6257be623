"""Command lines of services: their prefixes, their words, the variables in them."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .syntax import BadSetting, expand, words

VARIABLE = re.compile(r"\$\$|\$\{([A-Za-z_]\w*)\}|\$([A-Za-z_]\w*)")
ALONE = re.compile(r"\$([A-Za-z_]\w*)")
PREFIXES = "@-:+!|"


@dataclass(frozen=True)
class Command:
    """``executable`` is what is executed, ``argv[0]`` may be another name. ``ignored``: its failure does not count.
    ``privileged``: as root, whoever the service's user is, and not confined; ``elevated``: as root, but confined."""

    executable: str
    argv: tuple[str, ...]
    ignored: bool = False
    privileged: bool = False
    verbatim: bool = False
    elevated: bool = False

    def arguments(self, environment: Mapping[str, str]) -> tuple[str, ...]:
        """With variables in their places: ``$NAME`` as a word becomes as many words as it has, ``${NAME}`` is text."""
        if self.verbatim:
            return self.argv
        found = [self.argv[0]]
        for word in self.argv[1:]:
            alone = ALONE.fullmatch(word)
            if alone:
                found += environment.get(alone.group(1), "").split()
            else:
                found.append(VARIABLE.sub(lambda match: _value(match, environment), word))
        return tuple(found)


def _value(match: "re.Match[str]", environment: Mapping[str, str]) -> str:
    if match.group() == "$$":
        return "$"
    if match.group(2):
        return environment.get(match.group(2), "")
    return environment.get(match.group(1), "")


def parse(line: str, specifier: Callable[[str], str | None]) -> list[Command]:
    """The commands of one setting, which a semicolon as a word of its own divides. BadSetting."""
    commands: list[Command] = []
    current: list[str] = []
    for word in _guarded(line):
        if word == ";":
            if current:
                commands.append(_command(current, specifier))
            current = []
        else:
            current.append(";" if word == "\\;" else word)
    if current:
        commands.append(_command(current, specifier))
    if not commands:
        raise BadSetting("Empty executable name")
    return commands


def _guarded(line: str) -> list[str]:
    """Words; a semicolon that was quoted or escaped is told from one that divides."""
    return words(re.sub(r"(?<!\S)\\;(?!\S)", r"\\\\;", line), relaxed=True)


def _command(line: list[str], specifier: Callable[[str], str | None]) -> Command:
    first = line[0]
    flags = first[: len(first) - len(first.lstrip(PREFIXES))]
    executable = expand(first[len(flags) :], specifier)
    argv = [expand(word, specifier) for word in line[1:]]
    if not executable and argv:
        executable, argv = argv[0], argv[1:]
    if not executable:
        raise BadSetting("Empty executable name")
    if "@" in flags:
        if not argv:
            raise BadSetting("No argument after the executable, which @ asks for")
    else:
        argv = [executable, *argv]
    return Command(executable, tuple(argv), "-" in flags, "+" in flags, ":" in flags, flags.count("!") == 1)
