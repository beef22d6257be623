"""One commit of the pool for all who wait for one at the same time: it takes 5 to 15 ms, whatever is in it."""

import asyncio
from collections.abc import Callable

from moonpool.hosts.threads import Threads

Saving = asyncio.Task[None]  # done when what it was begun for is on disk; it raises EngineError


class SharedCommits:
    def __init__(self, commit: Callable[[], None], threads: Threads) -> None:
        self._commit, self._threads = commit, threads
        self._running: Saving | None = None
        self._next: Saving | None = None

    def begin(self) -> Saving:
        """What was done before this call is on disk once the answer is done: by a commit that begins after it, since
        one that runs already may not know of it. Others wait for it too: it is not to be cancelled."""
        if self._next is None:
            self._next = asyncio.create_task(self._run(self._running))
            self._next.add_done_callback(_taken)
        return self._next

    async def _run(self, before: Saving | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        self._running, self._next = self._next, None
        await self._threads.run(self._commit)


def _taken(commit: Saving) -> None:
    """Nobody has to ask how it ended."""
    if not commit.cancelled():
        commit.exception()
