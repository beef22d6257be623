"""Changes of what is not state: name, labels, timers, resources, network."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from moonpool.access.limits import LimitBook
from moonpool.clock import Clock
from moonpool.errors import InvalidInput, InvalidState, LimitExceeded
from moonpool.hosts.model import NetworkPolicy, Resources
from moonpool.sandboxes.admission import expiry, merged
from moonpool.sandboxes.flights import Accept, Flights, Operation
from moonpool.sandboxes.machines import Machines
from moonpool.sandboxes.model import Sandbox, SandboxChange, SandboxState
from moonpool.sandboxes.records import Records
from moonpool.sandboxes.validation import (
    check_env,
    check_labels,
    check_name,
    check_network,
    check_resources,
    check_timers,
)

AT_REST = (SandboxState.RUNNING, SandboxState.STOPPED, SandboxState.PAUSED)


class Changes:
    def __init__(self, records: Records, machines: Machines, flights: Flights, limits: LimitBook, clock: Clock) -> None:
        self._records = records
        self._machines = machines
        self._flights = flights
        self._limits = limits
        self._clock = clock

    async def apply(self, sandbox: Sandbox, change: SandboxChange) -> Sandbox:
        """The sandbox changed: all of it, or, when something is refused, nothing."""
        change = checked(change)
        resources = resources_of(sandbox, change)
        if resources != sandbox.resources:
            check_resources(resources, self._limits.of(sandbox.team_id))
            check_disk(sandbox.resources.disk_mib, resources.disk_mib)
        elif change.network in (None, sandbox.network):
            return await self._records.change(sandbox.id, lambda current: self._changed(current, change))

        async def work(_accept: Accept) -> Sandbox:
            return await self._apply_to_machine(self._records.current(sandbox.id), change)

        return await self._flights.launch(sandbox.id, Operation.CHANGE, work).outcome(wait=True)

    async def _apply_to_machine(self, sandbox: Sandbox, change: SandboxChange) -> Sandbox:
        if sandbox.state not in AT_REST:
            raise InvalidState(f"Sandbox is {sandbox.state}", state=sandbox.state)
        resources = resources_of(sandbox, change)
        resized = resources != sandbox.resources and not sandbox.never_ran
        if resized:
            self._records.require_room(sandbox, replace(sandbox, resources=resources))
            await self._machines.set_resources(sandbox.id, resources)
        if change.network is not None and sandbox.state is SandboxState.RUNNING:
            await self._machines.set_network(sandbox.id, change.network)
        try:
            return await self._records.change(sandbox.id, lambda current: self._changed(current, change))
        except LimitExceeded:  # Another sandbox was given the room meanwhile.
            if resized:
                await self._machines.set_resources(sandbox.id, sandbox.resources)
            raise

    def _changed(self, sandbox: Sandbox, change: SandboxChange) -> Sandbox:
        fields = replacements(sandbox, change, self._clock.now())
        return replace(sandbox, resources=resources_of(sandbox, change), **fields)


def checked(change: SandboxChange) -> SandboxChange:
    """The change, valid and in its usual form; InvalidInput."""
    network: NetworkPolicy | None = change.network
    return replace(
        change,
        name=None if change.name is None else check_name(change.name),
        labels=None if change.labels is None else check_labels(change.labels),
        env=None if change.env is None else check_env(change.env),
        timers=None if change.timers is None else check_timers(change.timers),
        network=None if network is None else check_network(network),
    )


def check_disk(old: int, new: int) -> None:
    """In MiB; InvalidInput."""
    if new < old:
        raise InvalidInput(f"A disk cannot shrink: it has {old} MiB", field="disk", hint=f"Ask for {old} MiB or more.")


def resources_of(sandbox: Sandbox, change: SandboxChange) -> Resources:
    return merged(sandbox.resources, cpu=change.cpu, memory_mib=change.memory_mib, disk_mib=change.disk_mib)


def replacements(sandbox: Sandbox, change: SandboxChange, now: datetime) -> Mapping[str, Any]:
    """The fields of a sandbox that a change replaces, its resources apart."""
    given = {name: getattr(change, name) for name in ("name", "labels", "env", "public", "timers", "network")}
    fields = {name: value for name, value in given.items() if value is not None}
    if change.dialect_data is not None:
        fields["dialect_data"] = {**sandbox.dialect_data, **change.dialect_data}
    timers = change.timers
    if timers is not None and (timers.ttl != sandbox.timers.ttl or change.renew_ttl):
        fields["expires_at"] = expiry(timers, now)
    return fields
