"""``moonpool limits``: how much a team may have and ask for, on the server itself and without a running one."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from moonpool.access.model import LimitFigure
from moonpool.cli.access import with_access
from moonpool.cli.client import CommandFailed
from moonpool.cli.output import print_table

if TYPE_CHECKING:
    from moonpool.access.service import AccessService

WRONG_USE = 2  # exit code
NO_LIMIT, SERVERS = "none", "default"

app = typer.Typer(no_args_is_help=True, help="Show and set the limits of a team.")
Team = Annotated[str, typer.Option(help="The team's name.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.command("show")
def show(team: Team = "default", as_json: Json = False) -> None:
    """What the team may have, and what of it was set for this team alone."""

    async def read(access: "AccessService") -> tuple[dict[str, LimitFigure], set[str]]:
        found = await access.team_named(team)
        return vars(access.limits.of(found.id)), set(access.limits.own(found.id))

    figures, own = with_access(read)
    if as_json:
        print(json.dumps({"limits": figures, "own": sorted(own)}))
        return
    rows = [[name, words(figure), "this team" if name in own else "the server"] for name, figure in figures.items()]
    print_table(("limit", "figure", "set for"), rows)


@app.command("set")
def set_limits(
    limits: Annotated[list[str], typer.Argument(help="NAME=FIGURE; 'none' lifts a limit, 'default' is the server's.")],
    team: Team = "default",
) -> None:
    """Change limits of one team. A running server follows within 10 seconds; what a team has already it keeps."""
    wanted, drop = parse(limits)

    async def change(access: "AccessService") -> None:
        found = await access.team_named(team)
        await access.limits.change(found.id, wanted, drop=drop)

    with_access(change)


def parse(limits: list[str]) -> tuple[dict[str, LimitFigure], frozenset[str]]:
    """What is to be set, and what is to be the server's own again; CommandFailed for what is neither."""
    wanted: dict[str, LimitFigure] = {}
    drop: set[str] = set()
    for one in limits:
        name, _, text = one.partition("=")
        name = name.strip().replace("-", "_")
        if text == SERVERS:
            drop.add(name)
            continue
        try:
            wanted[name] = None if text == NO_LIMIT else float(text)
        except ValueError:
            raise CommandFailed(f"'{one}' is not NAME=FIGURE", WRONG_USE) from None
    return wanted, frozenset(drop)


def words(figure: LimitFigure) -> str:
    return NO_LIMIT if figure is None else f"{figure:,}"
