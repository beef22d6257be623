"""How much of the registry each team takes: counted along, and on disk where that would refuse something."""

from collections.abc import Awaitable, Callable

from moonpool.access.limits import LimitBook
from moonpool.clock import Clock
from moonpool.errors import LimitExceeded

MEBIBYTE = 1 << 20
RECOUNT_AFTER = 60.0  # seconds


class Ledger:
    """``count`` looks at the disk for what a team has there, in bytes."""

    def __init__(self, limits: LimitBook, count: Callable[[str], Awaitable[int]], clock: Clock) -> None:
        self._limits, self._count, self._clock = limits, count, clock
        self._used: dict[str, int] = {}
        self._counted_at: dict[str, float] = {}

    async def charge(self, team_id: str, amount: int) -> None:
        """LimitExceeded, and nothing is charged."""
        limit = self._limits.of(team_id).registry_mib
        if team_id not in self._used:
            await self.recount(team_id)
        if limit is not None and self._used[team_id] + amount > limit * MEBIBYTE:
            if self._clock.monotonic() - self._counted_at[team_id] >= RECOUNT_AFTER:
                await self.recount(team_id)
            if self._used[team_id] + amount > limit * MEBIBYTE:
                message = f"The team's images take more than the {limit} MiB that they may"
                raise LimitExceeded(message, hint="Delete some; what none needs goes after a day.")
        self._used[team_id] += amount

    def release(self, team_id: str, amount: int) -> None:
        if team_id in self._used:
            self._used[team_id] -= amount

    async def recount(self, team_id: str) -> None:
        self._counted_at[team_id] = self._clock.monotonic()
        self._used[team_id] = await self._count(team_id)

    def forget(self, team_id: str) -> None:
        self._used.pop(team_id, None)
