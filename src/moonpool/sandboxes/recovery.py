"""After a crash: rows compared with what is really there, and what was in flight finished or undone."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import structlog

from moonpool.clock import Clock
from moonpool.errors import MoonpoolError
from moonpool.hosts.model import MachineState
from moonpool.sandboxes.admission import spec_of
from moonpool.sandboxes.machines import Machines
from moonpool.sandboxes.model import DesiredState, Sandbox, SandboxState
from moonpool.sandboxes.outcomes import DISK_GONE, Found
from moonpool.sandboxes.records import Records

INTERRUPTED = "the server was interrupted"
NOT_RUNNING = "its processes were gone when the server came back"
MEMORY_GONE = "its memory could not be kept"

log = structlog.get_logger(__name__)


class Act(StrEnum):
    """What the host must do first."""

    NOTHING = "nothing"
    STOP = "stop"
    DESTROY = "destroy"


@dataclass(frozen=True)
class Repair:
    """``state`` None: the row is right as it is."""

    act: Act
    state: SandboxState | None
    reason: str | None = None


S, M = SandboxState, MachineState

KEEP = Repair(Act.NOTHING, None)
LOST = Repair(Act.NOTHING, S.ERROR, DISK_GONE)
DESTROYED = Repair(Act.DESTROY, S.DESTROYED)
STOPPED = Repair(Act.STOP, S.STOPPED)
ARCHIVED = Repair(Act.NOTHING, S.ARCHIVED, INTERRUPTED)
STOPS = Repair(Act.STOP, S.STOPPED, INTERRUPTED)
LEFT_OVER = Repair(Act.DESTROY, None)  # A power cut undid the disk's removal; the archive is whole.
RUNS = Repair(Act.NOTHING, S.RUNNING)
IS_PAUSED = Repair(Act.NOTHING, S.PAUSED)

REPAIRS: Mapping[tuple[SandboxState, Found], Repair] = {
    (S.STARTING, M.RUNNING): RUNS,
    (S.STARTING, M.PAUSED): Repair(Act.STOP, S.STOPPED, INTERRUPTED),
    (S.STARTING, M.STOPPED): Repair(Act.NOTHING, S.STOPPED, INTERRUPTED),
    (S.STARTING, None): LOST,
    (S.RUNNING, M.RUNNING): KEEP,
    (S.RUNNING, M.PAUSED): IS_PAUSED,
    (S.RUNNING, M.STOPPED): Repair(Act.NOTHING, S.STOPPED, NOT_RUNNING),
    (S.RUNNING, None): LOST,
    (S.PAUSING, M.RUNNING): RUNS,
    (S.PAUSING, M.PAUSED): IS_PAUSED,
    (S.PAUSING, M.STOPPED): Repair(Act.NOTHING, S.STOPPED, MEMORY_GONE),
    (S.PAUSING, None): LOST,
    (S.PAUSED, M.RUNNING): Repair(Act.STOP, S.STOPPED, MEMORY_GONE),
    (S.PAUSED, M.PAUSED): KEEP,
    (S.PAUSED, M.STOPPED): Repair(Act.NOTHING, S.STOPPED, MEMORY_GONE),
    (S.PAUSED, None): LOST,
    (S.RESUMING, M.RUNNING): RUNS,
    (S.RESUMING, M.PAUSED): IS_PAUSED,
    (S.RESUMING, M.STOPPED): Repair(Act.NOTHING, S.STOPPED, MEMORY_GONE),
    (S.RESUMING, None): LOST,
    (S.STOPPING, M.RUNNING): STOPPED,
    (S.STOPPING, M.PAUSED): STOPPED,
    (S.STOPPING, M.STOPPED): STOPPED,
    (S.STOPPING, None): LOST,
    (S.STOPPED, M.RUNNING): Repair(Act.STOP, None),
    (S.STOPPED, M.PAUSED): Repair(Act.STOP, None),
    (S.STOPPED, M.STOPPED): KEEP,
    (S.STOPPED, None): LOST,
    (S.ARCHIVING, M.RUNNING): STOPS,
    (S.ARCHIVING, M.PAUSED): STOPS,
    (S.ARCHIVING, M.STOPPED): STOPS,
    (S.ARCHIVING, None): ARCHIVED,
    (S.ARCHIVED, M.RUNNING): LEFT_OVER,
    (S.ARCHIVED, M.PAUSED): LEFT_OVER,
    (S.ARCHIVED, M.STOPPED): LEFT_OVER,
    (S.ARCHIVED, None): KEEP,
    (S.RESTORING, M.RUNNING): RUNS,
    (S.RESTORING, M.PAUSED): STOPS,
    (S.RESTORING, M.STOPPED): STOPS,
    (S.RESTORING, None): ARCHIVED,
    (S.DESTROYING, M.RUNNING): DESTROYED,
    (S.DESTROYING, M.PAUSED): DESTROYED,
    (S.DESTROYING, M.STOPPED): DESTROYED,
    (S.DESTROYING, None): DESTROYED,
    (S.ERROR, M.RUNNING): Repair(Act.STOP, None),
    (S.ERROR, M.PAUSED): KEEP,
    (S.ERROR, M.STOPPED): KEEP,
    (S.ERROR, None): KEEP,
}

FORKS: Mapping[SandboxState, Repair] = {S.STARTING: DESTROYED}
"""A fork that was cut off is undone: what it was to be a copy of has gone on since."""

NEVER_RAN: Mapping[SandboxState, Repair] = {
    S.STARTING: Repair(Act.DESTROY, S.STOPPED, INTERRUPTED),
    S.STOPPED: KEEP,
}
"""A creation that was cut off is undone; ``start`` makes the sandbox anew. One that made it to a running machine is
finished instead, by ``REPAIRS``."""


def repair_of(sandbox: Sandbox, found: Found) -> Repair:
    """What puts a row right, given what is there."""
    if sandbox.state is S.ERROR and sandbox.doomed:
        return DESTROYED
    if found is None and sandbox.state in (S.ARCHIVING, S.ARCHIVED, S.RESTORING) and sandbox.backup.archive is None:
        return LOST
    unfinished = NEVER_RAN if sandbox.remade else FORKS
    if sandbox.never_ran and found is not M.RUNNING and sandbox.state in unfinished:
        return unfinished[sandbox.state]
    return REPAIRS.get((sandbox.state, found), KEEP)


class Recovery:
    def __init__(self, records: Records, machines: Machines, clock: Clock) -> None:
        self._records = records
        self._machines = machines
        self._clock = clock

    async def run(self) -> None:
        """At the start of a server, before it serves: every row, and machines that no row knows.

        A sandbox whose repair fails goes to ``error``; the others are repaired all the same.
        """
        machines = dict(await self._machines.machines())
        for sandbox in self._records.all():
            await self._contained(sandbox, machines.pop(sandbox.id, None))
            await self._adjust(sandbox)
        for stray in machines:
            log.warning("stray_machine", sandbox=stray)
            await self._machines.destroy(stray)

    async def _adjust(self, sandbox: Sandbox) -> None:
        """What the last server was changing when it ended: volumes, sizes and network as the row has them."""
        current = self._records.cached(sandbox.id)
        if current is None or current.state is not S.RUNNING:
            return
        try:
            await self._machines.adjust(spec_of(current))
        except MoonpoolError as error:
            log.error("adjustment_failed", sandbox=sandbox.id, reason=error.message)

    async def settle(self, sandbox: Sandbox, found: Found) -> Sandbox:
        """Put one row right; answers with it. Raises what the host raises."""
        repair = repair_of(sandbox, found)
        if repair is not KEEP:
            log.warning("repaired", sandbox=sandbox.id, was=sandbox.state, found=found, now=repair.state)
        if repair.act is Act.DESTROY:
            await self._machines.destroy(sandbox.id)
        elif repair.act is Act.STOP:
            await self._machines.stop(sandbox.id)
        if repair.state is None:
            return sandbox
        if repair.state is S.DESTROYED and sandbox.state is not S.DESTROYING:
            sandbox = await self._records.move(sandbox, S.DESTROYING, desired=DesiredState.DESTROYED)
        return await self._records.move(sandbox, repair.state, **self._fields(sandbox, repair))

    def _fields(self, sandbox: Sandbox, repair: Repair) -> dict[str, Any]:
        now = self._clock.now()
        recoverable = repair.state is S.STOPPED or (repair.state is S.ERROR and sandbox.backup.archive is not None)
        fields: dict[str, Any] = {"reason": repair.reason, "recoverable": recoverable}
        if repair.state is S.STOPPED and sandbox.state is not S.ARCHIVING:
            fields["stopped_at"] = now
        if repair.state is S.ARCHIVED:
            fields["desired"] = DesiredState.ARCHIVED
        if repair.state is S.RUNNING:
            fields["desired"] = DesiredState.RUNNING
            fields["started_at"] = sandbox.started_at or now
        return fields

    async def _contained(self, sandbox: Sandbox, found: Found) -> None:
        try:
            await self.settle(sandbox, found)
        except MoonpoolError as error:
            log.error("repair_failed", sandbox=sandbox.id, reason=error.message)
            current = self._records.current(sandbox.id)
            if current.state is not S.ERROR:
                await self._records.move(current, S.ERROR, reason=error.message, recoverable=found is not None)
