"""What the variables of a Dockerfile could become, before they do: a few lines can stand for more than any memory
holds, and a few characters of a pattern for more attempts than anybody waits for."""

import re
from collections.abc import Mapping

MOST_TEXT = 1 << 20  # characters of all variables, and of what a word may become
MOST_ATTEMPTS = 30_000_000  # of matching a pattern
MATCHING = re.compile(r"\$\{\w*[#%/]")
REPLACING = re.compile(r"\$\{\w*/")


def check_expansion(word: str, variables: Mapping[str, str]) -> None:
    """ValueError for what would be too much; whatever might become of it is counted as if it did."""
    if "$" not in word:
        return
    named = {name: value for name, value in variables.items() if name in word}
    longest = max(map(len, named.values()), default=0)
    _before, *substitutions = word.split("${")
    nested = any("}" not in each for each in substitutions)
    result = len(word) + word.count("$") * longest
    if REPLACING.search(word):
        by = result if nested else max(each.index("}") for each in substitutions)
        result += len(substitutions) * longest * by
    if sum(map(len, variables.values())) + result > MOST_TEXT:
        raise ValueError("what the variables stand for is too long")
    if MATCHING.search(word):
        stars = word.count("*") if nested else max(each.count("*") for each in substitutions)
        stars += sum(word.count(name) * value.count("*") for name, value in named.items())
        free = stars + (REPLACING.search(word) is not None)  # Each may end anywhere; what is replaced begins anywhere.
        if len(substitutions) * (longest + 1) ** min(free, 30) > MOST_ATTEMPTS:
            raise ValueError("a pattern with so many * takes too long with values of this length")
