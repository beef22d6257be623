"""The command line, put together."""

import os
import sys
from typing import NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from moonpool.cli import bench, doctor, image, keys, limits, sandbox, serve, states, up, users, volume
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
states.register(sandbox.app)
app.add_typer(sandbox.app, name="sandbox")
app.add_typer(image.app, name="image")
app.add_typer(keys.app, name="keys")
app.add_typer(volume.app, name="volume")
app.add_typer(limits.app, name="limits")
app.add_typer(users.app, name="users")


def main() -> None:
    """Errors that a user can act on are a sentence and a hint, not a traceback."""
    try:
        app()
    except CommandFailed as error:
        fail(str(error), code=error.exit_code)
    except MoonpoolError as error:
        fail(error.message, error.hint)
    except OSError as error:
        fail(str(error), "" if os.geteuid() == 0 else "Run this as root.")


def fail(message: str, hint: str = "", code: int = 1) -> NoReturn:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print("[red]error:[/red]", escape(message))
    if hint:
        console.print(" ", escape(hint))
    sys.exit(code)
