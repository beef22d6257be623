"""``moonpool doctor``: what this machine can do, what is missing, what is left over."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from moonpool.cli.output import print_table
from moonpool.cli.settings import load_settings

COLOURS = {"ok": "green", "note": "yellow", "missing": "red", "left over": "red"}


def doctor(
    data: Annotated[Path | None, typer.Option(help="The server's data folder, where it is not the usual one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Say what this machine can do, what is missing, what is left over, what to run.

    Ends with 0 when all is well, with 1 when something is missing or left over. Changes nothing.
    """
    import asyncio

    from moonpool.archives.inspection import inspect_store
    from moonpool.cli.diagnosis import diagnose

    settings = load_settings(data=data)
    findings = [*diagnose(settings.host()), asyncio.run(inspect_store(settings.archives))]
    wrong = any(finding.wrong for finding in findings)
    if as_json:
        print(json.dumps({"ok": not wrong, "findings": [asdict(finding) for finding in findings]}))
        raise typer.Exit(wrong)
    rows = [(finding.subject, finding.verdict.value, finding.text, finding.hint) for finding in findings]
    print_table(("what", "verdict", "found", "what to do"), rows, COLOURS)
    raise typer.Exit(wrong)
