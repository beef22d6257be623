"""Servers' answers in one form, whichever of the protocol's forms they chose."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from moonpool.languages.documents import uri_of
from moonpool.languages.errors import LanguageServerFailed
from moonpool.languages.model import Completions, Symbol

# The protocol's SymbolKind, by jedi's names.
KINDS = {"module": 2, "class": 5, "function": 12, "instance": 13, "statement": 13, "param": 13, "property": 7}
VARIABLE = 13

Answer = TypeVar("Answer")


def understood(read: Callable[..., Answer], *answer: Any) -> Answer:
    """What ``read`` makes of an answer; LanguageServerFailed for one that is not the protocol's."""
    try:
        return read(*answer)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError):
        raise LanguageServerFailed("The language server's answer cannot be understood") from None


def completions_of(result: Any) -> Completions:
    """Of a CompletionList, a list of items, or null."""
    if isinstance(result, dict):
        return Completions(bool(result.get("isIncomplete")), tuple(map(item_of, result.get("items") or ())))
    return Completions(False, tuple(map(item_of, result or ())))


def item_of(item: Mapping[str, Any]) -> Mapping[str, Any]:
    documentation = item.get("documentation")
    if isinstance(documentation, str):
        return {**item, "documentation": {"kind": "plaintext", "value": documentation}}
    return item


def symbols_of(result: Sequence[Mapping[str, Any]] | None, uri: str) -> tuple[Symbol, ...]:
    """Of SymbolInformation or of a tree of DocumentSymbol, which are all in ``uri``."""
    return tuple(symbol for entry in result or () for symbol in flattened(entry, uri))


def flattened(entry: Mapping[str, Any], uri: str) -> Iterator[Symbol]:
    location = entry.get("location") or {"uri": uri, "range": entry.get("selectionRange") or entry.get("range")}
    yield Symbol(entry["name"], entry["kind"], location["uri"], location.get("range") or empty_range(0, 0))
    for child in entry.get("children") or ():
        yield from flattened(child, uri)


def symbols_of_search(found: Sequence[Mapping[str, Any]]) -> tuple[Symbol, ...]:
    """Of what ``inside/python_symbols.py`` prints."""
    return tuple(
        Symbol(
            name=each["name"],
            kind=KINDS.get(each["type"], VARIABLE),
            uri=uri_of(each["path"]),
            range=empty_range(each["line"], each["column"], len(each["name"])),
        )
        for each in found
    )


def empty_range(line: int, column: int, length: int = 0) -> Mapping[str, Any]:
    start = {"line": line, "character": column}
    return {"start": start, "end": {"line": line, "character": column + length}}
