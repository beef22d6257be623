"""Patterns of paths that a client does not want to hear of, as editors write them, in the words of the agent."""

import re

BRACES = re.compile(r"\{([^{}]*)\}")
MAX_CHOICES = 64  # patterns that one with braces may stand for
LONGEST = 4096  # characters of a pattern whose braces are looked at; no path is longer


def choices(pattern: str) -> list[str]:
    """What the braces in it stand for; of one with too many only the first are taken."""
    if len(pattern) > LONGEST:
        return [pattern]
    found: list[str] = []
    waiting = [pattern.removeprefix("./")]
    while waiting and len(found) < MAX_CHOICES:
        one = waiting.pop(0)
        braces = BRACES.search(one)
        if braces is None:
            found.append(one)
            continue
        left = MAX_CHOICES - len(waiting)
        waiting += [one[: braces.start()] + choice + one[braces.end() :] for choice in braces[1].split(",")[:left]]
    return found
