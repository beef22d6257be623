"""``moonpool bench``: measures this machine."""

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def bench(
    as_json_text: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    quick: Annotated[bool, typer.Option(help="A tenth of the runs.")] = False,
    markdown: Annotated[Path | None, typer.Option(help="Also write the figures to this file.")] = None,
    data: Annotated[Path | None, typer.Option(help="Empty folder to work in; a temporary one when left out.")] = None,
) -> None:
    """Time to interactive, commands, pause, resume, transfer, density, beside plain runsc in the same run."""
    from moonpool.bench.report import as_json, as_markdown, as_table
    from moonpool.bench.run import QUICK, Plan, run

    errors = Console(stderr=True)
    plan = QUICK if quick else Plan()
    with tempfile.TemporaryDirectory(prefix="moonpool-bench-", dir="/var/tmp") as temporary:
        figures, plain = asyncio.run(
            run((data or Path(temporary)).resolve(), plan, lambda phase: errors.print(f"measuring: {phase}"))
        )
    if markdown:
        markdown.write_text(as_markdown(figures, plain))
    if as_json_text:
        print(as_json(figures, plain))
    else:
        Console().print(as_table(figures, plain))
