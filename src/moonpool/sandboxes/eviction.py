"""What is removed when space runs out: the least wanted first, then what was used least lately.

Only what its owner has called expendable, and only what is at rest, can be evicted. A request that finds the disk full
costs its own team's things alone. When the disk fills up by itself, the team that has most of such things goes first.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

import structlog

from moonpool.errors import MemoryDoesNotFit, MoonpoolError, NoDiskSpace
from moonpool.sandboxes.background import Background
from moonpool.sandboxes.machines import Machines

EVICTED = "evicted: the server's disk was full"
MOST = 64  # evictions for one request

Result = TypeVar("Result")
log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Candidate:
    """Something that may go. ``evict`` takes the reason."""

    id: str
    team_id: str
    priority: int
    last_used: datetime
    evict: Callable[[str], Awaitable[object]]


class Evictable(Protocol):
    def candidates(self) -> Iterable[Candidate]:
        """Everything of this kind that may go now, whoever's."""
        ...


class Eviction:
    """``add`` what can be evicted, then ``watch`` the disk."""

    def __init__(self, machines: Machines, background: Background) -> None:
        self._machines = machines
        self._background = background
        self._kinds: list[Evictable] = []
        self._turn = asyncio.Lock()

    def add(self, kind: Evictable) -> None:
        self._kinds.append(kind)

    def watch(self) -> None:
        """From now on room is made whenever the host says that it is scarce."""
        self._machines.on_scarce(self._scarce)

    async def with_room(self, team_id: str, spared: Collection[str], work: Callable[[], Awaitable[Result]]) -> Result:
        """What ``work`` gives; where it finds the disk full it is tried again after each thing of the team's that went.

        ``spared``: ids that ``work`` itself needs. NoDiskSpace, MemoryDoesNotFit: nothing is left that could go.
        """
        for _ in range(MOST):
            try:
                return await work()
            except (NoDiskSpace, MemoryDoesNotFit):
                if not await self._make_room(team_id, spared):
                    raise
        return await work()

    async def _make_room(self, team_id: str, spared: Collection[str]) -> bool:
        """Whether it is worth another try. Requests that wait for each other's room take one thing, not one each."""
        waited = self._turn.locked()
        async with self._turn:
            if waited and await self._machines.reclaim():
                return True
            return await self._evict_one(lambda one: one.team_id == team_id and one.id not in spared)

    def _scarce(self) -> None:
        if not self._turn.locked() and next(self._all(), None) is not None:
            self._background.spawn(self._relieve(), "make room")

    async def _relieve(self) -> None:
        async with self._turn:
            while not await self._machines.reclaim():
                held = Counter(candidate.team_id for candidate in self._all())
                if not held:
                    return
                most = held.most_common(1)[0][0]
                if not await self._evict_one(lambda one, team=most: one.team_id == team):  # type: ignore[misc]
                    return

    async def _evict_one(self, wanted: Callable[[Candidate], bool]) -> bool:
        """False when there is nothing that may go, or it could not."""
        found = min(
            (candidate for candidate in self._all() if wanted(candidate)),
            key=lambda candidate: (candidate.priority, candidate.last_used),
            default=None,
        )
        if found is None:
            return False
        log.warning("evicted", subject=found.id, team=found.team_id, priority=found.priority)
        try:
            await found.evict(EVICTED)
        except MoonpoolError as error:
            log.error("not_evicted", subject=found.id, reason=error.message)
            return False
        await self._machines.reclaim()
        return True

    def _all(self) -> Iterator[Candidate]:
        return (candidate for kind in self._kinds for candidate in kind.candidates())
