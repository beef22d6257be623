"""``moonpool image``: the images that sandboxes start from."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from moonpool.cli.output import print_table
from moonpool.cli.settings import data_lock, load_settings, lock_holder

if TYPE_CHECKING:
    from moonpool.config import Settings
    from moonpool.engine.images import Image

Report = Callable[[str, float], None]  # a phase, and how much of all is done, 0 to 1
app = typer.Typer(no_args_is_help=True, help="The images that sandboxes start from.")
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.command("list")
def list_command(as_json: Json = False) -> None:
    """Every image on this host."""
    rows = [{"name": image.name, "recipe": image.hash} for image in images_here(load_settings())]
    if as_json:
        print(json.dumps(rows))
    else:
        print_table(("name", "recipe"), [(row["name"], row["recipe"]) for row in rows])


@app.command("pull")
def pull(
    reference: Annotated[str, typer.Argument(help="An image of a registry: NAME:TAG or NAME@sha256:...")],
    name: Annotated[str | None, typer.Option(help="Of the snapshot; the reference when left out.")] = None,
) -> None:
    """Fetch an image by way of a running server; sandboxes can then start from the snapshot of that name."""
    from moonpool.cli.building import follow, make

    follow(make({"name": name or reference.replace("/", "-"), "imageName": reference}))


@app.command("build")
def build(
    folder: Annotated[
        Path | None, typer.Argument(help="With a Dockerfile in it; the base image when left out.")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="The Dockerfile, when it is another one.")] = None,
    name: Annotated[str | None, typer.Option(help="Of the snapshot; the folder's name when left out.")] = None,
    build_arg: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE of an ARG; NAME alone: as in the environment. May be repeated.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="The stage to build; the last one when left out.")] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Carry out every step anew.")] = False,
) -> None:
    """Build a snapshot from a folder with a Dockerfile, by way of a running server. Without a folder: build the base
    image where it is missing or its recipe has changed, which takes seconds where it has not."""
    if folder is not None:
        from moonpool.cli.building import arguments_of, build_folder

        asked = {"buildArgs": arguments_of(build_arg or ()), "target": target, "skipCache": no_cache}
        build_folder(folder, file or folder / "Dockerfile", name or folder.resolve().name, asked)
        return
    from moonpool.hosts.images import build_images, images_are_current

    settings = load_settings()
    if lock_holder(settings.data) and images_are_current(settings.host()):
        Console(stderr=True).print("images ready")
        return
    with data_lock(settings.data, "builds images"), showing_progress() as report:
        build_images(settings.host(), report)


def images_here(settings: "Settings") -> "list[Image]":
    """Beside a server its own view is used; without one nothing is made in order to look."""
    from moonpool.hosts.images import list_images

    if lock_holder(settings.data):
        return list_images(settings.host())
    if not any((settings.data / name).exists() for name in ("pool", "pool.img")):
        return []
    with data_lock(settings.data, "lists images"):
        return list_images(settings.host())


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
