"""How unit files are written: sections, continued lines, quoted words, spans of time, specifiers."""

import re
from collections.abc import Callable, Iterator

Setting = tuple[str, str, str]  # section, key, value
SPACES = " \t\n\r"
SIMPLE_ESCAPES = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "s": " ",
    "\\": "\\", '"': '"', "'": "'",
}  # fmt: skip
CODED = re.compile(r"x[0-9a-fA-F]{2}|[0-7]{3}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}")
SPAN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Zµ]*)")
SECONDS = {
    "": 1.0, "s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "us": 1e-6, "usec": 1e-6, "µs": 1e-6, "ms": 1e-3,
    "msec": 1e-3, "m": 60.0, "min": 60.0, "minute": 60.0, "minutes": 60.0, "h": 3600.0, "hr": 3600.0, "hour": 3600.0,
    "hours": 3600.0, "d": 86400.0, "day": 86400.0, "days": 86400.0, "w": 604800.0, "week": 604800.0, "weeks": 604800.0,
}  # fmt: skip
TRUE, FALSE = ("1", "yes", "y", "true", "t", "on"), ("0", "no", "n", "false", "f", "off")


class BadSetting(ValueError):
    """A setting that cannot be understood."""


def settings(text: str) -> Iterator[Setting]:
    """Every assignment, in order; lines that are none are passed over, as systemd does."""
    section = ""
    for line in _logical_lines(text):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        elif "=" in line and section:
            key, _, value = line.partition("=")
            yield section, key.strip(), value.strip()


def _logical_lines(text: str) -> Iterator[str]:
    """A line that ends with a backslash goes on in the next one; comments in between are left out."""
    held = ""
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith(("#", ";")) or (not line and not held):
            continue
        if line.endswith("\\"):
            held += line[:-1] + " "
            continue
        if held or line:
            yield (held + line).strip()
        held = ""
    if held:
        yield held.strip()


def words(text: str, *, relaxed: bool = False) -> list[str]:
    """Words of a value, without their quotes and with their escapes resolved. BadSetting for an open quote.

    ``relaxed`` leaves escapes that are not known as they are, as command lines have them.
    """
    found, position = [], 0
    while position < len(text):
        if text[position] in SPACES:
            position += 1
            continue
        word, position = _word(text, position, relaxed)
        found.append(word)
    return found


def _word(text: str, position: int, relaxed: bool) -> tuple[str, int]:
    parts: list[str] = []
    quote = ""
    while position < len(text):
        character = text[position]
        if character == "\\":
            part, position = _escape(text, position + 1, relaxed)
            parts.append(part)
            continue
        if quote:
            if character == quote:
                quote = ""
            else:
                parts.append(character)
        elif character in "\"'":
            quote = character
        elif character in SPACES:
            break
        else:
            parts.append(character)
        position += 1
    if quote:
        raise BadSetting("Unbalanced quoting")
    return "".join(parts), position


def _escape(text: str, position: int, relaxed: bool) -> tuple[str, int]:
    """What an escape stands for, and where the text goes on; ``position`` is right behind the backslash."""
    if position >= len(text):
        return "\\", position
    if text[position] in SIMPLE_ESCAPES:
        return SIMPLE_ESCAPES[text[position]], position + 1
    coded = CODED.match(text, position)
    if coded:
        digits = coded.group()
        number = int(digits, 8) if digits[0] in "01234567" else int(digits[1:], 16)
        if 0 < number < 0x110000:
            return chr(number), coded.end()
    if relaxed:
        return "\\" + text[position], position + 1
    raise BadSetting("Invalid escape sequences")


def flag(text: str) -> bool:
    if text.lower() in TRUE:
        return True
    if text.lower() in FALSE:
        return False
    raise BadSetting(f"Failed to parse boolean value: {text[:100]}")


def seconds(text: str) -> float | None:
    """A span of time in seconds; None is for ever."""
    if text.lower() == "infinity":
        return None
    total, position = 0.0, 0
    while position < len(text.rstrip()):
        part = SPAN.match(text, position)
        if part is None or part.group(2) not in SECONDS:
            raise BadSetting(f"Failed to parse time span: {text[:100]}")
        total += float(part.group(1)) * SECONDS[part.group(2)]
        position = part.end()
    if not position:
        raise BadSetting("Failed to parse time span: it is empty")
    return total


def expand(text: str, specifier: Callable[[str], str | None]) -> str:
    """The text with every specifier (a percent sign and a letter) replaced."""
    if "%" not in text:
        return text
    parts, position = [], 0
    while position < len(text):
        if text[position] != "%" or position + 1 == len(text):
            parts.append(text[position])
            position += 1
            continue
        letter = text[position + 1]
        value = "%" if letter == "%" else specifier(letter)
        parts.append(f"%{letter}" if value is None else value)
        position += 2
    return "".join(parts)
