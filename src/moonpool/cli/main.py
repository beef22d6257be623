"""The command line, put together."""

import sys

import typer
from rich.console import Console

from moonpool.cli import bench, doctor, image, keys, sandbox, serve, up
from moonpool.cli.client import CommandFailed
from moonpool.errors import MoonpoolError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Self-hosted sandboxes for AI agents, behind the APIs you already use.",
)
app.command("serve")(serve.serve)
app.command("up")(up.up)
app.command("doctor")(doctor.doctor)
app.command("bench")(bench.bench)
app.add_typer(sandbox.app, name="sandbox")
app.add_typer(image.app, name="image")
app.add_typer(keys.app, name="keys")


def main() -> None:
    """Errors that a user can act on are a sentence and a hint, not a traceback."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        app()
    except CommandFailed as error:
        console.print(f"[red]error:[/red] {error}")
        sys.exit(1)
    except MoonpoolError as error:
        console.print(f"[red]error:[/red] {error.message}")
        if error.hint:
            console.print(f"  {error.hint}")
        sys.exit(1)
