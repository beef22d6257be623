"""How much a team may have and ask for: the server's own figures, and what an operator set for one team."""

import math
from collections.abc import Mapping

from moonpool.access.model import FRACTIONAL_LIMITS, LIMIT_NAMES, LimitFigure, TeamLimits
from moonpool.access.repository import AccessRepository
from moonpool.access.team_repository import TeamRepository
from moonpool.clock import Clock
from moonpool.errors import InvalidInput, NotFound
from moonpool.store.database import Store


class LimitBook:
    """The limits of every team, in memory: asking needs no SQL. ``load`` follows what other processes wrote."""

    def __init__(self, store: Store, clock: Clock, defaults: TeamLimits) -> None:
        self.defaults = defaults
        self._store = store
        self._clock = clock
        self._repository = AccessRepository()
        self._teams = TeamRepository()
        self._own: dict[str, Mapping[str, LimitFigure]] = {}
        self._of: dict[str, TeamLimits] = {}

    async def load(self) -> None:
        async with self._store.reading() as connection:
            self._take(await self._repository.limits(connection))

    def of(self, team_id: str) -> TeamLimits:
        return self._of.get(team_id, self.defaults)

    def own(self, team_id: str) -> Mapping[str, LimitFigure]:
        """What was set for this team alone."""
        return dict(self._own.get(team_id, {}))

    async def change(
        self, team_id: str, wanted: Mapping[str, LimitFigure], *, drop: frozenset[str] = frozenset()
    ) -> None:
        """Set the ``wanted`` ones (None: no limit) and go back to the server's own for those to ``drop``. InvalidInput
        for what is no limit, NotFound for a team that is none."""
        checked = {name: check_figure(name, figure) for name, figure in wanted.items()}
        for name in drop:
            check_name(name)
        async with self._store.transaction() as transaction:
            if await self._teams.team(transaction.connection, team_id) is None:
                raise NotFound("Team not found")
            known = await self._repository.limits(transaction.connection)
            kept = {name: figure for name, figure in known.get(team_id, {}).items() if name not in drop}
            known[team_id] = {**kept, **checked}
            await self._repository.write_limits(transaction, team_id, known[team_id], self._clock.now())
            transaction.after_commit(lambda: self._take(known))

    def _take(self, rows: Mapping[str, Mapping[str, LimitFigure]]) -> None:
        # A name that this version does not know was written by a later one.
        self._own = {
            team: {name: figure for name, figure in row.items() if name in LIMIT_NAMES} for team, row in rows.items()
        }
        self._of = {team: TeamLimits(**{**vars(self.defaults), **own}) for team, own in self._own.items()}


def check_name(name: str) -> str:
    if name not in LIMIT_NAMES:
        raise InvalidInput(f"No such limit: {name}", field=name, hint=f"There are {', '.join(LIMIT_NAMES)}.")
    return name


def check_figure(name: str, figure: LimitFigure) -> LimitFigure:
    check_name(name)
    if figure is None:
        return None
    if not math.isfinite(figure) or figure < 0 or figure >= 2**53:
        raise InvalidInput(f"{name}: a number from 0 on", field=name)
    if name in FRACTIONAL_LIMITS:
        return float(figure)
    if figure != int(figure):
        raise InvalidInput(f"{name}: a whole number", field=name)
    return int(figure)
