"""``moonpool bench``: measures this machine."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


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
    import asyncio

    from moonpool.bench.report import as_json, as_markdown, as_table
    from moonpool.bench.run import QUICK, Plan, run, run_typing

    errors = Console(stderr=True)
    plan = QUICK if quick else Plan()

    def say(phase: str) -> None:
        errors.print(f"measuring: {phase}")

    with tempfile.TemporaryDirectory(prefix="moonpool-bench-", dir="/var/tmp") as temporary:
        folder = (data or Path(temporary)).resolve()
        measuring = run(folder, plan, say) if typing is None else run_typing(folder, 60 * typing, say)
        figures, plain = asyncio.run(measuring)
    if markdown:
        markdown.write_text(as_markdown(figures, plain))
    if as_json_text:
        print(as_json(figures, plain))
    else:
        Console().print(as_table(figures, plain))
