"""``moonpool sandbox``: make sandboxes, run commands in them, list and remove them."""

import json
import os
import sys
import time
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console

from moonpool.cli.client import CommandFailed, Target, call, find_target, open_client, sandbox_path
from moonpool.cli.output import print_table
from moonpool.cli.settings import WRONG_USE

app = typer.Typer(no_args_is_help=True, help="Make sandboxes, run commands in them, list and remove them.")
COLUMNS = ("id", "name", "state", "snapshot", "cpu", "memory", "disk", "created")
WORDS_FOLLOW = {"allow_interspersed_args": False}  # Options after the first word belong to the command inside.


def fetch_all(client: httpx.Client) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = call(client, "GET", "/api/sandbox", params={"cursor": cursor} if cursor else {})
        rows += page["items"]
        cursor = page.get("nextCursor")
    return rows


def complete_names(incomplete: str) -> list[str]:
    """For the shell's completion: silent where no server answers."""
    try:
        with open_client(find_target()) as client:
            names = [str(row["name"]) for row in fetch_all(client)]
    except CommandFailed:
        return []
    return [name for name in names if name.startswith(incomplete)]


Json = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]
Name = Annotated[str, typer.Argument(help="Id or name.", autocompletion=complete_names)]
Words = Annotated[
    list[str], typer.Argument(help="One word is a line for the shell; several are a program and its arguments.")
]
Environment = Annotated[
    list[str] | None, typer.Option("--env", "-e", help="NAME=VALUE, or NAME to pass on its value from here.")
]


@app.command("list")
def list_sandboxes(as_json: Json = False) -> None:
    """Every sandbox of the key's team."""
    with open_client(find_target()) as client:
        rows = fetch_all(client)
    if as_json:
        print(json.dumps(rows))
    else:
        print_table(COLUMNS, [shown(row) for row in rows])


@app.command(context_settings=WORDS_FOLLOW)
def run(
    command: Annotated[list[str] | None, typer.Argument(help="What to run in it; left out, it is only made.")] = None,
    snapshot: Annotated[str | None, typer.Option(help="Snapshot to start from.")] = None,
    name: Annotated[str | None, typer.Option(help="Its name; one is made up when left out.")] = None,
    env: Environment = None,
    keep: Annotated[bool, typer.Option("--keep/--rm", help="Leave it there, or remove it after the command.")] = False,
    as_json: Json = False,
) -> None:
    """Make a sandbox, run one command in it, remove it. Without a command it is kept."""
    body = {"snapshot": snapshot, "name": name, "env": environment_of(env)}
    keep = keep or not command
    target = find_target()
    with open_client(target) as client:
        started = time.perf_counter()
        sandbox = call(client, "POST", "/api/sandbox", json={key: value for key, value in body.items() if value})
        try:
            result = execute(target, sandbox["id"], command, as_json=as_json) if command else {"exit_code": 0}
            elapsed = round((time.perf_counter() - started) * 1000, 1)
        finally:
            if not keep:
                call(client, "DELETE", sandbox_path(sandbox["id"]))
    if as_json:
        print(json.dumps({"id": sandbox["id"], "name": sandbox["name"], "milliseconds": elapsed, **result}))
    elif keep:
        print(sandbox["id"], file=sys.stderr if command else sys.stdout)
    raise typer.Exit(result["exit_code"])


@app.command("exec", context_settings=WORDS_FOLLOW)
def execute_command(
    sandbox: Name,
    command: Words,
    env: Environment = None,
    cwd: Annotated[str | None, typer.Option(help="Folder to run it in; the user's home when left out.")] = None,
    as_json: Json = False,
) -> None:
    """Run one command in a sandbox; its exit code becomes this command's. Ctrl-C ends it there as well."""
    target = find_target()
    identifier = resolve(target, sandbox)
    words = command[1:] if command[0] == "--" else command
    result = execute(target, identifier, words, environment_of(env), cwd, as_json=as_json)
    if as_json:
        print(json.dumps(result))
    raise typer.Exit(result["exit_code"])


@app.command()
def shell(sandbox: Name) -> None:
    """A terminal in a sandbox."""
    from moonpool.cli.shell import open_shell

    target = find_target()
    raise typer.Exit(open_shell(target, resolve(target, sandbox)))


@app.command("rm")
def remove(
    sandboxes: Annotated[list[str], typer.Argument(help="Ids or names.", autocompletion=complete_names)],
) -> None:
    """Remove sandboxes with everything in them. All are tried; ends with 1 when one could not be removed."""
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    failed = False
    with open_client(find_target()) as client:
        for sandbox in sandboxes:
            try:
                call(client, "DELETE", sandbox_path(sandbox))
                print(sandbox)
            except CommandFailed as error:
                failed = True
                errors.print(f"{sandbox}: {error}", markup=False)
    raise typer.Exit(failed)


def resolve(target: Target, id_or_name: str) -> str:
    """Its id; CommandFailed where there is no such sandbox."""
    with open_client(target) as client:
        return str(call(client, "GET", sandbox_path(id_or_name))["id"])


def execute(
    target: Target,
    identifier: str,
    words: list[str],
    environment: dict[str, str] | None = None,
    folder: str | None = None,
    *,
    as_json: bool = False,
) -> dict[str, Any]:
    """``{"exit_code"}``, after all output was printed; with ``as_json`` nothing is, and it has the outputs too."""
    from moonpool.cli.command import Command, run_command

    collected = {"stdout": "", "stderr": ""}

    def collect(stream: str, text: str) -> None:
        collected[stream] += text

    code = run_command(target, identifier, Command(words, environment or {}, folder), collect if as_json else show)
    return {"exit_code": code, **(collected if as_json else {})}


def show(stream: str, text: str) -> None:
    """As bytes: the text is UTF-8 whatever this terminal's own encoding is."""
    out = sys.stderr.buffer if stream == "stderr" else sys.stdout.buffer
    out.write(text.encode())
    out.flush()


def environment_of(pairs: list[str] | None) -> dict[str, str]:
    found = {}
    for pair in pairs or []:
        name, given, value = pair.partition("=")
        if not name or (not given and name not in os.environ):
            raise CommandFailed(
                f"--env wants NAME=VALUE, or the NAME of a variable that is set here, not '{pair}'", WRONG_USE
            )
        found[name] = value if given else os.environ[name]
    return found


def shown(row: dict[str, Any]) -> list[str]:
    sizes = {"memory": f"{row.get('memory')} GiB", "disk": f"{row.get('disk')} GiB", "created": row.get("createdAt")}
    return [str({**row, **sizes}.get(column) or "") for column in COLUMNS]
