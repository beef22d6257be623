"""Instructions of a Dockerfile that say something about an image and change no file of it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from moonpool.builds.dockerfile import Instruction
from moonpool.engine.images.oci import ImageConfig

Word = Callable[[Instruction, str], str]
Words = Callable[[Instruction, str], list[str]]
PORT = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/(tcp|udp|sctp))?")
MAX_PORTS = 1000
DURATION = re.compile(r"(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9.]+)s)?(?:([0-9]+)ms)?")
NANOSECONDS = 1_000_000_000
ALLOWED_ON_BUILD = frozenset(
    {"RUN", "CMD", "LABEL", "EXPOSE", "ENV", "ADD", "COPY", "ENTRYPOINT", "VOLUME", "USER", "WORKDIR", "ARG"}
)


def configured(
    config: ImageConfig, instruction: Instruction, word: Word, words: Words, shell: tuple[str, ...]
) -> ImageConfig:
    """The configuration after one such instruction. BuildInvalid."""
    match instruction.name:
        case "ENV":
            return replace(config, env={**config.env, **pairs(instruction, word)})
        case "LABEL":
            return replace(config, labels={**config.labels, **pairs(instruction, word)})
        case "CMD":
            return replace(config, cmd=command(instruction, shell))
        case "ENTRYPOINT":
            return replace(config, entrypoint=command(instruction, shell), cmd=None)
        case "USER":
            return replace(config, user=one(instruction, word))
        case "STOPSIGNAL":
            return replace(config, stop_signal=one(instruction, word))
        case "SHELL":
            if not instruction.exec_form or not instruction.words:
                raise instruction.wrong('SHELL takes its words as a JSON array: SHELL ["/bin/bash", "-c"]')
            return replace(config, shell=instruction.words)
        case "EXPOSE":
            found = [
                port
                for each in instruction.words
                for text in words(instruction, each)
                for port in ports(instruction, text)
            ]
            return replace(config, ports=tuple(dict.fromkeys((*config.ports, *found)))[:MAX_PORTS])
        case "VOLUME":
            paths = [word(instruction, each) for each in instruction.words]
            return replace(config, volumes=tuple(dict.fromkeys((*config.volumes, *paths))))
        case "HEALTHCHECK":
            return replace(config, healthcheck=healthcheck(instruction, shell))
        case "MAINTAINER":
            return replace(config, labels={**config.labels, "maintainer": " ".join(instruction.words)})
        case "ONBUILD":
            return replace(config, onbuild=(*config.onbuild, on_build(instruction)))
    raise instruction.wrong(f"{instruction.name} is not supported")


def pairs(instruction: Instruction, word: Word) -> dict[str, str]:
    """Names and values; all of them see the variables as they were before."""
    found = {}
    for at in range(0, len(instruction.words), 3):
        name, value = (word(instruction, part) for part in instruction.words[at : at + 2])
        if not name or "=" in name or "\0" in name + value:
            raise instruction.wrong(f"{instruction.name} needs names and values")
        found[name] = value
    if not found:
        raise instruction.wrong(f"{instruction.name} needs a name and a value")
    return found


def one(instruction: Instruction, word: Word) -> str:
    text = word(instruction, instruction.words[0]) if len(instruction.words) == 1 else ""
    if not text:
        raise instruction.wrong(f"{instruction.name} takes one word")
    return text


def command(instruction: Instruction, shell: tuple[str, ...]) -> tuple[str, ...]:
    if instruction.exec_form:
        return instruction.words
    text = " ".join(instruction.words)
    return (*shell, text) if text.strip() else ()


def ports(instruction: Instruction, text: str) -> list[str]:
    match = PORT.fullmatch(text.lower())
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if match is None or not 1 <= first <= last <= 65535 or last - first >= MAX_PORTS:
        raise instruction.wrong(f"Not a port: {text!r}", hint="EXPOSE 8080 or EXPOSE 8080/udp")
    return [f"{port}/{match[3] or 'tcp'}" for port in range(first, last + 1)]


def healthcheck(instruction: Instruction, shell: tuple[str, ...]) -> Mapping[str, object]:
    """As images keep it; nothing here runs it."""
    kind = instruction.words[0].upper() if instruction.words else ""
    if kind == "NONE" and len(instruction.words) == 1:
        return {"Test": ["NONE"]}
    if kind != "CMD" or len(instruction.words) < 2:
        raise instruction.wrong("HEALTHCHECK takes CMD and a command, or NONE")
    rest = instruction.words[1:]
    test = ["CMD", *rest] if instruction.exec_form else ["CMD-SHELL", " ".join(rest)]
    found: dict[str, object] = {"Test": test}
    names = {
        "interval": "Interval",
        "timeout": "Timeout",
        "start-period": "StartPeriod",
        "start-interval": "StartInterval",
    }
    found |= {
        title: nanoseconds(instruction, text) for name, title in names.items() if (text := instruction.flag(name))
    }
    if retries := instruction.flag("retries"):
        if not retries.isdigit():
            raise instruction.wrong(f"Not a number of retries: {retries!r}")
        found["Retries"] = int(retries)
    return found


def nanoseconds(instruction: Instruction, text: str) -> int:
    match = DURATION.fullmatch(text)
    if match is None or not any(match.groups()):
        raise instruction.wrong(f"Not a duration: {text!r}", hint="As 30s or 1m30s.")
    hours, minutes, seconds, milliseconds = (float(part or 0) for part in match.groups())
    return int((hours * 3600 + minutes * 60 + seconds + milliseconds / 1000) * NANOSECONDS)


def on_build(instruction: Instruction) -> str:
    text = instruction.text.split(None, 1)[1] if len(instruction.text.split(None, 1)) > 1 else ""
    name = text.split(None, 1)[0].upper() if text.strip() else ""
    if name not in ALLOWED_ON_BUILD:
        raise instruction.wrong(f"ONBUILD cannot be followed by {name or 'nothing'}")
    return text
