"""A Dockerfile as stages of instructions, read as BuildKit reads it. Raises BuildInvalid, with the line."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from e2b_dockerfile_utils import (
    DockerfileHeredoc,
    DockerfileInstruction,
    DockerfileSyntaxError,
    ShellLex,
    chomp_heredoc_content,
    parse_dockerfile_ast,
)

from moonpool.builds.expansion import check_expansion
from moonpool.engine.images.oci.layout import architecture
from moonpool.errors import BuildInvalid

MAX_SIZE = 1 << 20  # characters
MAX_INSTRUCTIONS = 1000
STAGE_NAME = re.compile(r"[a-z][a-z0-9._-]*", re.IGNORECASE)
FLAGS: Mapping[str, frozenset[str]] = {
    "FROM": frozenset({"platform"}),
    "COPY": frozenset({"from", "chown", "chmod", "link", "exclude", "parents"}),
    "ADD": frozenset({"chown", "chmod", "link", "checksum", "keep-git-dir", "exclude", "unpack"}),
    "RUN": frozenset({"mount", "network", "security"}),
    "HEALTHCHECK": frozenset({"interval", "timeout", "start-period", "start-interval", "retries"}),
}
REPEATABLE = frozenset({"mount", "exclude"})
ARGUMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Heredoc:
    """``expand``: variables in it are replaced."""

    name: str
    content: str
    expand: bool


@dataclass(frozen=True)
class Instruction:
    """``flags`` by name, each with its values; ``words`` as they are written, variables and quotes included."""

    name: str
    line: int
    flags: Mapping[str, tuple[str, ...]]
    words: tuple[str, ...]
    exec_form: bool
    heredocs: tuple[Heredoc, ...]
    text: str

    def flag(self, name: str) -> str | None:
        values = self.flags.get(name)
        return values[-1] if values else None

    def is_set(self, name: str) -> bool:
        """A flag that needs no value: ``--link`` as well as ``--link=true``."""
        value = self.flag(name)
        if value is not None and value.lower() not in ("", "true", "false", "1", "0"):
            raise self.wrong(f"--{name} takes true or false, not {value!r}")
        return value is not None and value.lower() not in ("false", "0")

    def wrong(self, message: str, hint: str = "") -> BuildInvalid:
        return BuildInvalid(f"Dockerfile line {self.line}: {message}", line=self.line, hint=hint)


@dataclass(frozen=True)
class Stage:
    """``base`` is an earlier stage's name or an image's, with variables replaced."""

    name: str
    base: str
    line: int
    instructions: tuple[Instruction, ...]


@dataclass(frozen=True)
class Dockerfile:
    """``arguments`` are those declared before the first FROM, with their values."""

    escape: str
    arguments: Mapping[str, str]
    stages: tuple[Stage, ...]

    def find(self, name: str, before: int | None = None) -> int | None:
        """The number of the stage of that name or number, among those before ``before``."""
        known = self.stages[:before]
        if name.isdigit() and int(name) < len(known):
            return int(name)
        return next((at for at in reversed(range(len(known))) if known[at].name == name.lower()), None)

    def wanted(self, target: str | None) -> int:
        """The number of the stage that is asked for: the last one, unless another is named."""
        if target is None:
            return len(self.stages) - 1
        found = self.find(target)
        if found is None:
            raise BuildInvalid(f"The Dockerfile has no stage {target!r}", hint="Stages are named by FROM ... AS NAME.")
        return found


def predefined() -> dict[str, str]:
    """What a Dockerfile may declare without giving it a value."""
    platform, machine = f"linux/{architecture()}", architecture()
    values: dict[str, str] = {}
    for prefix in ("TARGET", "BUILD"):
        values |= {f"{prefix}PLATFORM": platform, f"{prefix}OS": "linux", f"{prefix}ARCH": machine}
        values[f"{prefix}VARIANT"] = ""
    return values


def parse(text: str, arguments: Mapping[str, str]) -> Dockerfile:
    """``arguments`` are those of the one who builds."""
    if len(text) > MAX_SIZE:
        raise BuildInvalid(f"The Dockerfile is larger than {MAX_SIZE} characters")
    if "\0" in text:
        raise BuildInvalid("The Dockerfile has a NUL character in it")
    try:
        tree = parse_dockerfile_ast(text)
    except DockerfileSyntaxError as error:
        raise BuildInvalid(str(error).replace("parse error on line", "line"), line=error.line) from error
    except (ValueError, RecursionError) as error:
        raise BuildInvalid(f"The Dockerfile cannot be read: {error}") from error
    if len(tree.instructions) > MAX_INSTRUCTIONS:
        raise BuildInvalid(f"The Dockerfile has more than {MAX_INSTRUCTIONS} instructions")
    read = [instruction_of(each) for each in tree.instructions]
    return staged(read, tree.escape_token, arguments)


def staged(read: list[Instruction], escape: str, given: Mapping[str, str]) -> Dockerfile:
    declared: dict[str, str] = {}
    stages: list[Stage] = []
    lines: list[Instruction] = []
    for instruction in read:
        if instruction.name == "FROM":
            if stages:
                stages[-1] = closed(stages[-1], lines)
            lines = []
            stages.append(begun(instruction, escape, {**predefined(), **declared}))
        elif stages:
            lines.append(instruction)
        elif instruction.name == "ARG":
            known = {**predefined(), **declared}
            for name, value in argument_values(instruction, escape, known, given):
                declared[name] = value if value is not None else known.get(name, "")
        else:
            raise instruction.wrong("No instruction but ARG may come before the first FROM")
    if not stages:
        raise BuildInvalid("The Dockerfile has no FROM", line=1)
    stages[-1] = closed(stages[-1], lines)
    return Dockerfile(escape, declared, tuple(stages))


def closed(stage: Stage, lines: list[Instruction]) -> Stage:
    return Stage(stage.name, stage.base, stage.line, tuple(lines))


def begun(instruction: Instruction, escape: str, variables: Mapping[str, str]) -> Stage:
    words = [expanded(instruction, word, escape, variables) for word in instruction.words]
    named = len(words) == 3 and words[1].lower() == "as"
    if not (named or len(words) == 1) or not words[0]:
        raise instruction.wrong("FROM takes an image, and maybe AS and a name", hint="FROM IMAGE [AS NAME]")
    if named and not STAGE_NAME.fullmatch(words[2]):
        raise instruction.wrong(f"Not a name of a stage: {words[2]!r}")
    platform = instruction.flag("platform")
    if platform is not None:
        wanted = expanded(instruction, platform, escape, variables)
        if not suits(wanted):
            raise instruction.wrong(f"This server builds for linux/{architecture()} alone, not for {wanted}")
    return Stage(words[2].lower() if named else "", words[0], instruction.line, ())


def suits(platform: str) -> bool:
    """Whether it is this machine's; ``arm64/v8`` is all the arm64 that there is."""
    machine = platform.lower().removeprefix("linux").removeprefix("/")
    return {"x86_64": "amd64", "aarch64": "arm64", "arm64/v8": "arm64"}.get(machine, machine) in (architecture(), "")


