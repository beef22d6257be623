"""``moonpool volume``: disks that sandboxes share."""

import json
from typing import Annotated, Any
from urllib.parse import quote

import typer

from moonpool.cli.client import CommandFailed, call, find_target, open_client
from moonpool.cli.output import print_table

app = typer.Typer(no_args_is_help=True, help="Make, list and remove volumes: disks that sandboxes share.")
COLUMNS = ("id", "name", "state", "size", "last used", "created")
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]


@app.command("list")
def list_volumes(as_json: Json = False) -> None:
    """Every volume of the key's team."""
    with open_client(find_target()) as client:
        rows = call(client, "GET", "/api/volumes")
    if as_json:
        print(json.dumps(rows))
    else:
        print_table(COLUMNS, [shown(row) for row in rows])


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Its name.")],
    size: Annotated[int | None, typer.Option(help="GiB that it may hold; the server's default otherwise.")] = None,
    as_json: Json = False,
) -> None:
    """Make an empty volume; prints its id."""
    body = {"name": name} | ({} if size is None else {"sizeGib": size})
    with open_client(find_target()) as client:
        made = call(client, "POST", "/api/volumes", json=body)
    print(json.dumps(made) if as_json else made["id"])


@app.command("rm")
def remove(volumes: Annotated[list[str], typer.Argument(help="Ids or names.")]) -> None:
    """Remove volumes and everything in them. One that a sandbox has mounted stays."""
    with open_client(find_target()) as client:
        for volume in volumes:
            call(client, "DELETE", volume_path(volume))
            print(volume)


def shown(row: dict[str, Any]) -> list[str]:
    used = row.get("lastUsedAt") or "never"
    return [row["id"], row["name"], row["state"], f"{row['sizeGib']:g} GiB", used, row["createdAt"]]


def volume_path(id_or_name: str) -> str:
    """What was typed stays one segment of the path; CommandFailed for what can be none."""
    if "/" in id_or_name or id_or_name in ("", ".", ".."):
        raise CommandFailed(f"Volume with ID or name '{id_or_name}' not found")
    return f"/api/volumes/{quote(id_or_name, safe='')}"
