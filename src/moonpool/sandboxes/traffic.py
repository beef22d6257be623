"""Traffic over a sandbox's network as activity, where its timers ask for that."""

import asyncio
import contextlib

import structlog

from moonpool.errors import MoonpoolError
from moonpool.sandboxes.activity import Activity
from moonpool.sandboxes.machines import Machines
from moonpool.sandboxes.model import Sandbox, SandboxState
from moonpool.sandboxes.records import Records

LOOK_EVERY = 10.0  # seconds; nothing tells of traffic

log = structlog.get_logger(__name__)


class TrafficWatch:
    def __init__(self, records: Records, machines: Machines, activity: Activity) -> None:
        self._records = records
        self._machines = machines
        self._activity = activity
        self._before: dict[str, int] = {}
        self._looking: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._looking = asyncio.get_running_loop().create_task(self._look(), name="traffic watch")

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking

    async def look(self) -> None:
        """Touch every sandbox that had traffic enough since the last look."""
        watched = {sandbox.id: sandbox for sandbox in self._records.all() if is_watched(sandbox)}
        if not watched:
            self._before.clear()
            return
        now = await self._machines.traffic()
        for sandbox_id in watched.keys() & now.keys():
            before = self._before.get(sandbox_id, 0)
            passed = now[sandbox_id] - before if now[sandbox_id] >= before else now[sandbox_id]
            if passed and passed >= (watched[sandbox_id].timers.activity_bytes or 0) and sandbox_id in self._before:
                self._activity.touch(watched[sandbox_id])
        self._before = {sandbox_id: now[sandbox_id] for sandbox_id in watched.keys() & now.keys()}

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            try:
                await self.look()
            except MoonpoolError as error:
                log.warning("traffic_unknown", reason=error.message)


def is_watched(sandbox: Sandbox) -> bool:
    timers = sandbox.timers
    idles = timers.auto_pause or timers.auto_stop or timers.idle_timeout
    return sandbox.state is SandboxState.RUNNING and timers.activity_bytes is not None and bool(idles)
