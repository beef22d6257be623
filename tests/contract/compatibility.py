"""Writes docs/compatibility.md from the records of the contract tests (record.py) and the notes (notes.py).

    .venv/bin/python -m tests.contract.compatibility                      run all contract tests, write records and page
    .venv/bin/python -m tests.contract.compatibility tests/contract/wrenn    that folder's tests alone
    .venv/bin/python -m tests.contract.compatibility --page               run nothing: the page of the records on disk

A test holds page, records and the dialects' tables against each other; ./test holds the records against its own run.
"""

import subprocess
import sys
from collections.abc import Iterator

from moonpool.dialects.codesandbox.pitcher.methods import METHODS as PITCHER_METHODS
from tests.contract import record
from tests.contract.documents import CODESANDBOX, DAYTONA, FREESTYLE, TOOLBOX, WRENN
from tests.contract.notes import NOTES, REFUSED

PAGE = record.ROOT / "docs" / "compatibility.md"
DOCUMENTS = (DAYTONA, TOOLBOX, WRENN, FREESTYLE, CODESANDBOX)
PITCHER = "CodeSandbox, agent protocol (messages over a WebSocket, `/pitcher/{id}`)"
WORKS, PARTLY, NEVER, NOT_YET = STATES = "works", "partly", "refused", "not yet"
Row = tuple[str, str, str]  # operation, state, note
HEAD = """\
# Compatibility

A row for each operation of the four APIs. Made from a run of the contract tests by
`python -m tests.contract.compatibility`; do not edit.

*works*: contract tests called it, and each of its answers, errors too, was valid by the vendor's document (for the
agent protocol: by the SDK's types). *partly*: so too, and the note says what is missing. *refused*: there is nothing
here that it could be about, and the note says why. *not yet*: no test has had a success of it. Both are answered with a
clear error of that API, never with a wrong success.
"""


def facts() -> set[str]:
    return {fact for home in record.homes() for fact in record.kept(home)}


def operations() -> dict[str, list[str]]:
    """By API."""
    named = {
        document.key: sorted(document.operations, key=lambda operation: operation.split(" ")[::-1])
        for document in DOCUMENTS
    }
    return {**named, "pitcher": [f"message {name}" for name in PITCHER_METHODS]}


def shown() -> dict[str, set[str]]:
    """By API: the operations with a valid success."""
    known = facts()
    return {
        key: {operation for operation in named if f"{key} {operation}" in known} for key, named in operations().items()
    }


def rows(key: str, known: set[str]) -> Iterator[Row]:
    for operation in operations()[key]:
        note = NOTES[key].get(operation, "")
        if f"{key} {operation}" not in known:
            reason = REFUSED.get(key, {}).get(operation, "")
            yield operation, NEVER if reason else NOT_YET, reason
        else:
            yield operation, PARTLY if note else WORKS, note


def page() -> str:
    known = facts()
    titles = {document.key: document.title for document in DOCUMENTS} | {"pitcher": PITCHER}
    tables = {title: list(rows(key, known)) for key, title in titles.items()}
    lines = [HEAD, f"| API | {' | '.join(STATES)} |", "| --- | --- | --- | --- | --- |"]
    for title, table in tables.items():
        counts = " | ".join(str(sum(entry[1] == state for entry in table)) for state in STATES)
        lines.append(f"| {title} | {counts} |")
    for title, table in tables.items():
        lines += ["", f"## {title}", "", "| operation | state | note |", "| --- | --- | --- |"]
        lines += [f"| `{operation}` | {' | '.join(rest)} |" for operation, *rest in table]
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    code = 0
    if arguments != ["--page"]:
        where = arguments or [str(home.relative_to(record.ROOT)) for home in record.homes()]
        pytest = [sys.executable, "-m", "pytest", "-q", "--record", "-n", "2", "--dist", "loadfile", *where]
        code = subprocess.run(pytest, cwd=record.ROOT, check=False).returncode
    PAGE.write_text(page())
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
