"""What ``RUN --mount`` asks for: folders and files that are there for one step and are no part of its layer."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from moonpool.builds.dockerfile import Instruction, absolute
from moonpool.hosts.model import MAX_MOUNTS

NAMES = {"src": "source", "dst": "target", "destination": "target", "readonly": "ro", "readwrite": "rw"}
KNOWN = frozenset({"type", "source", "target", "from", "id", "sharing", "ro", "rw", "mode", "uid", "gid", "size"})
KNOWN_OF_SECRETS = frozenset({"type", "id", "target", "required", "mode", "uid", "gid", "env"})
SWITCHES = frozenset({"ro", "rw", "required"})
MODE = re.compile(r"[0-7]{1,4}")
MAGIC = re.compile(r"([\\*?\[])")


@dataclass(frozen=True)
class Wanted:
    """``kind`` is bind, cache or tmpfs; ``target`` absolute; ``source`` a path in ``origin`` (None: the files that came
    with the recipe). ``id`` names a cache. ``owner`` and ``mode`` are of a new cache's folder."""

    kind: str
    target: str
    source: str = "/"
    origin: str | None = None
    id: str = ""
    read_only: bool = False
    mode: int | None = None
    owner: tuple[int, int] | None = None

    @property
    def pattern(self) -> str:
        """The source as what selects it."""
        return MAGIC.sub(r"\\\1", self.source)


@dataclass(frozen=True)
class StepMount:
    """One that is made: ``layer`` is what is seen (None: an empty folder), ``subpath`` the folder in it and ``file``
    the one file of that folder that is meant. ``cache`` is the key that what is in it afterwards is found by."""

    target: str
    layer: str | None = None
    subpath: str = ""
    file: str | None = None
    read_only: bool = False
    cache: str | None = None
    mode: int | None = None
    owner: tuple[int, int] | None = None


def wanted(instruction: Instruction, word: Callable[[str], str], workdir: str) -> list[Wanted]:
    """BuildInvalid. A secret or an agent for SSH that a step can do without is left out: there is none."""
    found = []
    for text in instruction.flags.get("mount", ()):
        settings = settings_of(instruction, word(text))
        kind = settings.get("type", "bind")
        if kind in ("secret", "ssh"):
            if is_on(instruction, settings, "required"):
                raise instruction.wrong(
                    f"RUN --mount=type={kind} is not supported: builds have no {kind}s",
                    hint="Without required=true the step runs without it.",
                )
        elif kind in ("bind", "cache", "tmpfs"):
            found.append(one(instruction, settings, kind, workdir))
        else:
            raise instruction.wrong(f"RUN has no mounts of type {kind!r}", hint="There are bind, cache and tmpfs.")
    if len(found) > MAX_MOUNTS:
        raise instruction.wrong(f"RUN can have {MAX_MOUNTS} mounts, not {len(found)}")
    return found


def settings_of(instruction: Instruction, text: str) -> dict[str, str]:
    settings: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        name = NAMES.get(name.strip().lower(), name.strip().lower())
        if not equals and name not in SWITCHES:
            raise instruction.wrong(f"RUN --mount: {part!r} needs a value")
        settings[name] = value if equals else "true"
    secret = settings.get("type") in ("secret", "ssh")
    for name in settings.keys() - (KNOWN_OF_SECRETS if secret else KNOWN):
        raise instruction.wrong(f"RUN --mount has no option {name!r} here")
    return settings


def one(instruction: Instruction, settings: dict[str, str], kind: str, workdir: str) -> Wanted:
    if not settings.get("target"):
        raise instruction.wrong(f"RUN --mount=type={kind} needs a target")
    target = absolute(workdir, settings["target"])
    if target == "/":
        raise instruction.wrong("RUN --mount cannot cover the root")
    writable = is_on(instruction, settings, "rw") or settings.get("ro", "").lower() == "false"
    read_only = not writable if kind == "bind" else is_on(instruction, settings, "ro")
    return Wanted(
        kind,
        target,
        absolute("/", settings.get("source", "/")),
        settings.get("from"),
        settings.get("id") or target,
        read_only,
        mode_of(instruction, settings),
        owner_of(instruction, settings),
    )


def is_on(instruction: Instruction, settings: dict[str, str], name: str) -> bool:
    value = settings.get(name, "false").lower()
    if value not in ("true", "false", "1", "0"):
        raise instruction.wrong(f"RUN --mount: {name} takes true or false, not {value!r}")
    return value in ("true", "1")


def mode_of(instruction: Instruction, settings: dict[str, str]) -> int | None:
    mode = settings.get("mode")
    if mode is not None and not MODE.fullmatch(mode):
        raise instruction.wrong(f"RUN --mount: not an octal mode: {mode!r}")
    return None if mode is None else int(mode, 8)


def owner_of(instruction: Instruction, settings: dict[str, str]) -> tuple[int, int] | None:
    numbers = [settings.get(name, "0") for name in ("uid", "gid")]
    if not all(number.isascii() and number.isdigit() and len(number) < 10 for number in numbers):
        raise instruction.wrong("RUN --mount: uid and gid are numbers")
    return (int(numbers[0]), int(numbers[1])) if settings.keys() & {"uid", "gid"} else None
