"""``moonpool keys``: API keys, on the server itself and without a running one."""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from moonpool.access.model import ALL_SCOPES, ApiKey, Principal, Scope
from moonpool.cli.access import with_access
from moonpool.cli.output import print_table

if TYPE_CHECKING:
    from moonpool.access.service import AccessService

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys.")
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
T = TypeVar("T")
COLUMNS = ("name", "masked", "scopes", "created_at", "last_used_at", "expires_at")


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What the key is for; unique among this server's keys.")],
    scope: Annotated[list[Scope] | None, typer.Option(help="May be given several times; all when left out.")] = None,
    days: Annotated[float | None, typer.Option(help="Days until it expires; never when left out.", min=0.001)] = None,
    as_json: Json = False,
) -> None:
    """Make a key. It is shown this once."""
    expires_at = datetime.now(UTC) + timedelta(days=days) if days else None
    scopes = frozenset(scope) if scope else ALL_SCOPES
    made = _with_access(lambda access, who: access.create_key(who, name, scopes, expires_at))
    print(json.dumps({**describe(made.key), "key": made.secret}) if as_json else made.secret)


@app.command("list")
def list_keys(as_json: Json = False) -> None:
    """Every key, without its secret."""
    rows = [describe(key) for key in _with_access(lambda access, who: access.list_keys(who))]
    if as_json:
        print(json.dumps(rows))
        return
    print_table(COLUMNS, [[cell(row[column]) for column in COLUMNS] for row in rows])


@app.command("revoke")
def revoke(name: Annotated[str, typer.Argument(help="The key's name or id.")]) -> None:
    """End a key. A running server that has just seen it takes it for at most 10 more seconds."""
    print(_with_access(lambda access, who: access.revoke_key(who, name)).name)


def cell(value: object) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value or "never")


def describe(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "masked": key.masked,
        "scopes": sorted(scope.value for scope in key.scopes),
        "created_at": key.created_at.isoformat(timespec="seconds"),
        "last_used_at": key.last_used_at.isoformat(timespec="seconds") if key.last_used_at else None,
        "expires_at": key.expires_at.isoformat(timespec="seconds") if key.expires_at else None,
    }


def _with_access(action: Callable[["AccessService", Principal], Awaitable[T]]) -> T:
    async def run(access: "AccessService") -> T:
        return await action(access, await access.local_principal())

    return with_access(run)
