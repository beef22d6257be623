"""``moonpool doctor``: what this machine can do, what is missing, what is left over."""

import json
from dataclasses import asdict
from typing import Annotated

import httpx
import typer
from rich.console import Console
from rich.table import Table

from moonpool.cli.client import CommandFailed
from moonpool.cli.settings import data_lock, load_settings
from moonpool.hosts.inspection import Finding, Verdict, cgroup_names, inspect_machine, leftovers
from moonpool.hosts.settings import HostSettings

COLOURS = {Verdict.GOOD: "green", Verdict.NOTE: "yellow", Verdict.BAD: "red"}


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False) -> None:
    """Say what this machine can do, what is missing, what to run. Ends with 1 when something is wrong."""
    settings = load_settings()
    findings = [*inspect_machine(settings.host()), leak_check(settings.host(), settings.listen)]
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings]))
    else:
        show(findings)
    raise typer.Exit(any(finding.verdict is Verdict.BAD for finding in findings))


def show(findings: list[Finding]) -> None:
    table = Table("what", "verdict", "found", "what to do")
    for finding in findings:
        colour = COLOURS[finding.verdict]
        table.add_row(finding.subject, f"[{colour}]{finding.verdict.value}[/]", finding.text, finding.hint)
    Console().print(table)


def leak_check(settings: HostSettings, listen: str) -> Finding:
    """With no server running, everything of it must be gone; with one, its own count must fit what is there."""
    try:
        with data_lock(settings.data):
            return _no_server(settings)
    except CommandFailed:
        return _beside_server(settings, listen)


def _no_server(settings: HostSettings) -> Finding:
    found = leftovers(settings)
    if not found:
        return Finding("leftovers", Verdict.GOOD, "no server runs, and nothing of one is left")
    return Finding("leftovers", Verdict.NOTE, "; ".join(found), "The next start of the server adopts or removes them.")


def _beside_server(settings: HostSettings, listen: str) -> Finding:
    try:
        answer = httpx.get(f"http://{listen}/healthz", timeout=5.0, trust_env=False).json()
    except (httpx.HTTPError, ValueError):
        return Finding("leftovers", Verdict.NOTE, f"a server holds the data folder but {listen} does not answer")
    expected, found = answer["running"] + answer["warm"], len(cgroup_names(settings))
    text = f"{answer['running']} sandboxes and {answer['warm']} warm members, {found} control groups"
    if found <= expected:
        return Finding("leftovers", Verdict.GOOD, text)
    return Finding("leftovers", Verdict.NOTE, text, "Members being made or removed count too; ask again in a moment.")
