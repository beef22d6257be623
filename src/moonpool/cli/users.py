"""``moonpool users``: accounts of people, on the server itself and without a running one."""

import json
import secrets
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from moonpool.access.model import Principal, TeamRole
from moonpool.cli.access import with_database
from moonpool.cli.client import CommandFailed
from moonpool.cli.output import print_table

if TYPE_CHECKING:
    from moonpool.access.administration import Administration
    from moonpool.access.people import User
    from moonpool.access.service import AccessService

app = typer.Typer(no_args_is_help=True, help="Make, list and change accounts of people.")
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Email = Annotated[str, typer.Argument(help="The account's mail address.")]
T = TypeVar("T")
COLUMNS = ("email", "name", "status", "administrator", "created_at")
WRONG_USE = 2  # exit code
SECRET_BYTES = 15  # 20 characters


@app.command("create")
def create(
    email: Email,
    name: Annotated[str, typer.Option(help="What the person is called; the address otherwise.")] = "",
    admin: Annotated[bool, typer.Option("--admin", help="May administer the whole server.")] = False,
    team: Annotated[str | None, typer.Option(help="A team to be in, beside one of their own.")] = None,
    role: Annotated[TeamRole, typer.Option(help="What they are in that team.")] = TeamRole.MEMBER,
) -> None:
    """Make an account. Its password is read from standard input; from a terminal, one is made and shown this once."""
    password, made = wanted_password()

    async def add(access: "AccessService", people: "Administration", operator: Principal) -> None:
        team_id = None if team is None else (await access.team_named(team)).id
        await people.create_user(
            operator, email, name or email, password, platform_admin=admin, team_id=team_id, role=role
        )

    _with_people(add)
    print(password if made else email)


@app.command("list")
def list_users(as_json: Json = False) -> None:
    """Every account."""

    async def read(_: "AccessService", people: "Administration", operator: Principal) -> "list[User]":
        return await people.users(operator)

    rows = [describe(user) for user in _with_people(read)]
    if as_json:
        print(json.dumps(rows))
        return
    print_table(COLUMNS, [[str(row[column]) for column in COLUMNS] for row in rows])


@app.command("password")
def password(email: Email) -> None:
    """Set another password, read as for ``create``. Every session of the account ends."""
    new, made = wanted_password()

    async def change(_: "AccessService", people: "Administration", operator: Principal) -> None:
        user = await people.user_by_email(operator, email)
        await people.set_password(operator, user.id, new)

    _with_people(change)
    print(new if made else email)


@app.command("disable")
def disable(email: Email) -> None:
    """Nobody signs in with it any more, and its keys open nothing; a running server follows within 10 seconds."""
    _set_active(email, False)


@app.command("enable")
def enable(email: Email) -> None:
    """Undo ``disable``, or the deletion of an account within 15 days."""
    _set_active(email, True)


@app.command("admin")
def admin(
    email: Email, revoke: Annotated[bool, typer.Option("--revoke", help="Take it away instead.")] = False
) -> None:
    """Let somebody administer the whole server."""

    async def change(_: "AccessService", people: "Administration", operator: Principal) -> None:
        user = await people.user_by_email(operator, email)
        await people.set_admin(operator, user.id, not revoke)

    _with_people(change)
    print(email)


def wanted_password() -> tuple[str, bool]:
    """Never an argument, which everybody on the machine could read. And whether it was made here."""
    if sys.stdin.isatty():
        return secrets.token_urlsafe(SECRET_BYTES), True
    given = sys.stdin.readline().rstrip("\n")
    if not given:
        raise CommandFailed("A password is read from standard input, and there is none", WRONG_USE)
    return given, False


def describe(user: "User") -> dict[str, object]:
    return {
        "id": user.id,
        "email": user.email,
        "name": user.name,
        "status": user.status.value,
        "administrator": user.platform_admin,
        "created_at": user.created_at.isoformat(timespec="seconds"),
    }


def _set_active(email: str, active: bool) -> None:
    async def change(_: "AccessService", people: "Administration", operator: Principal) -> None:
        user = await people.user_by_email(operator, email)
        await people.set_active(operator, user.id, active)

    _with_people(change)
    print(email)


def _with_people(action: "Callable[[AccessService, Administration, Principal], Awaitable[T]]") -> T:
    from moonpool.access.community import open_community

    async def run(database: str) -> T:
        async with open_community(database) as (access, people):
            return await action(access, people.administration, await access.local_principal())

    return with_database(run)