def instruction_of(parsed: DockerfileInstruction) -> Instruction:
    instruction = Instruction(
        name=parsed.name,
        line=parsed.start_line,
        flags={},
        words=tuple(parsed.args),
        exec_form=parsed.json,
        heredocs=tuple(heredoc_of(each) for each in parsed.heredocs),
        text=parsed.original,
    )
    flags: dict[str, tuple[str, ...]] = {}
    for flag in parsed.flags:
        name, _, value = flag.removeprefix("--").partition("=")
        if name not in FLAGS.get(parsed.name, frozenset()):
            raise instruction.wrong(f"{parsed.name} has no option --{name} here")
        if name in flags and name not in REPEATABLE:
            raise instruction.wrong(f"--{name} is given twice")
        flags[name] = (*flags.get(name, ()), value)
    return Instruction(**{**vars(instruction), "flags": flags})


def heredoc_of(parsed: DockerfileHeredoc) -> Heredoc:
    content = chomp_heredoc_content(parsed.content) if parsed.chomp else parsed.content
    return Heredoc(parsed.name, content, parsed.expand)


def expanded(instruction: Instruction, word: str, escape: str, variables: Mapping[str, str]) -> str:
    """One word, with its variables replaced and its quotes gone."""
    try:
        check_expansion(word, variables)
        return ShellLex(escape, env=variables, skip_unset_env=False).process_word(word)
    except (ValueError, RecursionError) as error:
        raise instruction.wrong(str(error)) from error


def split(instruction: Instruction, word: str, escape: str, variables: Mapping[str, str]) -> list[str]:
    """What a word becomes when what a variable holds may be several."""
    try:
        check_expansion(word, variables)
        return ShellLex(escape, env=variables, skip_unset_env=False).process_words(word)
    except (ValueError, RecursionError) as error:
        raise instruction.wrong(str(error)) from error


def argument_values(
    instruction: Instruction, escape: str, variables: Mapping[str, str], given: Mapping[str, str]
) -> list[tuple[str, str | None]]:
    """Names that an ARG declares, each with its value: the one who builds decides before the Dockerfile."""
    found: list[tuple[str, str | None]] = []
    for word in instruction.words:
        name, equals, default = word.partition("=")
        if not ARGUMENT_NAME.fullmatch(name):
            raise instruction.wrong(f"Not a name of an argument: {name!r}")
        value = expanded(instruction, default, escape, variables) if equals else None
        found.append((name, given.get(name, value)))
    if not found:
        raise instruction.wrong("ARG needs a name")
    return found


def absolute(folder: str, path: str) -> str:
    """``path`` from ``folder``, without dots; never above the root."""
    parts: list[str] = []
    for part in PurePosixPath(folder or "/", path).parts[1:] if folder or path.startswith("/") else path.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", ".", "/"):
            parts.append(part)
    return "/" + "/".join(parts)
