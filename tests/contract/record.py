"""What a run of the contract tests has shown: which operations had a success that their document allows.

Clients of contract tests have ``event_hooks=listening(DOCUMENT)``. Then every answer they get is held against the
document, errors too and whatever the test is about: an invalid one fails that test. An operation that had a valid
success is a fact, such as "wrenn GET /v1/capsules"; facts are kept in the ``record.txt`` of the nearest folder above.
"""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import httpx

from tests.contract.documents import Document

ROOT = Path(__file__).parents[2]
NAME = "record.txt"

shown: dict[Path, set[str]] = {}  # by this process: folder -> facts


def listening(document: Document) -> dict[str, list[Callable[..., Any]]]:
    """Event hooks of an ``httpx.AsyncClient``."""

    async def compare(answer: httpx.Response) -> None:
        if operation := asked(document, answer):
            if document.has_json(operation, answer):
                await answer.aread()
            note(document, operation, answer)

    return {"response": [compare]}


def listening_sync(document: Document) -> dict[str, list[Callable[..., Any]]]:
    """Event hooks of an ``httpx.Client``."""

    def compare(answer: httpx.Response) -> None:
        if operation := asked(document, answer):
            if document.has_json(operation, answer):
                answer.read()
            note(document, operation, answer)

    return {"response": [compare]}


def asked(document: Document, answer: httpx.Response) -> str | None:
    path = answer.request.url.raw_path.decode().partition("?")[0]
    return document.find(answer.request.method, path)


def note(document: Document, operation: str, answer: httpx.Response) -> None:
    document.check(operation, answer)
    if not answer.is_error:  # Some operations end with a redirect.
        add(document.key, operation)


def opened(document: Document, path: str) -> None:
    """A WebSocket was opened at ``path``, which is below the document's prefix: that operation worked."""
    prefix = document.prefix.replace("{", "").replace("}", "")
    if operation := document.find("GET", prefix + path.partition("?")[0]):
        add(document.key, operation)


def add(key: str, operation: str) -> None:
    """``key`` is the API's; the caller has compared the answer."""
    test = os.environ["PYTEST_CURRENT_TEST"].partition("::")[0]
    shown.setdefault(home_of(ROOT / test), set()).add(f"{key} {operation}")


@cache
def home_of(test: Path) -> Path:
    for folder in test.parents:
        if (folder / NAME).exists():
            return folder
        if folder == ROOT:
            break
    raise AssertionError(f"No folder of {test.relative_to(ROOT)} has a {NAME}: make an empty one")


def homes() -> list[Path]:
    """The folders that have records."""
    return sorted(path.parent for path in (ROOT / "tests").rglob(NAME))


def kept(home: Path) -> set[str]:
    return set((home / NAME).read_text().splitlines())


def keep(home: Path, facts: set[str]) -> None:
    (home / NAME).write_text("".join(f"{fact}\n" for fact in sorted(facts)))


def files_of(home: Path) -> set[str]:
    """Those whose tests all have to run for a whole record, as pytest names them."""
    return {str(path.relative_to(ROOT)) for path in home.rglob("test_*.py") if home_of(path) == home}
