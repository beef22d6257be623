"""Copies of sandboxes: forks that run at once, and what snapshots keep."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from moonpool.errors import InvalidState, MoonpoolError
from moonpool.hosts.model import Captured, MachineSpec
from moonpool.sandboxes.admission import Admission
from moonpool.sandboxes.flights import Accept, Flight, Operation, Work
from moonpool.sandboxes.lifecycle import BringUp, Lifecycle
from moonpool.sandboxes.machines import Machines
from moonpool.sandboxes.model import DesiredState, Fork, Sandbox, SandboxState
from moonpool.sandboxes.records import Records

AT_ONCE = 4  # copies of one fork that are brought up at the same time
COPYABLE = (SandboxState.RUNNING, SandboxState.PAUSED, SandboxState.STOPPED, SandboxState.ERROR)


@dataclass(frozen=True)
class Branch:
    """``written`` once the rows of the copies are; ``has_memory`` has its one item once ``flight`` has landed."""

    flight: Flight
    written: asyncio.Future[None]
    has_memory: list[bool]


class Forking:
    """While a sandbox is copied, whatever else is asked of it waits; it stays in the state in which it is."""

    def __init__(self, records: Records, machines: Machines, admission: Admission, lifecycle: Lifecycle) -> None:
        self._records = records
        self._machines = machines
        self._admission = admission
        self._lifecycle = lifecycle

    async def fork(self, source: Sandbox, forks: Sequence[Fork], *, wait: bool = True) -> tuple[Sandbox, ...]:
        """With ``wait``, all of them running or none left; else as soon as their rows are written."""
        current = await self._copyable(source)
        copies = self._admission.admit_forks(current, forks)
        branch = self._branch(current, copies)
        turn = asyncio.Semaphore(AT_ONCE)
        flights = [
            self._lifecycle.flights.launch(copy.id, Operation.CREATE, self._growth(copy, branch, turn))
            for copy in copies
        ]
        outcomes = await asyncio.gather(*(flight.outcome(wait=wait) for flight in flights), return_exceptions=True)
        failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if not failures:
            return tuple(outcome for outcome in outcomes if isinstance(outcome, Sandbox))
        await asyncio.gather(*(self._undo(copy) for copy in copies))
        raise failures[0]

    async def capture(self, source: Sandbox, snapshot_id: str, *, memory: bool) -> Captured:
        """Its disk and memory, kept by the host under ``snapshot_id``."""
        current = await self._copyable(source)
        found: list[Captured] = []

        async def work(_accept: Accept) -> Sandbox:
            found.append(
                await self._lifecycle.eviction.with_room(
                    current.team_id,
                    (current.id, snapshot_id),
                    lambda: self._machines.capture(current.id, snapshot_id, memory=memory),
                )
            )
            return self._records.current(current.id)

        await self._lifecycle.flights.launch(current.id, Operation.CAPTURE, work).outcome(wait=True)
        return found[0]

    async def _copyable(self, source: Sandbox) -> Sandbox:
        current = await self._lifecycle.settled(source)
        if current.state not in COPYABLE or current.doomed or current.remade:
            raise InvalidState(f"Sandbox is {current.state} and cannot be copied", state=current.state)
        return current

    def _branch(self, source: Sandbox, copies: Sequence[Sandbox]) -> Branch:
        """The source's part: it is held until every copy has a disk and memory of its own."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        specs = [self._admission.spec(copy) for copy in copies]
        has_memory: list[bool] = []

        async def work(_accept: Accept) -> Sandbox:
            try:
                await self._records.insert(*copies)
            except BaseException as error:
                written.set_exception(error)
                written.exception()  # Whoever waits for the flight hears of it as well.
                raise
            written.set_result(None)
            has_memory.append(
                await self._lifecycle.eviction.with_room(
                    source.team_id, (source.id,), lambda: self._machines.fork(source.id, specs)
                )
            )
            return self._records.current(source.id)

        return Branch(self._lifecycle.flights.launch(source.id, Operation.FORK, work), written, has_memory)

    def _growth(self, copy: Sandbox, branch: Branch, turn: asyncio.Semaphore) -> Work:
        """A copy's part: its start, once the source is through with it."""

        async def work(accept: Accept) -> Sandbox:
            await asyncio.shield(branch.written)
            accept(copy)
            try:
                await asyncio.shield(branch.flight.task)
            except MoonpoolError:
                await self._never_was(copy)
                raise
            async with turn:
                return await self._lifecycle.boot(copy, self._bring_up(branch))

        return work

    def _bring_up(self, branch: Branch) -> BringUp:
        async def bring_up(spec: MachineSpec) -> str | None:
            return await (
                self._lifecycle.revive(spec) if branch.has_memory[0] else self._lifecycle.start_from_disk(spec)
            )

        return bring_up

    async def _never_was(self, copy: Sandbox) -> None:
        destroying = await self._records.move(copy, SandboxState.DESTROYING, desired=DesiredState.DESTROYED)
        await self._machines.destroy(copy.id)
        await self._records.move(destroying, SandboxState.DESTROYED)

    async def _undo(self, copy: Sandbox) -> None:
        current = self._records.cached(copy.id)
        if current is not None:
            await self._lifecycle.destroy(current)
