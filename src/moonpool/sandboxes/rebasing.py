"""A stopped sandbox gets another root: that of a snapshot, with one folder of its own in it."""

from dataclasses import replace
from typing import Protocol

from moonpool.errors import InvalidState
from moonpool.hosts.model import MEBIBYTE
from moonpool.sandboxes.admission import Admission
from moonpool.sandboxes.flights import Accept, Flights, Operation
from moonpool.sandboxes.model import Sandbox, SandboxState
from moonpool.sandboxes.records import Records


class Roots(Protocol):
    """What this needs of a host; ``hosts.layers.Layers`` is one."""

    async def rebase(self, machine_id: str, snapshot_id: str, folder: str, limit_bytes: int) -> None:
        """The disk of a machine that does not run becomes a copy of the snapshot, with what ``folder`` (absolute) holds
        in place of the snapshot's own. In one step: a failure leaves everything as it was."""
        ...


class Rebasing:
    def __init__(self, records: Records, roots: Roots, flights: Flights, admission: Admission) -> None:
        self._records, self._roots, self._flights, self._admission = records, roots, flights, admission

    async def rebase(self, sandbox: Sandbox, snapshot: str, folder: str) -> Sandbox:
        """The disk first: a server that is killed before the row is written has the same done again, to the same end.
        InvalidState, SnapshotNotFound, SnapshotNotReady."""

        async def work(_accept: Accept) -> Sandbox:
            current = self._records.current(sandbox.id)
            if current.state is not SandboxState.STOPPED or current.never_ran:
                raise InvalidState(f"Sandbox is {current.state}, not stopped", state=current.state)
            found = self._admission.snapshots.resolve(current.team_id, snapshot)
            await self._roots.rebase(current.id, found.id, folder, current.resources.disk_mib * MEBIBYTE)
            return await self._records.change(
                current.id,
                lambda row: replace(row, snapshot=found.name, image=found.image, config=found.config),
            )

        return await self._flights.launch(sandbox.id, Operation.CHANGE, work).outcome(wait=True)
