"""Volumes of a sandbox that is there: mounted and taken away again, while it runs or before its next start."""

from dataclasses import replace

from moonpool.errors import InvalidState, MoonpoolError, NotFound
from moonpool.hosts.model import Mount
from moonpool.sandboxes.admission import Admission
from moonpool.sandboxes.flights import Accept, Flights, Operation
from moonpool.sandboxes.machines import Machines
from moonpool.sandboxes.model import Sandbox, SandboxState
from moonpool.sandboxes.records import Records
from moonpool.volumes.model import WantedMount
from moonpool.volumes.paths import check_path

CHANGEABLE = (SandboxState.RUNNING, SandboxState.STOPPED)
Mounts = tuple[Mount, ...]


class Mounting:
    def __init__(self, records: Records, machines: Machines, flights: Flights, admission: Admission) -> None:
        self._records = records
        self._machines = machines
        self._flights = flights
        self._admission = admission

    async def attach(self, sandbox: Sandbox, wanted: WantedMount) -> Sandbox:
        """The row first: so the volume cannot be deleted before it is mounted, and a server that is killed in between
        leaves something that the next one finishes."""

        async def work(_accept: Accept) -> Sandbox:
            current = self._changeable(sandbox.id)
            mounts = self._admission.volumes.mounts(current.team_id, [wanted], current.mounts)
            changed = await self._records.change(
                current.id, lambda row: replace(row, mounts=mounts), within=self._admission.reserve
            )
            try:
                await self._apply(changed, mounts)
            except MoonpoolError:
                await self._records.change(current.id, lambda row: replace(row, mounts=current.mounts))
                raise
            return changed

        return await self._flights.launch(sandbox.id, Operation.CHANGE, work).outcome(wait=True)

    async def detach(self, sandbox: Sandbox, path: str) -> Sandbox:
        """The row last, for the same reason."""
        path = check_path(path)

        async def work(_accept: Accept) -> Sandbox:
            current = self._changeable(sandbox.id)
            mounts = tuple(mount for mount in current.mounts if mount.path != path)
            if len(mounts) == len(current.mounts):
                raise NotFound(f"No volume is mounted at {path}")
            await self._apply(current, mounts)
            return await self._records.change(current.id, lambda row: replace(row, mounts=mounts))

        return await self._flights.launch(sandbox.id, Operation.CHANGE, work).outcome(wait=True)

    async def _apply(self, sandbox: Sandbox, mounts: Mounts) -> None:
        if sandbox.state is SandboxState.RUNNING:
            await self._machines.set_mounts(sandbox.id, mounts)

    def _changeable(self, sandbox_id: str) -> Sandbox:
        current = self._records.current(sandbox_id)
        if current.state not in CHANGEABLE:
            raise InvalidState(f"Sandbox is {current.state}", hint="Start or resume it first.", state=current.state)
        return current
