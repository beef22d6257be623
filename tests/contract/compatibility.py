"""Writes docs/compatibility.md from the contracts and from what the dialects answer.

    .venv/bin/python -m tests.contract.compatibility

A test fails while the page and the code disagree.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from fastapi.routing import APIRoute

from moonpool.dialects.codesandbox import ROUTERS as CODESANDBOX_ROUTERS
from moonpool.dialects.codesandbox.pitcher.methods import METHODS as PITCHER_METHODS
from moonpool.dialects.daytona.operations import UNSUPPORTED
from moonpool.dialects.freestyle.app import HANDLERS as FREESTYLE_HANDLERS
from moonpool.dialects.freestyle.operations import OPERATIONS as FREESTYLE_OPERATIONS
from moonpool.dialects.wrenn import ROUTERS
from moonpool.dialects.wrenn.operations import OPERATIONS
from moonpool.dialects.wrenn.unavailable import Unavailable, remaining

CONTRACTS = Path(__file__).parent
PAGE = CONTRACTS.parents[1] / "docs" / "compatibility.md"
METHODS = ("get", "post", "put", "patch", "delete")
WORKS, PARTLY, NOT_YET = "works", "partly", "not yet"
Row = tuple[str, str, str, str]  # method, path, state, note

NOTES = {
    (
        "freestyle",
        "POST /v1/vms",
    ): "No Dockerfiles, which are refused. Domains are not verified: who maps one first has it.",
    ("freestyle", "POST /v1/vms/snapshots"): "No Dockerfiles, which are refused.",
    (
        "daytona",
        "POST /sandbox",
    ): "No secrets, GPU, build recipes or linked sandboxes; each is refused by name.",
    (
        "codesandbox",
        "POST /sandbox",
    ): "Always on a VM; a bundler in the browser is not offered.",
    (
        "codesandbox",
        "POST /org/workspace/{team_id}/tokens",
    ): "For the workspace of the key that asks. Scopes to create and to edit are one.",
    ("daytona", "GET /organizations"): "The key's one team.",
    ("daytona", "GET /regions"): "One region.",
    ("daytona", "GET /shared-regions"): "One region.",
    ("toolbox", "POST /process/code-run"): "Charts need matplotlib in the sandbox.",
    ("wrenn", "GET /v1/capsules/{id}/metrics"): "The figures of this moment; no history yet.",
}


def rows() -> dict[str, list[Row]]:
    endpoints = json.loads((CONTRACTS / "daytona-endpoints.json").read_text())
    return {
        "Daytona, platform (`/api`)": list(daytona(endpoints["api"], "daytona", UNSUPPORTED.values())),
        "Daytona, toolbox (`/toolbox/{sandboxId}`)": list(daytona(endpoints["toolbox"], "toolbox", ())),
        "Wrenn": list(wrenn()),
        "Freestyle": list(freestyle()),
        "CodeSandbox": list(codesandbox()),
        "CodeSandbox, agent protocol (messages over a WebSocket, `/pitcher/{id}`)": list(pitcher()),
    }


def daytona(document: Any, vendor: str, unsupported: Iterable[tuple[str, ...]]) -> Iterator[Row]:
    missing = {" ".join(text.split()[:2]) for texts in unsupported for text in texts}
    for method, path in sorted(operations_in(document), key=lambda operation: operation[::-1]):
        yield row(vendor, method, path, f"{method} {path}" not in missing)


def operations_in(document: Any) -> Iterator[tuple[str, str]]:
    """Method and path of every operation, however deep the file has them."""
    if isinstance(document, dict):
        method, path = document.get("method"), document.get("path")
        if isinstance(method, str) and isinstance(path, str):
            yield method.upper(), path
        else:
            for value in document.values():
                yield from operations_in(value)
    elif isinstance(document, list):
        for value in document:
            yield from operations_in(value)


def wrenn() -> Iterator[Row]:
    served = [route for module in ROUTERS for route in module.router.routes]
    missing = {
        (method, route.path)
        for route in remaining(served).routes
        if isinstance(route, APIRoute) and isinstance(getattr(route.endpoint, "__self__", None), Unavailable)
        for method in route.methods
    }
    for operation in sorted(OPERATIONS, key=lambda operation: (operation.path, operation.method)):
        yield row("wrenn", operation.method, operation.path, (operation.method, operation.path) not in missing)


def codesandbox() -> Iterator[Row]:
    """A workspace cannot be created over this API; the operation says so, and that is all it does."""
    served = {
        (method, route.path)
        for module in CODESANDBOX_ROUTERS
        for route in module.router.routes
        if isinstance(route, APIRoute)
        for method in route.methods
    } - {("POST", "/org/workspace")}
    for method, path in sorted(operations_of("codesandbox"), key=lambda operation: operation[::-1]):
        yield row("codesandbox", method, path, (method, path) in served)


def pitcher() -> Iterator[Row]:
    """There is no document to hold it against: what the SDK asks for is all there is."""
    for name in PITCHER_METHODS:
        yield row("pitcher", "message", name, True)


def operations_of(vendor: str) -> Iterator[tuple[str, str]]:
    """Method and path of every operation of an OpenAPI document."""
    paths = json.loads((CONTRACTS / f"{vendor}.contract.json").read_text())["paths"]
    for path, item in paths.items():
        yield from ((method.upper(), path) for method in METHODS if method in item)


def freestyle() -> Iterator[Row]:
    for operation in sorted(FREESTYLE_OPERATIONS, key=lambda operation: (operation.path, operation.method)):
        yield row("freestyle", operation.method, operation.path, operation.id in FREESTYLE_HANDLERS)


def row(vendor: str, method: str, path: str, offered: bool) -> Row:
    if not offered:
        return method, path, NOT_YET, ""
    note = NOTES.get((vendor, f"{method} {path}"), "")
    return method, path, PARTLY if note else WORKS, note


def page() -> str:
    lines = [
        "# Compatibility",
        "",
        "A row for each operation of the four APIs. Made by `python -m tests.contract.compatibility`; do not edit.",
        "",
        "*works*: as the vendor's SDKs expect it. *partly*: the note says what is missing. *not yet*: answered with a",
        "clear error of that API, never with a wrong success.",
        "",
        "| API | works | partly | not yet |",
        "| --- | --- | --- | --- |",
    ]
    tables = rows()
    for title, table in tables.items():
        counts = " | ".join(str(sum(entry[2] == state for entry in table)) for state in (WORKS, PARTLY, NOT_YET))
        lines.append(f"| {title} | {counts} |")
    for title, table in tables.items():
        lines += ["", f"## {title}", "", "| operation | state | note |", "| --- | --- | --- |"]
        lines += [f"| `{method} {path}` | {state} | {note} |" for method, path, state, note in table]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
