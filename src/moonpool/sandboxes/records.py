"""The rows of all live sandboxes, in memory and written through: the one place where a sandbox changes."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from moonpool.clock import Clock
from moonpool.errors import SandboxNotFound, TransitionInProgress
from moonpool.events.model import EventType, NewEvent
from moonpool.events.service import EventService
from moonpool.sandboxes.holdings import Gate
from moonpool.sandboxes.model import AT_REST, Sandbox, SandboxState, is_legal
from moonpool.sandboxes.query import Page, SandboxQuery
from moonpool.sandboxes.repository import SandboxRepository, name_taken
from moonpool.store.database import Store, Transaction
from moonpool.store.text import storable

KEEP_DESTROYED = timedelta(hours=24)
KEEP_RECREATABLE = timedelta(days=30)
REMEMBER_DESTROYED = 1000  # of the last destroyed ones stay in memory, for consumers of their events

Mutation = Callable[[Sandbox], Sandbox]
Within = Callable[[Transaction, Sandbox], Awaitable[None]]
Waiter = tuple[Callable[[Sandbox], bool], asyncio.Future[None]]


class Records:
    """Reading a live sandbox needs no SQL. A write is a compare-and-set with its event in one transaction; memory and
    listeners follow the commit, in the order of commits."""

    def __init__(self, store: Store, events: EventService, clock: Clock) -> None:
        self._store = store
        self._events = events
        self._clock = clock
        self._repository = SandboxRepository()
        self._live: dict[str, Sandbox] = {}
        self._destroyed: OrderedDict[str, Sandbox] = OrderedDict()
        self._names: dict[tuple[str, str], str] = {}
        self._listeners: list[Callable[[Sandbox], None]] = []
        self._waiters: dict[str, list[Waiter]] = {}
        self._gate: Gate = lambda _steps, _live: None

    async def load(self) -> None:
        """Read every live row; once, before anything else."""
        async with self._store.reading() as connection:
            for sandbox in await self._repository.live(connection):
                self._remember(sandbox)

    def listen(self, listener: Callable[[Sandbox], None]) -> None:
        """Call ``listener`` with each sandbox that changed, after the commit; it may neither wait nor raise."""
        self._listeners.append(listener)

    def guard(self, gate: Gate) -> None:
        """Ask ``gate`` in every write, before anything is written; it may raise, and not wait."""
        self._gate = gate

    def require_room(self, old: Sandbox, new: Sandbox) -> None:
        """LimitExceeded where a write of ``new`` would be refused now."""
        self._gate([(old, new)], self._live.values())

    # -- reading -------------------------------------------------------------------------------------------------------

    def all(self) -> Iterable[Sandbox]:
        """Every team's live sandboxes."""
        return tuple(self._live.values())

    def cached(self, sandbox_id: str) -> Sandbox | None:
        """From memory alone: a live sandbox, or one destroyed lately."""
        return self._live.get(sandbox_id) or self._destroyed.get(sandbox_id)

    def current(self, sandbox_id: str) -> Sandbox:
        """The live sandbox of this id, whoever's; SandboxNotFound."""
        found = self._live.get(sandbox_id)
        if found is None:
            raise SandboxNotFound(f"Sandbox with ID or name {sandbox_id} not found")
        return found

    async def find(self, team_id: str, id_or_name: str, *, include_destroyed: bool = False) -> Sandbox:
        """The team's sandbox of this id, else of this name; SandboxNotFound."""
        for sandbox_id in (id_or_name, self._names.get((team_id, id_or_name), "")):
            found = self._live.get(sandbox_id)
            if found is not None and found.team_id == team_id:
                return found
        if include_destroyed and storable(id_or_name):
            async with self._store.reading() as connection:
                destroyed = await self._repository.find(connection, team_id, id_or_name)
            if destroyed is not None:
                return destroyed
        raise SandboxNotFound(f"Sandbox with ID or name {id_or_name} not found")

    async def list(self, team_id: str, query: SandboxQuery) -> Page[Sandbox]:
        async with self._store.reading() as connection:
            return await self._repository.page(connection, team_id, query)

    def name_is_taken(self, team_id: str, name: str) -> bool:
        return (team_id, name) in self._names

    def mounting(self, volume_id: str) -> tuple[Sandbox, ...]:
        """Every sandbox, whatever it is doing, in which this volume is mounted."""
        return tuple(one for one in self._live.values() if any(mount.volume == volume_id for mount in one.mounts))

    async def left(self, volume_id: str) -> None:
        """Wait for those in which it is mounted and which are being destroyed."""
        for sandbox in self.mounting(volume_id):
            if sandbox.doomed:
                await self.until(sandbox.id, lambda current: current.state in AT_REST)

    async def until(self, sandbox_id: str, fulfilled: Callable[[Sandbox], bool]) -> None:
        """Wait for the change that leaves the sandbox so; at once where it is so already, or is not known."""
        current = self.cached(sandbox_id)
        if current is None or fulfilled(current):
            return
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = (fulfilled, reached)
        self._waiters.setdefault(sandbox_id, []).append(waiter)
        try:
            await reached
        finally:
            waiters = self._waiters[sandbox_id]
            waiters.remove(waiter)
            if not waiters:
                del self._waiters[sandbox_id]

    # -- writing -------------------------------------------------------------------------------------------------------

    async def insert(self, *sandboxes: Sandbox, within: Within | None = None) -> None:
        """New rows and their events, all or none; NameTaken, LimitExceeded. ``within`` is done in the same transaction
        for each."""
        for sandbox in sandboxes:
            if (sandbox.team_id, sandbox.name) in self._names:
                raise name_taken(sandbox)
        async with self._store.transaction() as transaction:
            self._gate([(None, sandbox) for sandbox in sandboxes], self._live.values())
            for sandbox in sandboxes:
                if within is not None:
                    await within(transaction, sandbox)
                await self._repository.insert(transaction, sandbox)
                await self._tell(transaction, EventType.SANDBOX_CREATED, None, sandbox)

    async def move(self, sandbox: Sandbox, state: SandboxState, **fields: Any) -> Sandbox:
        """Change of state, from the one that ``sandbox`` has. ``fields`` change with it.

        TransitionInProgress when the row is no longer in that state; a change of other fields meanwhile is kept.
        """
        if not is_legal(sandbox.state, state):
            raise ValueError(f"{sandbox.state} cannot become {state}")

        def mutate(current: Sandbox) -> Sandbox:
            if current.state is not sandbox.state:
                raise TransitionInProgress(state=current.state)
            now = self._clock.now()
            return replace(current, state=state, last_activity_at=now, **fields)

        return await self._write(sandbox.id, mutate, EventType.SANDBOX_STATE_UPDATED)

    async def revive(self, destroyed: Sandbox, *, within: Within | None = None, **fields: Any) -> Sandbox:
        """A destroyed one is ``starting`` again; NameTaken, LimitExceeded, TransitionInProgress when somebody was
        faster. ``within`` as for ``insert``."""
        async with self._store.transaction() as transaction:
            now = self._clock.now()
            new = replace(
                destroyed,
                state=SandboxState.STARTING,
                version=destroyed.version + 1,
                updated_at=now,
                last_activity_at=now,
                **fields,
            )
            if (new.team_id, new.name) in self._names:
                raise name_taken(new)
            self._gate([(destroyed, new)], self._live.values())
            if within is not None:
                await within(transaction, new)
            if not await self._repository.compare_and_set(transaction, destroyed, new):
                raise TransitionInProgress(state=destroyed.state)
            await self._tell(transaction, EventType.SANDBOX_STATE_UPDATED, destroyed, new)
        return new

    async def change(self, sandbox_id: str, mutate: Mutation, *, within: Within | None = None) -> Sandbox:
        """Change of anything but the state. NameTaken, SandboxNotFound. ``within`` as for ``insert``."""
        return await self._write(sandbox_id, mutate, EventType.SANDBOX_UPDATED, within)

    async def note_activity(self, moments: dict[str, datetime]) -> None:
        async with self._store.transaction() as transaction:
            await self._repository.note_activity(transaction, moments)

    async def prune(self) -> None:
        """Forget what was destroyed more than a day ago, or more than a month, where it can be made anew."""
        now = self._clock.now()
        async with self._store.transaction() as transaction:
            await self._repository.prune(transaction, now - KEEP_DESTROYED, recreatable=False)
            await self._repository.prune(transaction, now - KEEP_RECREATABLE, recreatable=True)

    # -- inside --------------------------------------------------------------------------------------------------------

    async def _write(
        self, sandbox_id: str, mutate: Mutation, event: EventType, within: Within | None = None
    ) -> Sandbox:
        async with self._store.transaction() as transaction:
            old = self.current(sandbox_id)
            new = replace(mutate(old), version=old.version + 1, updated_at=self._clock.now())
            self._gate([(old, new)], self._live.values())
            if within is not None:
                await within(transaction, new)
            if not await self._repository.compare_and_set(transaction, old, new):
                raise TransitionInProgress("Another server changed this sandbox", state=old.state)
            await self._tell(transaction, event, old, new)
        return new

    async def _tell(self, transaction: Transaction, event: EventType, old: Sandbox | None, new: Sandbox) -> None:
        # Memory first, so that whoever hears of the event finds the sandbox as the event tells it.
        transaction.after_commit(lambda: self._remember(new))
        await self._events.append(transaction, event_of(event, old, new))

    def _remember(self, sandbox: Sandbox) -> None:
        old = self._live.get(sandbox.id)
        # A doomed sandbox's name may be another's by now.
        if old is not None and self._names.get((old.team_id, old.name)) == old.id:
            del self._names[(old.team_id, old.name)]
        if sandbox.state is SandboxState.DESTROYED:
            self._live.pop(sandbox.id, None)
            self._destroyed[sandbox.id] = sandbox
            if len(self._destroyed) > REMEMBER_DESTROYED:
                self._destroyed.popitem(last=False)
        else:
            self._live[sandbox.id] = sandbox
            if not sandbox.doomed:
                self._names[(sandbox.team_id, sandbox.name)] = sandbox.id
        for listener in self._listeners:
            listener(sandbox)
        for fulfilled, reached in self._waiters.get(sandbox.id, ()):
            if not reached.done() and fulfilled(sandbox):
                reached.set_result(None)


def event_of(event: EventType, old: Sandbox | None, new: Sandbox) -> NewEvent:
    """No environment and no token: events are kept, and sent out."""
    data = {
        "name": new.name,
        "state": new.state.value,
        "old_state": None if old is None else old.state.value,
        "new_state": new.state.value,
        "desired": new.desired.value,
        "reason": new.reason,
        "recoverable": new.recoverable,
        "snapshot": new.snapshot,
        "cpu": new.resources.cpu,
        "memory_mib": new.resources.memory_mib,
        "disk_mib": new.resources.disk_mib,
    }
    return NewEvent(new.team_id, event, new.id, data, new.updated_at)
