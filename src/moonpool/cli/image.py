"""``moonpool image``: the images that sandboxes start from."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from moonpool.cli.settings import data_lock, load_settings
from moonpool.hosts.images import build_images, list_images
from moonpool.hosts.parts import Progress as Report

app = typer.Typer(no_args_is_help=True, help="The images that sandboxes start from.")
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.command("list")
def list_command(as_json: Json = False) -> None:
    """Every image on this host."""
    rows = [{"name": image.name, "recipe": image.hash} for image in list_images(load_settings().host())]
    if as_json:
        print(json.dumps(rows))
        return
    table = Table("name", "recipe")
    for row in rows:
        table.add_row(row["name"], row["recipe"])
    Console().print(table)


@app.command("build")
def build() -> None:
    """Build the base image where it is missing or its recipe has changed; seconds where it has not."""
    settings = load_settings()
    with data_lock(settings.data), showing_progress() as report:
        build_images(settings.host(), report)


@contextmanager
def showing_progress() -> Iterator[Report]:
    """A bar on a terminal; a line a phase elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        seen: set[str] = set()

        def lines(phase: str, _fraction: float) -> None:
            if phase not in seen:
                seen.add(phase)
                console.print(phase)

        yield lines
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("Starting", total=1.0)

        def bar(phase: str, fraction: float) -> None:
            progress.update(task, description=phase, completed=fraction)

        yield bar
