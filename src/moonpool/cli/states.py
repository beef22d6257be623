"""``moonpool sandbox start|stop|archive|backup``: changes of state, each awaited to its end."""

import time
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.status import Status

from moonpool.cli.client import CommandFailed, call, find_target, open_client, sandbox_path
from moonpool.cli.sandbox import Name

LOOK_EVERY = 1.0  # seconds between looks at how far it is; no event tells of bytes
UNDER_WAY = ("creating", "starting", "stopping", "pausing", "resuming", "archiving", "restoring")
MEBIBYTE = 1024**2

Timeout = Annotated[float, typer.Option(help="Seconds to wait at most; what was begun goes on.")]


def register(app: typer.Typer) -> None:
    """Adds the commands to ``moonpool sandbox``."""
    for command in (start, stop, archive, backup):
        app.command()(command)


def start(sandbox: Name, timeout: Timeout = 3600.0) -> None:
    """Run a stopped, paused or archived sandbox; an archived one's disk is brought back first."""
    change(sandbox, "start", "started", timeout)


def stop(sandbox: Name, timeout: Timeout = 600.0) -> None:
    """End a sandbox's processes; its disk stays."""
    change(sandbox, "stop", "stopped", timeout)


def archive(sandbox: Name, timeout: Timeout = 3600.0) -> None:
    """Move a stopped sandbox's disk into the archive store. Starting it brings the disk back."""
    change(sandbox, "archive", "archived", timeout)


def backup(sandbox: Name, timeout: Timeout = 3600.0) -> None:
    """Copy a sandbox's disk, as it is now, into the archive store."""
    with open_client(find_target()) as client:
        row = call(client, "POST", f"{sandbox_path(sandbox)}/backup")
        row = follow(client, row, timeout)
    if row["backupState"] != "Completed":
        raise CommandFailed(f"The backup has failed: {row['backupState']}")
    print(row["id"])


def change(sandbox: str, verb: str, wanted: str, timeout: float) -> None:
    with open_client(find_target()) as client:
        row = follow(client, call(client, "POST", f"{sandbox_path(sandbox)}/{verb}"), timeout)
    if row["state"] != wanted:
        raise CommandFailed(f"Sandbox is {row['state']}: {row.get('errorReason', 'another request came in between')}")
    print(row["id"])


def follow(client: httpx.Client, row: dict[str, Any], timeout: float) -> dict[str, Any]:
    """The sandbox once nothing is under way; on a terminal it tells how far it is."""
    deadline = time.monotonic() + timeout
    with Status("", console=Console(stderr=True)) as status:
        while row["state"] in UNDER_WAY or row["backupState"] == "InProgress":
            if time.monotonic() > deadline:
                raise CommandFailed(f"Sandbox is still {row['state']}; it goes on by itself")
            moved = row.get("transferredBytes")
            status.update(row["state"] if moved is None else f"{row['state']}: {moved / MEBIBYTE:.0f} MiB")
            time.sleep(LOOK_EVERY)
            row = call(client, "GET", sandbox_path(row["id"]))
    return row
