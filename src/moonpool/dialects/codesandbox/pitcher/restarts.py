"""Tasks that are started again when files that they name change, or the branch of the workspace's git, for as long as
anybody is connected."""

import asyncio
import posixpath
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog

from moonpool.dialects.codesandbox.pitcher.following import Wanted, follow
from moonpool.dialects.codesandbox.pitcher.place import Place, cancel
from moonpool.dialects.codesandbox.pitcher.taskfile import TaskFile
from moonpool.dialects.codesandbox.pitcher.tokens import Grant
from moonpool.dialects.codesandbox.pitcher.wire import Failure
from moonpool.errors import MoonpoolError

HEAD = ".git/HEAD"
QUIET = 0.3  # seconds without a further change, until which tasks wait
MAX_FOLDERS = 64

log = structlog.get_logger(__name__)

Again = Callable[[Grant, frozenset[str]], Awaitable[None]]


class Restarts:
    """``again`` starts the tasks of these ids again, where they run."""

    def __init__(self, place: Place, again: Again) -> None:
        self._place = place
        self._again = again
        self._wanted: Mapping[str, frozenset[str]] = {}
        self._watches: list[asyncio.Task[None]] = []
        self._changed: set[str] = set()
        self._news = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    async def close(self) -> None:
        await cancel(self._worker, *self._watches)

    async def follow(self, grant: Grant, file: TaskFile) -> None:
        """Look at what the tasks file names now, instead of what it named before."""
        wanted = tasks_by_path(grant.workspace, file)
        if wanted == self._wanted:
            return
        await cancel(*self._watches)
        self._wanted = wanted
        folders = sorted({posixpath.dirname(path) for path in wanted})[:MAX_FOLDERS]
        self._watches = [asyncio.create_task(self._watch(folder, grant.user)) for folder in folders]
        if self._worker is None:
            self._worker = asyncio.create_task(self._work(grant), name=f"restarts of {self._place.sandbox_id}")

    async def _watch(self, folder: str, user: str) -> None:
        """A folder that is not there is not looked at."""
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await follow(self._place, Wanted(folder, False, (), user), ready, self._tell)
        if ready.done() and not ready.cancelled():
            ready.exception()

    def _tell(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            for path in event["paths"]:
                self._changed |= self._wanted.get(path, frozenset())
        if self._changed:
            self._news.set()

    async def _work(self, grant: Grant) -> None:
        while True:
            await self._news.wait()
            while self._news.is_set():
                self._news.clear()
                await asyncio.sleep(QUIET)
            changed, self._changed = frozenset(self._changed), set()
            try:
                await self._again(grant, changed)
            except (MoonpoolError, Failure) as error:
                log.info("tasks_not_restarted", sandbox=self._place.sandbox_id, reason=str(error))


def tasks_by_path(workspace: str, file: TaskFile) -> dict[str, frozenset[str]]:
    """The ids of the tasks that each file is for."""
    found: dict[str, frozenset[str]] = {}
    for task in file.tasks.values():
        if task.restart_on is None:
            continue
        for name in (*task.restart_on.files, *((HEAD,) if task.restart_on.branch else ())):
            path = posixpath.join(workspace, name)
            found[path] = found.get(path, frozenset()) | {task.id}
    return found
