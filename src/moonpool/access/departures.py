"""What deleted teams leave behind: destroyed by whoever keeps it, over as many starts of the server as it takes."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from moonpool.access.model import ALL_SCOPES, Principal, TeamRole
from moonpool.access.people import Team
from moonpool.access.team_repository import TeamRepository
from moonpool.clock import Clock
from moonpool.errors import MoonpoolError
from moonpool.store.database import Store

Empty = Callable[[Principal], Awaitable[None]]

log = structlog.get_logger(__name__)


class Departures:
    """``kinds`` destroy all of one kind that a team has, in this order; each may be done again."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._teams = TeamRepository()
        self._kinds: list[Empty] = []
        self._turn = asyncio.Lock()

    def add(self, kind: Empty) -> None:
        self._kinds.append(kind)

    async def run(self) -> None:
        """For every deleted team that is not empty yet; one that cannot be emptied now is for the next time."""
        async with self._turn:
            async with self._store.reading() as connection:
                leaving = await self._teams.to_empty(connection)
            for team in leaving:
                try:
                    await self._empty(team)
                except MoonpoolError as error:
                    log.warning("team_not_emptied", team=team.id, reason=error.message)

    async def _empty(self, team: Team) -> None:
        # Nobody is a member any more; the server itself acts in their stead.
        principal = Principal(team.id, team.created_by or "", None, ALL_SCOPES, role=TeamRole.OWNER)
        for kind in self._kinds:
            await kind(principal)
        async with self._store.transaction() as transaction:
            await self._teams.update(transaction, team.id, emptied_at=self._clock.now())
        log.info("team_emptied", team=team.id)
