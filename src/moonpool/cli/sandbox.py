"""``moonpool sandbox``: make sandboxes, run commands in them, list and remove them."""

import json
import sys
import time
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from moonpool.cli.client import call, find_target, open_client
from moonpool.cli.shell import open_shell

app = typer.Typer(no_args_is_help=True, help="Make sandboxes, run commands in them, list and remove them.")
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
COLUMNS = ("id", "name", "state", "snapshot", "cpu", "memory", "disk")


@app.command("list")
def list_sandboxes(as_json: Json = False) -> None:
    """Every sandbox of the key's team."""
    with open_client(find_target()) as client:
        rows: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            page = call(client, "GET", "/api/sandbox", params={"cursor": cursor} if cursor else {})
            rows += page["items"]
            cursor = page.get("nextCursor")
    if as_json:
        print(json.dumps(rows))
        return
    table = Table(*COLUMNS)
    for row in rows:
        table.add_row(*(str(row.get(column, "")) for column in COLUMNS))
    Console().print(table)


@app.command()
def run(
    command: Annotated[list[str], typer.Argument(help="What to run, as typed into a shell.")],
    snapshot: Annotated[str | None, typer.Option(help="Snapshot to start from.")] = None,
    keep: Annotated[bool, typer.Option(help="Leave the sandbox there afterwards.")] = False,
    as_json: Json = False,
) -> None:
    """Make a sandbox, run one command in it, remove it."""
    with open_client(find_target()) as client:
        started = time.perf_counter()
        sandbox = call(client, "POST", "/api/sandbox", json={"snapshot": snapshot} if snapshot else {})
        try:
            result = execute(client, sandbox["id"], " ".join(command))
            elapsed = (time.perf_counter() - started) * 1000
        finally:
            if not keep:
                call(client, "DELETE", f"/api/sandbox/{sandbox['id']}")
    if as_json:
        print(json.dumps({"id": sandbox["id"], "milliseconds": round(elapsed, 1), **result}))
    else:
        sys.stdout.write(result["result"])
    raise typer.Exit(result["exitCode"])


@app.command("exec")
def execute_command(
    sandbox: Annotated[str, typer.Argument(help="Id or name.")],
    command: Annotated[list[str], typer.Argument(help="What to run, as typed into a shell.")],
    as_json: Json = False,
) -> None:
    """Run one command in a sandbox; its exit code becomes this command's."""
    with open_client(find_target()) as client:
        identifier = call(client, "GET", f"/api/sandbox/{sandbox}")["id"]
        result = execute(client, identifier, " ".join(command))
    sys.stdout.write(json.dumps(result) + "\n" if as_json else result["result"])
    raise typer.Exit(result["exitCode"])


@app.command()
def shell(sandbox: Annotated[str, typer.Argument(help="Id or name.")]) -> None:
    """A terminal in a sandbox."""
    target = find_target()
    with open_client(target) as client:
        identifier = call(client, "GET", f"/api/sandbox/{sandbox}")["id"]
    raise typer.Exit(open_shell(target, identifier))


@app.command("rm")
def remove(sandboxes: Annotated[list[str], typer.Argument(help="Ids or names.")]) -> None:
    """Remove sandboxes with everything in them."""
    with open_client(find_target()) as client:
        for sandbox in sandboxes:
            call(client, "DELETE", f"/api/sandbox/{sandbox}")
            print(sandbox)


def execute(client: Any, identifier: str, command: str) -> dict[str, Any]:
    """``{"exitCode", "result"}`` of one command; standard output and error are merged in order."""
    answer: dict[str, Any] = call(
        client, "POST", f"/toolbox/{identifier}/process/execute", json={"command": command, "timeout": 0}, timeout=None
    )
    return {"exitCode": answer["exitCode"], "result": answer["result"]}
