"""Everything about people, put together."""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from moonpool.access.accounts import AccountRules, AccountService, Spawn
from moonpool.access.administration import Administration
from moonpool.access.departures import Departures
from moonpool.access.invitations import InvitationService
from moonpool.access.logins import LoginService
from moonpool.access.mail import Mailer
from moonpool.access.passwords import Passwords
from moonpool.access.providers import Provider
from moonpool.access.roles import RoleService
from moonpool.access.service import AccessService
from moonpool.access.sessions import SessionService
from moonpool.access.teams import TeamService
from moonpool.clock import Clock, SystemClock
from moonpool.store.database import Store


@dataclass(frozen=True)
class Community:
    accounts: AccountService
    sessions: SessionService
    teams: TeamService
    roles: RoleService
    invitations: InvitationService
    administration: Administration
    logins: LoginService
    departures: Departures

    async def prune(self) -> None:
        await self.sessions.prune()
        await self.administration.prune()
        await self.departures.run()


def community(
    store: Store,
    clock: Clock,
    access: AccessService,
    rules: AccountRules,
    mailer: Mailer | None,
    key: bytes,
    spawn: Spawn,
    passwords: Passwords | None = None,
    providers: Iterable[Provider] = (),
) -> Community:
    """``key`` is the server's own secret; ``spawn`` does what nobody waits for."""
    departures = Departures(store, clock)
    changed: Callable[[], None] = access.people_changed

    def deleted() -> None:
        spawn(departures.run(), "empty deleted teams")

    sessions = SessionService(store, clock, key)
    teams = TeamService(store, clock, changed=changed, deleted=deleted)
    invitations = InvitationService(store, clock, teams, mailer, rules.web)
    accounts = AccountService(
        store, clock, rules, sessions, invitations, mailer, spawn=spawn, changed=changed, passwords=passwords
    )
    return Community(
        accounts=accounts,
        sessions=sessions,
        teams=teams,
        roles=RoleService(store, clock, teams, changed=changed),
        invitations=invitations,
        administration=Administration(store, clock, accounts, teams, changed=changed, deleted=deleted),
        logins=LoginService(store, clock, accounts, sessions, providers, key),
        departures=departures,
    )


@asynccontextmanager
async def open_community(database_url: str) -> AsyncIterator[tuple[AccessService, Community]]:
    """Without a running server, for commands run on the machine itself: nothing is mailed, and what is deleted is
    emptied at the server's next start."""
    store, clock = await Store.open(database_url), SystemClock()

    def leave(work: Coroutine[Any, Any, None], name: str) -> None:
        work.close()

    try:
        access = AccessService(store, clock)
        yield access, community(store, clock, access, AccountRules("closed", ""), None, b"", leave)
    finally:
        await store.close()
