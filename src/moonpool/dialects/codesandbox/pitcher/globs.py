"""Patterns of paths that a client does not want to hear of, as editors write them.

Matched part by part, with the standard library's patterns that never look back: a client chooses both the pattern and
the path, and neither may cost the server more than their length.
"""

import fnmatch
import re
from collections.abc import Callable, Sequence

BRACES = re.compile(r"\{([^{}]*)\}")
MAX_CHOICES = 64  # patterns that one with braces may stand for

Part = re.Pattern[str] | None  # None: any number of parts


def matcher(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Whether a relative path, or a folder that it is in, matches one of ``patterns``.

    A pattern without a slash means any part of the path ("node_modules"); ``*`` stays within a part, ``**`` does not.
    """
    compiled = [parts_of(choice) for pattern in patterns for choice in choices(pattern)]

    def matches(path: str) -> bool:
        names = [name for name in path.split("/") if name]
        return any(begins(parts, names) for parts in compiled)

    return matches


def choices(pattern: str) -> list[str]:
    """What the braces in it stand for; of one with too many only the first are taken."""
    found: list[str] = []
    open_ones = [pattern]
    while open_ones and len(found) < MAX_CHOICES:
        one = open_ones.pop(0)
        braces = BRACES.search(one)
        if braces is None:
            found.append(one)
            continue
        left = MAX_CHOICES - len(open_ones)
        alternatives = braces[1].split(",")[:left]
        open_ones += [one[: braces.start()] + alternative + one[braces.end() :] for alternative in alternatives]
    return found


def parts_of(pattern: str) -> list[Part]:
    names = [name for name in pattern.split("/") if name not in ("", ".")]
    if len(names) == 1:
        names.insert(0, "**")
    parts: list[Part] = []
    for name in names:
        part = None if name == "**" else re.compile(fnmatch.translate(name))
        if part is not None or parts[-1:] != [None]:
            parts.append(part)
    return parts


def begins(parts: list[Part], names: list[str]) -> bool:
    """Whether the path, or one of the folders above it, is all that ``parts`` say."""
    reached = {0}
    for name in names:
        reached = spread(parts, reached)
        after = {at for at in reached if at < len(parts) and parts[at] is None}
        for at in reached:
            part = parts[at] if at < len(parts) else None
            if part is not None and part.match(name):
                after.add(at + 1)
        if len(parts) in spread(parts, after):
            return bool(parts)
        reached = after
    return False


def spread(parts: list[Part], reached: set[int]) -> set[int]:
    """``**`` may also stand for nothing."""
    return reached | {at + 1 for at in reached if at < len(parts) and parts[at] is None}
