"""Recipes of template builds, a line an instruction, as a Dockerfile on the base template.

``RUN [--timeout=5m] COMMAND``, ``START COMMAND`` (goes on running; the template has its memory), ``ENV NAME=VALUE``,
``WORKDIR PATH`` and ``USER NAME`` (made where it is missing). ``COPY`` has no files to copy from, since the contract's
request carries none.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from moonpool.builds.model import Readiness, Recipe
from moonpool.dialects.wrenn.mapping import USER
from moonpool.errors import InvalidInput
from moonpool.snapshots.model import Snapshot

DIALECT = "wrenn"
WORDS = ("RUN", "START", "ENV", "WORKDIR", "USER", "COPY")
MAX_STEPS = 200
DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
PERSON = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
HEALTH_FLAG = re.compile(r"--(interval|timeout|start-period|retries)=(\S+)\s+")
SHELL = "/bin/sh"


@dataclass(frozen=True)
class Step:
    """``instructions`` are lines of the Dockerfile; ``start`` a command that goes on running."""

    text: str
    instructions: tuple[str, ...] = ()
    start: str | None = None
    user: str | None = None


def steps_of(recipe: Sequence[str]) -> tuple[Step, ...]:
    """InvalidInput, with the number of the line."""
    if not 1 <= len(recipe) <= MAX_STEPS:
        raise InvalidInput(f"recipe must have 1 to {MAX_STEPS} lines", field="recipe")
    return tuple(step_of(number, line.strip()) for number, line in enumerate(recipe, 1))


def step_of(number: int, line: str) -> Step:
    word, _, rest = line.partition(" ")
    word, rest = word.upper(), rest.strip()
    if word not in WORDS:
        raise wrong(number, f"unknown instruction {word[:20]!r}", f"There are {', '.join(WORDS)}.")
    if not rest or "\0" in rest:
        raise wrong(number, f"{word} needs an argument")
    match word:
        case "RUN":
            return Step(line, (f"RUN {json.dumps(command(number, rest))}",))
        case "START":
            return Step(line, start=rest)
        case "ENV":
            return Step(line, (variable(number, rest),))
        case "WORKDIR":
            if "\n" in rest:
                raise wrong(number, "WORKDIR takes one folder")
            return Step(line, (f"WORKDIR {quoted(rest)}",))
        case "USER":
            return person(number, line, rest)
    raise wrong(number, "COPY has no files to copy from", "Fetch them in a RUN step, as with curl or git.")


def command(number: int, rest: str) -> list[str]:
    flag, _, shell = rest.partition(" ")
    if not flag.startswith("--timeout="):
        return [SHELL, "-c", rest]
    limit = str(int(seconds(number, flag.removeprefix("--timeout="))))
    if not shell.strip():
        raise wrong(number, "RUN needs a command")
    return ["timeout", "--kill-after=5", limit, SHELL, "-c", shell.strip()]


def variable(number: int, rest: str) -> str:
    name, found, value = rest.partition("=")
    if not found or not NAME.fullmatch(name):
        raise wrong(number, "ENV needs NAME=VALUE")
    if "\n" in value:
        raise wrong(number, "A value of ENV has one line")
    return f"ENV {name}={quoted(value, expand=True)}"


def person(number: int, line: str, name: str) -> Step:
    if not PERSON.fullmatch(name):
        raise wrong(number, f"Not a user's name: {name[:40]!r}")
    make = (
        f"id {name} >/dev/null 2>&1 || {{ useradd --create-home --shell /bin/bash {name} && "
        f"{{ usermod --append --groups sudo {name} || true; }} && mkdir -p /etc/sudoers.d && "
        f"echo '{name} ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/90-{name}; }}"
    )
    return Step(line, ("USER root", f"RUN {json.dumps([SHELL, '-c', make])}", f"USER {name}"), user=name)


def recipe_of(steps: Sequence[Step], base: Snapshot, healthcheck: str | None) -> Recipe:
    """Who is named in no step is what capsules of the base have."""
    lines = ["FROM template", "USER root", *(line for step in steps for line in step.instructions)]
    if not any(step.user for step in steps):
        lines.append(f"USER {USER if base.config is None else base.config.user or 'root'}")
    return Recipe(
        dockerfile="\n".join(lines) + "\n",
        template=base.image,
        template_config=base.config.document() if base.config else {},
        start=tuple(step.start for step in steps if step.start is not None),
        ready=readiness(healthcheck) if healthcheck else None,
    )


def readiness(healthcheck: str) -> Readiness:
    """A shell command, with Docker's flags before it: patience is the start period and all tries."""
    flags = {}
    while (found := HEALTH_FLAG.match(healthcheck)) is not None:
        flags[found[1]] = found[2]
        healthcheck = healthcheck[found.end() :]
    interval = seconds(0, flags.get("interval", "3s"))
    timeout = seconds(0, flags.get("timeout", "10s"))
    retries = flags.get("retries", "5")
    if not retries.isdigit() or not healthcheck.strip():
        raise InvalidInput("healthcheck: a command, with flags as --interval=3s --retries=5", field="healthcheck")
    patience = seconds(0, flags.get("start-period", "30s")) + min(int(retries), 1000) * (interval + timeout)
    return Readiness(healthcheck.strip(), interval, timeout, min(patience, 3600.0))


def seconds(number: int, text: str) -> float:
    found = DURATION.fullmatch(text)
    if found is None or not any(found.groups()):
        raise wrong(number, f"Not a duration: {text[:20]!r}", "As 30s, 5m or 1h30m.")
    hours, minutes, rest = (int(part or 0) for part in found.groups())
    return float(max(1, hours * 3600 + minutes * 60 + rest))


def quoted(text: str, *, expand: bool = False) -> str:
    """One word of a Dockerfile; variables in it are replaced with ``expand`` alone."""
    special = '\\"' if expand else '\\"$'
    return '"' + "".join(f"\\{each}" if each in special else each for each in text) + '"'


def wrong(number: int, message: str, hint: str = "") -> InvalidInput:
    where = f"recipe line {number}: " if number else "healthcheck: "
    return InvalidInput(where + message, field="recipe" if number else "healthcheck", hint=hint)
