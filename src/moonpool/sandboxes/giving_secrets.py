"""Secrets of a sandbox that is there: for what starts inside from now on, where it runs, else with its next start."""

from collections.abc import Mapping
from dataclasses import replace

from moonpool.errors import InvalidState
from moonpool.sandboxes.flights import Accept, Flights, Operation
from moonpool.sandboxes.machines import Machines
from moonpool.sandboxes.model import Sandbox, SandboxState
from moonpool.sandboxes.records import Records
from moonpool.secrets.catalogue import SecretCatalogue, check_variables
from moonpool.secrets.model import TeamSecret

CHANGEABLE = (SandboxState.RUNNING, SandboxState.STOPPED, SandboxState.ARCHIVED)


class GivingSecrets:
    def __init__(self, records: Records, machines: Machines, flights: Flights, catalogue: SecretCatalogue) -> None:
        self._records = records
        self._machines = machines
        self._flights = flights
        self._catalogue = catalogue

    def known(self, sandbox: Sandbox) -> Mapping[str, TeamSecret]:
        return self._catalogue.known(sandbox.team_id, sandbox.secrets)

    async def set(self, sandbox: Sandbox, wanted: Mapping[str, str]) -> Sandbox:
        """``wanted``: names of secrets by variable; they replace those there were. The row comes last: a server that is
        killed in between has given a running sandbox something that ends with its memory."""
        secrets = self._catalogue.resolve(sandbox.team_id, check_variables(wanted))

        async def work(_accept: Accept) -> Sandbox:
            current = self._records.current(sandbox.id)
            if current.state not in CHANGEABLE:
                hint = "Start or resume it first."
                raise InvalidState(f"Sandbox is {current.state}", hint=hint, state=current.state)
            if current.state is SandboxState.RUNNING:
                await self._tell(current, secrets)
            return await self._records.change(current.id, lambda row: replace(row, secrets=secrets))

        return await self._flights.launch(sandbox.id, Operation.CHANGE, work).outcome(wait=True)

    async def _tell(self, sandbox: Sandbox, secrets: Mapping[str, str]) -> None:
        """A variable that a secret hid has its own value again."""
        values = self._catalogue.values(sandbox.team_id, secrets)
        gone = sandbox.secrets.keys() - values.keys()
        shown = {name: sandbox.env[name] for name in gone if name in sandbox.env}
        async with self._machines.session(sandbox.id) as agent:
            await agent.environment({**shown, **values}, sorted(gone - shown.keys()))
