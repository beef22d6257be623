"""``moonpool bench``: measures this machine."""

from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console

from moonpool.cli.workplace import workplace

TERMINATED = 128 + 15  # as shells say that SIGTERM ended a program
T = TypeVar("T")


def bench(
    as_json_text: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    quick: Annotated[bool, typer.Option(help="A tenth of the runs.")] = False,
    markdown: Annotated[Path | None, typer.Option(help="Also write the figures to this file.")] = None,
    typing: Annotated[
        float | None, typer.Option(metavar="MINUTES", help="Only the 50 clients that type into shells, for so long.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Empty folder to work in; a temporary one when left out.")] = None,
) -> None:
    """Time to interactive, commands, pause, resume, transfer, density, beside plain runsc in the same run."""
    from moonpool.bench.report import as_json, as_markdown, as_table
    from moonpool.bench.run import QUICK, Plan, run, run_typing
    from moonpool.dialects.common.logs import configure_logging

    configure_logging("console", "warning")
    errors = Console(stderr=True)
    plan = QUICK if quick else Plan()

    def say(phase: str) -> None:
        errors.print(f"measuring: {phase}")

    with workplace(data) as folder:
        measuring = run(folder, plan, say) if typing is None else run_typing(folder, 60 * typing, say)
        figures, plain = finished(measuring)
    if markdown:
        markdown.write_text(as_markdown(figures, plain))
    if as_json_text:
        print(as_json(figures, plain))
    else:
        Console().print(as_table(figures, plain))


def finished(work: Coroutine[Any, Any, T]) -> T:
    """Its result. SIGTERM ends it as Ctrl-C does, with all that it has made, and the program with it."""
    import asyncio
    import signal

    async def until_told() -> T:
        if task := asyncio.current_task():
            end = task.cancel
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: task.cancelling() or end())
        return await work

    try:
        return asyncio.run(until_told())
    except asyncio.CancelledError:
        raise typer.Exit(TERMINATED) from None
