"""Use cases of sandboxes: who may, what is asked, in which order. No HTTP, no SQL."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from moonpool.access.limits import LimitBook
from moonpool.access.model import Principal, Scope, TeamLimits
from moonpool.access.service import AccessService
from moonpool.access.throttling import Throttle
from moonpool.errors import Forbidden, InvalidState, SandboxNotFound, TransitionInProgress
from moonpool.hosts.model import Captured, MachineUsage
from moonpool.sandboxes.activity import Activity
from moonpool.sandboxes.changes import Changes
from moonpool.sandboxes.flights import BRIEF
from moonpool.sandboxes.forking import Forking
from moonpool.sandboxes.giving_secrets import GivingSecrets
from moonpool.sandboxes.holdings import Holdings, held_together
from moonpool.sandboxes.lifecycle import Known, Lifecycle, Ready
from moonpool.sandboxes.machines import Machines
from moonpool.sandboxes.model import (
    AT_REST,
    AgentSession,
    Fork,
    NewSandbox,
    Sandbox,
    SandboxChange,
    SandboxState,
    Timers,
)
from moonpool.sandboxes.mounting import Mounting
from moonpool.sandboxes.query import Page, SandboxQuery, SandboxSort
from moonpool.sandboxes.rebasing import Rebasing
from moonpool.sandboxes.records import Records
from moonpool.secrets.model import TeamSecret
from moonpool.volumes.model import WantedMount

SETTLE_TIMEOUT = 30.0  # seconds


def unheard_of() -> bool:
    """For a client that learns the id with the success of its creation alone."""
    return False


class SandboxService:
    """Every method takes who asks, sees that team's sandboxes alone, and checks the key's scope (Forbidden).

    ``sandbox`` arguments are an id or a name; SandboxNotFound for another team's. Methods that change state answer with
    the state reached; with ``wait=False`` they answer as soon as the change is written (``starting``, ``pausing`` ...)
    and the rest goes on by itself. A caller that is cancelled never leaves a change half done: it is finished.
    """

    def __init__(
        self,
        access: AccessService,
        records: Records,
        lifecycle: Lifecycle,
        forking: Forking,
        changes: Changes,
        activity: Activity,
        mounting: Mounting,
        rebasing: Rebasing,
        giving: GivingSecrets,
        limits: LimitBook,
    ) -> None:
        self._access = access
        self._records = records
        self._lifecycle = lifecycle
        self._forking = forking
        self._changes = changes
        self._activity = activity
        self._mounting = mounting
        self._rebasing = rebasing
        self._giving = giving
        self._limits = limits

    @property
    def _machines(self) -> Machines:
        return self._lifecycle.machines

    def limits(self, principal: Principal) -> TeamLimits:
        """How large one sandbox may be, and how much the team may have."""
        return self._limits.of(principal.team_id)

    # -- reading -------------------------------------------------------------------------------------------------------

    async def get(self, principal: Principal, sandbox: str, *, include_destroyed: bool = False) -> Sandbox:
        """The sandbox as it is now. ``include_destroyed`` also finds, by id, what was destroyed within a day."""
        self._access.require(principal, Scope.SANDBOXES_READ)
        return self._activity.fresh(await self._found(principal, sandbox, include_destroyed=include_destroyed))

    async def list(self, principal: Principal, query: SandboxQuery) -> Page[Sandbox]:
        """One page of the team's sandboxes; InvalidInput for a bad cursor, page or limit."""
        self._access.require(principal, Scope.SANDBOXES_READ)
        if query.sort is SandboxSort.LAST_ACTIVITY_AT or query.active_after or query.active_before:
            await self._activity.flush()
        if principal.sandboxes is not None:
            seen = principal.sandboxes & set(query.ids) if query.ids else principal.sandboxes
            if not seen:
                return Page((), None, 0)
            query = replace(query, ids=tuple(sorted(seen)))
        page = await self._records.list(principal.team_id, query)
        return Page(tuple(self._activity.fresh(item) for item in page.items), page.next_cursor, page.total)

    def tally(self, principal: Principal) -> Counter[SandboxState]:
        """How many sandboxes the team has in each state, destroyed ones left out. From memory alone."""
        self._access.require(principal, Scope.SANDBOXES_READ)
        return Counter(sandbox.state for sandbox in self._seen(principal))

    def holdings(self, principal: Principal) -> Holdings:
        """What the team holds now, as its limits count it. From memory alone."""
        self._access.require(principal, Scope.SANDBOXES_READ)
        return held_together(self._seen(principal))

    def peek(self, sandbox_id: str) -> Sandbox | None:
        """What memory holds of a sandbox, whoever's: for consumers of events, that must not wait. No check, no SQL."""
        return self._records.cached(sandbox_id)

    async def usage(self, principal: Principal, sandbox: str) -> MachineUsage:
        """CPU time, memory and disk of a running sandbox, seen from outside; InvalidState when it does not run."""
        found = await self.get(principal, sandbox)
        if found.state is not SandboxState.RUNNING:
            raise InvalidState(f"Sandbox is {found.state}", state=found.state)
        return await self._machines.usage(found.id)

    # -- changing state ------------------------------------------------------------------------------------------------

    async def create(
        self,
        principal: Principal,
        new: NewSandbox,
        *,
        wait: bool = True,
        ready: Ready | None = None,
        known: Known | None = None,
    ) -> Sandbox:
        """Make a sandbox and run it. One database write before, one after. Where its snapshot is still being built,
        ``ready`` returns when it is there, or raises why it will not be.

        InvalidInput, LimitExceeded, RateLimited, SnapshotNotFound, NameTaken: nothing was made. NoCapacity, EngineError
        (raised with ``wait`` alone): the sandbox is there in state ``error``, with its reason; unless ``known`` says
        then that nobody has heard of it, and it is removed.
        """
        self._access.require(principal, Scope.SANDBOXES_WRITE)
        require_team(principal)
        if new.mounts:
            self._access.require(principal, Scope.VOLUMES_READ)
        self._access.throttles.spend(principal, Throttle.CREATES)
        return await self._lifecycle.create(principal, new, wait=wait, ready=ready, known=known)

    async def start(self, principal: Principal, sandbox: str, *, wait: bool = True) -> Sandbox:
        """Run it: a stopped or failed one from its disk, a paused one with its memory, an archived one from its
        archive. A running one is left alone, and the archiving of one is called off.

        TransitionInProgress while another change is under way, InvalidState from where there is no way.
        """
        found = await self._changeable(principal, sandbox)
        return await self._lifecycle.start(found, wait=wait)

    async def recreate(
        self,
        principal: Principal,
        sandbox: str,
        *,
        timers: Timers | None = None,
        dialect_data: Mapping[str, Any] | None = None,
        wait: bool = True,
    ) -> Sandbox:
        """Make a destroyed one anew under its id, from its snapshot; it has to be ``recreatable``. ``timers`` None:
        those that it had. ``dialect_data`` is merged key by key.

        InvalidState, LimitExceeded, SnapshotNotFound (its snapshot is gone), SandboxNotFound (it was destroyed a month
        ago).
        """
        self._access.require(principal, Scope.SANDBOXES_WRITE)
        found = await self._found(principal, sandbox, include_destroyed=True)
        return await self._lifecycle.recreate(found, timers or found.timers, dialect_data or {}, wait=wait)

    async def stop(self, principal: Principal, sandbox: str, *, wait: bool = True) -> Sandbox:
        """Drop the memory, keep the disk; also of a paused one. A stopped one is left alone. An ephemeral one (its
        ``auto_delete`` is 0) is destroyed instead."""
        found = await self._changeable(principal, sandbox)
        return await self._lifecycle.stop(found, wait=wait)

    async def pause(self, principal: Principal, sandbox: str, *, wait: bool = True) -> Sandbox:
        """Keep memory and disk, end the processes. CheckpointRefused: it runs on, and the error says why."""
        found = await self._changeable(principal, sandbox)
        return await self._lifecycle.pause(found, wait=wait)

    async def resume(self, principal: Principal, sandbox: str, *, wait: bool = True) -> Sandbox:
        """Bring a paused one back, its processes as they were. CheckpointIncompatible: still paused, ``stop`` and
        ``start`` run it from its disk. CheckpointCorrupt: state ``error``, ``start`` runs it from its disk."""
        found = await self._changeable(principal, sandbox)
        return await self._lifecycle.resume(found, wait=wait)

    async def destroy(self, principal: Principal, sandbox: str, *, wait: bool = True) -> Sandbox:
        """Leave nothing of it; its name is free at once. Waits for a change under way; a second destroy joins the
        first, and one of an id destroyed within a day answers with its row."""
        self._access.require(principal, Scope.SANDBOXES_DELETE)
        found = await self._found(principal, sandbox, include_destroyed=True)
        return await self._lifecycle.destroy(found, wait=wait)

    async def destroy_all(self, principal: Principal) -> None:
        """Every one of the team's, as when the team itself is gone."""
        self._access.require(principal, Scope.SANDBOXES_DELETE)
        for sandbox in [one for one in self._records.all() if one.team_id == principal.team_id]:
            await self.destroy(principal, sandbox.id)

    async def archive(self, principal: Principal, sandbox: str, *, wait: bool = True) -> Sandbox:
        """Move the disk of a stopped one into the archive store; ``start`` brings it back. InvalidState; ArchiveError,
        NoCapacity: it is stopped, with its disk, and its ``reason`` says why. An archived one is left alone."""
        found = await self._writable(principal, sandbox)
        return await self._lifecycle.archive(found, wait=wait)

    async def back_up(self, principal: Principal, sandbox: str) -> Sandbox:
        """Begin to copy its disk, as it is now, into the archive store; ``Sandbox.backup`` tells how that goes. It is
        what a sandbox is started from whose disk was lost. InvalidState."""
        found = await self._writable(principal, sandbox)
        return await self._lifecycle.archiving.back_up(await self._lifecycle.settled(found))

    def progress(self, sandbox: Sandbox) -> int | None:
        """Bytes of its disk that a transfer to or from the archive store has moved; None where there is none."""
        return self._lifecycle.archiving.progress(sandbox.id)

    async def kill(self, principal: Principal, sandbox: str, *, wait: bool = True) -> Sandbox:
        """As ``stop``, at once: nothing inside is asked, and what programs had not written yet is lost."""
        found = await self._changeable(principal, sandbox)
        return await self._lifecycle.stop(found, wait=wait, at_once=True)

    async def fork(
        self, principal: Principal, sandbox: str, forks: Sequence[Fork], *, wait: bool = True
    ) -> tuple[Sandbox, ...]:
        """Copies that run on by themselves. Of a running sandbox: its memory and disk as of one moment; it is held for
        that moment, loses its TCP connections to the outside, and goes on. Of a paused one: the same, and it stays
        paused. Of a stopped one: its disk.

        With ``wait`` all of them run, or an error is raised and none is left; without, they are answered as soon as
        they are written (``starting``), and one that fails is in state ``error``. InvalidInput, LimitExceeded,
        NameTaken, InvalidState, CheckpointRefused (the source runs on, and the error says why), NoCapacity. A copy
        whose memory cannot be used here is started from its disk; its ``reason`` says so.
        """
        require_team(principal)
        found = await self._writable(principal, sandbox)
        self._access.throttles.spend(principal, Throttle.CREATES, len(forks))
        try:
            return await self._forking.fork(found, forks, wait=wait)
        except TransitionInProgress:  # They are asked for again.
            self._access.throttles.give_back(principal, Throttle.CREATES, len(forks))
            raise

    async def captured(self, principal: Principal, sandbox: str, snapshot_id: str, *, memory: bool) -> Captured:
        """The part of ``SnapshotService.capture`` that concerns the sandbox."""
        found = await self._writable(principal, sandbox)
        return await self._forking.capture(found, snapshot_id, memory=memory)

    async def ended(self, principal: Principal, sandbox: str, *, timeout: float | None = None) -> Sandbox:
        """The sandbox once it has come to rest (stopped, paused, failed, destroyed), whoever did it, or as it is after
        ``timeout`` seconds."""
        found = await self.get(principal, sandbox, include_destroyed=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._records.until(found.id, lambda current: current.state in AT_REST)
        return await self.get(principal, found.id, include_destroyed=True)

    def changing(self, sandbox_id: str) -> bool:
        """Whether a change is under way that its state may not tell of yet. No check, no SQL: for who has found it."""
        flight = self._lifecycle.flights.get(sandbox_id)
        return flight is not None and flight.operation not in BRIEF

    async def settled(self, principal: Principal, sandbox: str, *, timeout: float = SETTLE_TIMEOUT) -> Sandbox:
        """The sandbox once no change is under way, or as it is after ``timeout`` seconds."""
        found = await self.get(principal, sandbox, include_destroyed=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._lifecycle.flights.settled(found.id), timeout)
        return await self.get(principal, found.id, include_destroyed=True)

    # -- changing the rest ---------------------------------------------------------------------------------------------

    async def update(self, principal: Principal, sandbox: str, change: SandboxChange) -> Sandbox:
        """Change what is not state; resources and network of a running one change live.

        InvalidInput, LimitExceeded, NameTaken, InvalidState (resources or network in mid-transition).
        """
        found = await self._writable(principal, sandbox)
        return self._activity.fresh(await self._changes.apply(found, change))

    async def attach_volume(self, principal: Principal, sandbox: str, mount: WantedMount) -> Sandbox:
        """Mount a volume, at once where it runs, else from its next start on.

        InvalidInput, LimitExceeded, VolumeNotFound, InvalidState (neither running nor stopped), GuestError: everything
        is as it was."""
        self._access.require(principal, Scope.VOLUMES_READ)
        return await self._mounting.attach(await self._writable(principal, sandbox), mount)

    async def detach_volume(self, principal: Principal, sandbox: str, path: str) -> Sandbox:
        """The inverse. NotFound where none is mounted there, VolumeInUse while a program uses it."""
        return await self._mounting.detach(await self._writable(principal, sandbox), path)

    async def secrets(self, principal: Principal, sandbox: str) -> Mapping[str, TeamSecret]:
        """By variable what it has of the team's secrets; their values are sealed."""
        return self._giving.known(await self.get(principal, sandbox))

    async def set_secrets(self, principal: Principal, sandbox: str, secrets: Mapping[str, str]) -> Sandbox:
        """Give it these secrets, by variable their names, instead of those that it had: for programs that start from
        now on. InvalidInput, InvalidState, LimitExceeded, SecretNotFound, NotSupported (see ``secrets.catalogue``)."""
        return await self._giving.set(await self._writable(principal, sandbox), secrets)

    async def rebase(self, principal: Principal, sandbox: str, snapshot: str, folder: str) -> Sandbox:
        """A stopped one gets the root of a snapshot, in which what ``folder`` holds is kept, and nothing else.

        InvalidState, SnapshotNotFound, SnapshotNotReady, EngineError: everything is as it was."""
        return await self._rebasing.rebase(await self._writable(principal, sandbox), snapshot, folder)

    async def touch(self, principal: Principal, sandbox: str) -> None:
        """Note that it is in use: the idle rules count from now. No database write."""
        found = await self._writable(principal, sandbox)
        self._activity.touch(found)

    @asynccontextmanager
    async def session(self, principal: Principal, sandbox: str, *, active: bool = True) -> AsyncIterator[AgentSession]:
        """The way of every command and file: no SQL once the sandbox is known, and no write.

        Wakes it from sleep; while the session is open no idle rule applies, unless ``active`` is false: that is for
        who only watches, and is no reason not to pause. InvalidState when it is not running, AgentUnavailable or
        AgentTimeout when the agent is gone.
        """
        found = await self._writable(principal, sandbox)
        if found.state is not SandboxState.RUNNING:
            raise InvalidState(f"Sandbox is {found.state}, not running", state=found.state)
        with self._activity.using(found) if active else contextlib.nullcontext():
            async with self._machines.session(found.id) as agent:
                yield AgentSession(found, agent)

    async def _changeable(self, principal: Principal, sandbox: str) -> Sandbox:
        """As ``_writable``, for another state; RateLimited. A destroy is never limited: it gives things back."""
        found = await self._writable(principal, sandbox)
        self._access.throttles.spend(principal, Throttle.CHANGES)
        return found

    async def _writable(self, principal: Principal, sandbox: str) -> Sandbox:
        self._access.require(principal, Scope.SANDBOXES_WRITE)
        return await self._found(principal, sandbox)

    async def _found(self, principal: Principal, sandbox: str, *, include_destroyed: bool = False) -> Sandbox:
        found = await self._records.find(principal.team_id, sandbox, include_destroyed=include_destroyed)
        if not principal.sees(found.id):
            raise SandboxNotFound
        return found

    def _seen(self, principal: Principal) -> Iterator[Sandbox]:
        return (
            sandbox
            for sandbox in self._records.all()
            if sandbox.team_id == principal.team_id and principal.sees(sandbox.id)
        )


def require_team(principal: Principal) -> None:
    """Forbidden for who has been let in to single sandboxes: what is new would be the team's."""
    if principal.sandboxes is not None:
        raise Forbidden("Only the sandboxes that were given to it can be used with this token")
