"""What a path, a mode and a pattern must look like before they are handed to the agent.

The agent resolves relative paths and ``~`` against the user's home and acts with that user's rights, so ``..`` needs no
rule: it reaches nothing that the user could not reach in a shell.
"""

from collections.abc import Sequence

from moonpool.errors import InvalidInput, InvalidPath

HOME = "~"
PATH_LIMIT = 4095  # bytes, the kernel's own
PATTERN_LIMIT = 4096  # characters
PATTERNS_LIMIT = 256


def checked_path(path: str) -> str:
    """The path without what says nothing (``.``, doubled slashes), so that it can be shown to its owner again."""
    if not path:
        raise InvalidPath("The path is empty")
    if "\0" in path:
        raise InvalidPath("The path contains a NUL character")
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        raise InvalidPath("The path is not valid text") from None
    if size > PATH_LIMIT:
        raise InvalidPath(f"The path is longer than {PATH_LIMIT} bytes")
    return shortened(path)


def shortened(path: str) -> str:
    """``..`` stays: what it means depends on symbolic links."""
    said = "/".join(segment for segment in path.split("/") if segment not in ("", "."))
    return f"/{said}" if path.startswith("/") else said or HOME


def checked_mode(mode: str) -> int:
    """Permission bits from octal digits: "755", "0644", "0o600"."""
    digits = mode.removeprefix("0o")
    if not (1 <= len(digits) <= 5 and all(digit in "01234567" for digit in digits)):
        raise InvalidInput("mode must be octal, such as 755", field="mode")
    bits = int(digits, 8)
    if bits > 0o7777:
        raise InvalidInput("mode must be at most 7777", field="mode")
    return bits


def checked_pattern(pattern: str) -> str:
    if not pattern or len(pattern) > PATTERN_LIMIT or "\0" in pattern:
        raise InvalidInput(f"pattern must be 1 to {PATTERN_LIMIT} characters without NUL", field="pattern")
    return pattern


def checked_patterns(patterns: Sequence[str]) -> tuple[str, ...]:
    if len(patterns) > PATTERNS_LIMIT:
        raise InvalidInput(f"At most {PATTERNS_LIMIT} patterns", field="pattern")
    return tuple(checked_pattern(pattern) for pattern in patterns)
