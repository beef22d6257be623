"""Changes of state: each written before it begins and after it ended, whatever happens between."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import structlog

from moonpool.access.model import Principal
from moonpool.archives.model import NO_BACKUP, begun
from moonpool.clock import Clock
from moonpool.errors import (
    CheckpointCorrupt,
    CheckpointIncompatible,
    InvalidInput,
    InvalidState,
    MoonpoolError,
    TransitionInProgress,
    UserNotFound,
)
from moonpool.hosts.model import MachineExit, MachineSpec, MachineState, snapshot_of
from moonpool.ids import new_instance_id
from moonpool.sandboxes.admission import Admission, new_preview_token
from moonpool.sandboxes.archiving import Archiving
from moonpool.sandboxes.background import Background
from moonpool.sandboxes.eviction import Eviction
from moonpool.sandboxes.flights import BRIEF, Accept, Flight, Flights, Operation, Work
from moonpool.sandboxes.machines import Machines
from moonpool.sandboxes.model import TRANSITIONAL, DesiredState, NewSandbox, Sandbox, SandboxState, Timers
from moonpool.sandboxes.outcomes import INTERNAL_ERROR, Found, Outcome, after_failure
from moonpool.sandboxes.records import Records
from moonpool.sandboxes.recovery import Recovery

BringUp = Callable[[MachineSpec], Awaitable[str | None]]
"""Answers with what could not be had, in a sentence, where the sandbox runs all the same."""

Ready = Callable[[], Awaitable[None]]
Known = Callable[[], bool]

log = structlog.get_logger(__name__)


Result = TypeVar("Result")


class Lifecycle:
    """Takes sandboxes that the caller may see; who asks was checked before.

    A sandbox has at most one change under way (a *flight*). A flight goes on when the caller is cancelled.
    """

    def __init__(
        self,
        records: Records,
        machines: Machines,
        admission: Admission,
        recovery: Recovery,
        eviction: Eviction,
        archiving: Archiving,
        background: Background,
        clock: Clock,
    ) -> None:
        self.machines = machines
        self.eviction = eviction
        self._records = records
        self._admission = admission
        self._recovery = recovery
        self.archiving = archiving
        self._clock = clock
        self._exits: dict[str, MachineExit] = {}
        self._known: dict[str, Known] = {}
        self.flights = Flights(background, self._landed)
        machines.on_exit(self.exited)

    async def create(
        self,
        principal: Principal,
        new: NewSandbox,
        *,
        wait: bool = True,
        ready: Ready | None = None,
        known: Known | None = None,
    ) -> Sandbox:
        """``ready`` is waited for before it is started, when its snapshot is still being built. ``known`` is asked
        when it does not come up: nothing is left of one of which nobody knows."""
        sandbox = self._admission.admit(principal, new, unbuilt=ready is not None)
        lacking = self._admission.lacking(principal, new) if new.memory and ready is None else None
        bring_up = self._create if new.memory and lacking is None else partial(self._create_from_disk, lacking=lacking)
        if new.user is not None:
            bring_up = partial(self._create_for_user, bring_up)

        async def work(accept: Accept) -> Sandbox:
            await self._records.insert(sandbox, within=self._admission.reserve)
            self._admission.note_use(sandbox)
            accept(sandbox)
            if known is not None:
                self._known[sandbox.id] = known
            try:
                return await self.boot(sandbox if ready is None else await self._built(sandbox, new, ready), bring_up)
            finally:
                self._known.pop(sandbox.id, None)
                await self._forsake(sandbox.id)

        return await self.flights.launch(sandbox.id, Operation.CREATE, work).outcome(wait=wait)

    async def _built(self, sandbox: Sandbox, new: NewSandbox, ready: Ready) -> Sandbox:
        """What the image says of its sandboxes is known only now."""
        await self._attempt(sandbox, ready())
        return await self._records.change(sandbox.id, lambda current: self._admission.informed(current, new))

    async def start(self, sandbox: Sandbox, *, wait: bool = True) -> Sandbox:
        """Of one that is being archived: that is called off first. Of an archived one: its disk is brought back."""
        if self._records.current(sandbox.id).state is SandboxState.ARCHIVING:
            await self.archiving.end(sandbox.id)
            await self.flights.settled(sandbox.id)
        current = await self.settled(sandbox)
        if current.state is SandboxState.ARCHIVED or await self._lost(current):
            return await self._restore(current, wait=wait)
        if current.state is SandboxState.RUNNING:
            return current
        if current.state is SandboxState.PAUSED:
            return await self._resume(current, wait=wait)
        if current.state is not SandboxState.STOPPED and not (
            current.state is SandboxState.ERROR and current.recoverable
        ):
            raise InvalidState(f"Sandbox is {current.state} and cannot be started", state=current.state)

        async def work(accept: Accept) -> Sandbox:
            starting = await self._records.move(
                current,
                SandboxState.STARTING,
                desired=DesiredState.RUNNING,
                reason=None,
                preview_token=new_preview_token(),
                instance_id=new_instance_id(),
            )
            accept(starting)
            return await self.boot(starting, self._recreate if starting.remade else self.start_from_disk)

        return await self._launch(current, Operation.START, work, wait=wait)

    async def recreate(
        self, destroyed: Sandbox, timers: Timers, dialect_data: Mapping[str, Any], *, wait: bool = True
    ) -> Sandbox:
        """A destroyed one made anew: the same id, a new disk."""
        if destroyed.state is not SandboxState.DESTROYED or not destroyed.recreatable:
            raise InvalidState(f"Sandbox is {destroyed.state} and cannot be made anew", state=destroyed.state)
        self._admission.admit_again(destroyed)

        async def work(accept: Accept) -> Sandbox:
            data = {**destroyed.dialect_data, **dialect_data}
            fresh = {**self._admission.fresh(destroyed, timers), "dialect_data": data}
            starting = await self._records.revive(destroyed, within=self._admission.reserve, **fresh)
            self._admission.note_use(starting)
            accept(starting)
            return await self.boot(starting, self._create)

        return await self._launch(destroyed, Operation.CREATE, work, wait=wait)

    async def stop(self, sandbox: Sandbox, *, wait: bool = True, at_once: bool = False) -> Sandbox:
        """``at_once``: nothing inside is asked first."""
        current = await self.settled(sandbox)
        if current.state is SandboxState.STOPPED:
            return current
        self._require(current, SandboxState.RUNNING, SandboxState.PAUSED, SandboxState.ERROR)
        if current.doomed:
            raise InvalidState("Sandbox is being destroyed", state=current.state)
        if await self._lost(current):
            raise InvalidState("There is only a backup of this sandbox", state=current.state, hint="Start it.")
        if current.ephemeral:
            return await self.destroy(current, wait=wait)

        async def work(accept: Accept) -> Sandbox:
            stopping = await self._records.move(current, SandboxState.STOPPING, desired=DesiredState.STOPPED)
            accept(stopping)
            end = self.machines.kill if at_once else self.machines.stop
            await self._attempt(stopping, end(current.id))
            return await self._reach(stopping, SandboxState.STOPPED, stopped_at=self._clock.now())

        return await self._launch(current, Operation.STOP, work, wait=wait)

    async def pause(self, sandbox: Sandbox, *, wait: bool = True) -> Sandbox:
        current = await self.settled(sandbox)
        self._require(current, SandboxState.RUNNING)

        async def work(accept: Accept) -> Sandbox:
            pausing = await self._records.move(current, SandboxState.PAUSING, desired=DesiredState.PAUSED)
            accept(pausing)
            saving = self.eviction.with_room(current.team_id, (current.id,), lambda: self.machines.pause(current.id))
            await self._attempt(pausing, saving)
            return await self._reach(pausing, SandboxState.PAUSED)

        return await self._launch(current, Operation.PAUSE, work, wait=wait)

    async def resume(self, sandbox: Sandbox, *, wait: bool = True) -> Sandbox:
        current = await self.settled(sandbox)
        self._require(current, SandboxState.PAUSED)
        return await self._resume(current, wait=wait)

    async def archive(self, sandbox: Sandbox, *, wait: bool = True) -> Sandbox:
        current = await self.settled(sandbox)
        if current.state is SandboxState.ARCHIVED:
            return current
        self._require(current, SandboxState.STOPPED)
        if current.ephemeral or current.remade:
            what = "An ephemeral sandbox" if current.ephemeral else "A sandbox that never ran"
            raise InvalidState(f"{what} cannot be archived", state=current.state)

        async def work(accept: Accept) -> Sandbox:
            await self.archiving.end(current.id)
            backup = begun(self._records.current(current.id).backup)
            archiving = await self._records.move(
                current, SandboxState.ARCHIVING, desired=DesiredState.ARCHIVED, reason=None, backup=backup
            )
            accept(archiving)
            await self._attempt(archiving, self.archiving.take_away(archiving))
            archived = await self._reach(archiving, SandboxState.ARCHIVED)
            await self.archiving.forget_bases()
            return archived

        return await self._launch(current, Operation.ARCHIVE, work, wait=wait)

    async def go_on(self, sandbox: Sandbox) -> None:
        """At the start of a server, with a transfer that the end of the last one ended."""
        if sandbox.desired is DesiredState.ARCHIVED and sandbox.state is SandboxState.STOPPED:
            await self.archive(sandbox, wait=False)
        else:
            await self.archiving.back_up(sandbox)

    async def destroy(self, sandbox: Sandbox, *, wait: bool = True, reason: str | None = None) -> Sandbox:
        """``reason``: why, where nobody asked for it."""
        while flight := self.flights.get(sandbox.id):
            if flight.operation is Operation.DESTROY:
                return await flight.outcome(wait=wait)
            await self.archiving.end(sandbox.id)
            await asyncio.wait({flight.task})
        current = self._records.cached(sandbox.id) or sandbox
        if current.state is SandboxState.DESTROYED:
            return current

        return await self._launch(current, Operation.DESTROY, partial(self._end, current, reason), wait=wait)

    async def _end(self, current: Sandbox, reason: str | None, accept: Accept) -> Sandbox:
        destroying = current
        if current.state is not SandboxState.DESTROYING:
            destroying = await self._records.move(
                current, SandboxState.DESTROYING, desired=DesiredState.DESTROYED, reason=reason
            )
        accept(destroying)
        await self._attempt(destroying, self._remove(destroying))
        destroyed = await self._reach(destroying, SandboxState.DESTROYED, reason=reason, backup=NO_BACKUP)
        if destroying.backup.archive is not None:
            await self.archiving.forget_bases()
        return destroyed

    async def _forsake(self, sandbox_id: str) -> None:
        """Remove one that did not come up and of which nobody knows. Where this fails or is killed, the rule for those
        that are doomed, or the next start, does it."""
        current = self._records.cached(sandbox_id)
        if current is not None and current.doomed and current.state is SandboxState.ERROR:
            with contextlib.suppress(MoonpoolError):
                await self._end(current, current.reason, lambda _: None)

    def exited(self, exit_: MachineExit) -> None:
        """A sandbox's processes ended unasked; what is under way for it comes first."""
        self._exits[exit_.id] = exit_
        if self.flights.get(exit_.id) is None:
            self._landed(exit_.id)

    # -- the steps they share ------------------------------------------------------------------------------------------

    async def settled(self, sandbox: Sandbox) -> Sandbox:
        """The sandbox as it is now, with no change under way; TransitionInProgress.

        A row in mid-transition that nobody is working on was left by a write that failed: it is put right first.
        """
        while (flight := self.flights.get(sandbox.id)) and self._landing(flight, sandbox.id):
            await asyncio.wait({flight.task})
        current = self._records.current(sandbox.id)
        if current.state in TRANSITIONAL and self.flights.get(current.id) is None:

            async def work(_accept: Accept) -> Sandbox:
                return await self._recovery.settle(current, await self._found(current.id))

            await self.flights.launch(current.id, Operation.RECOVER, work).outcome(wait=True)
            current = self._records.current(sandbox.id)
        if self.flights.get(current.id) is not None:
            raise TransitionInProgress(state=current.state)
        return current

    def _landing(self, flight: Flight, sandbox_id: str) -> bool:
        """Whether a change is over in a moment, and its outcome perhaps seen by the client who now asks for the next:
        its last state is written, or nobody asked for it."""
        if flight.operation in BRIEF:
            return True
        began = flight.accepted.done() or flight.operation is Operation.RECOVER
        return began and self._records.current(sandbox_id).state not in TRANSITIONAL

    async def _launch(self, sandbox: Sandbox, operation: Operation, work: Work, *, wait: bool) -> Sandbox:
        return await self.flights.launch(sandbox.id, operation, work).outcome(wait=wait)

    async def _resume(self, paused: Sandbox, *, wait: bool) -> Sandbox:
        async def work(accept: Accept) -> Sandbox:
            resuming = await self._records.move(
                paused,
                SandboxState.RESUMING,
                desired=DesiredState.RUNNING,
                reason=None,
                instance_id=new_instance_id(),
            )
            accept(resuming)
            await self._attempt(resuming, self.machines.resume(self._admission.spec(resuming)))
            return await self._reach(resuming, SandboxState.RUNNING)

        return await self._launch(paused, Operation.RESUME, work, wait=wait)

    async def boot(self, starting: Sandbox, bring_up: BringUp) -> Sandbox:
        spec = self._admission.spec(starting)
        spared = (starting.id, snapshot_of(spec.image) or "")
        coming_up = self.eviction.with_room(starting.team_id, spared, lambda: bring_up(spec))
        lacking = await self._attempt(starting, coming_up)
        now = self._clock.now()
        return await self._reach(starting, SandboxState.RUNNING, reason=lacking, started_at=now, stopped_at=None)

    async def _create(self, spec: MachineSpec) -> str | None:
        if snapshot_of(spec.image) is None:
            return await self._create_from_disk(spec)
        return await (self.revive(spec) if await self.machines.unpack(spec) else self.start_from_disk(spec))

    async def _create_from_disk(self, spec: MachineSpec, *, lacking: str | None = None) -> str | None:
        await self.machines.create(spec)
        return lacking

    async def _create_for_user(self, bring_up: BringUp, spec: MachineSpec) -> str | None:
        """A user that was asked for by name has to be there; without one nothing could be run in it."""
        lacking = await bring_up(spec)
        async with self.machines.session(spec.id) as agent:
            try:
                await agent.stat("/", user=spec.user)
            except UserNotFound:
                hint = "Leave it out for the snapshot's own user."
                raise InvalidInput(f"This snapshot has no user '{spec.user}'", field="user", hint=hint) from None
        return lacking

    async def start_from_disk(self, spec: MachineSpec) -> str | None:
        """Whatever memory it has is dropped."""
        await self.machines.start(spec)
        return None

    async def _recreate(self, spec: MachineSpec) -> str | None:
        """For one whose creation failed: its disk may be half made."""
        await self.machines.destroy(spec.id)
        return await self._create(spec)

    async def revive(self, spec: MachineSpec) -> str | None:
        """From memory that another sandbox's was; from the disk alone where this machine cannot use it."""
        try:
            await self.machines.resume(spec)
        except (CheckpointIncompatible, CheckpointCorrupt) as error:
            log.warning("memory_not_usable", sandbox=spec.id, reason=error.message)
            await self.machines.start(spec)
            return f"Started from its disk, without its memory: {error.message}"
        return None

    async def _restore(self, archived: Sandbox, *, wait: bool) -> Sandbox:
        async def work(accept: Accept) -> Sandbox:
            restoring = await self._records.move(
                archived,
                SandboxState.RESTORING,
                desired=DesiredState.RUNNING,
                reason=None,
                preview_token=new_preview_token(),
                instance_id=new_instance_id(),
            )
            accept(restoring)
            await self._attempt(restoring, self.archiving.bring_back(restoring))
            return await self.boot(restoring, self.start_from_disk)

        return await self._launch(archived, Operation.RESTORE, work, wait=wait)

    async def _lost(self, sandbox: Sandbox) -> bool:
        """Whether it has a backup alone."""
        failed = sandbox.state is SandboxState.ERROR and sandbox.recoverable and sandbox.backup.archive is not None
        return failed and await self._found(sandbox.id) is None

    async def _remove(self, sandbox: Sandbox) -> None:
        await self.machines.destroy(sandbox.id)
        await self.archiving.remove(sandbox)

    async def _reach(
        self, sandbox: Sandbox, state: SandboxState, *, reason: str | None = None, **fields: Any
    ) -> Sandbox:
        return await self._records.move(sandbox, state, reason=reason, recoverable=False, **fields)

    async def _attempt(self, sandbox: Sandbox, work: Awaitable[Result]) -> Result:
        """Do ``work``; when it fails, write where that left the sandbox, and raise.

        A server that shuts down cancels: then the row stays in mid-transition, for the next start to put right.
        """
        try:
            return await work
        except asyncio.CancelledError:
            raise
        except MoonpoolError as error:
            await self._failed(sandbox, error)
            raise
        except BaseException:
            await self._failed(sandbox, INTERNAL_ERROR)
            raise

    async def _failed(self, sandbox: Sandbox, error: MoonpoolError) -> None:
        if sandbox.state is SandboxState.STARTING and sandbox.remade:
            with contextlib.suppress(MoonpoolError):
                await self.machines.destroy(sandbox.id)
        sandbox = self._records.current(sandbox.id)
        outcome = after_failure(sandbox, await self._found(sandbox.id), error)
        known = self._known.get(sandbox.id)
        if known is not None and not known():
            outcome = Outcome(SandboxState.ERROR, error.message, recoverable=False)
            await self._write(sandbox, outcome, desired=DesiredState.DESTROYED)
        else:
            await self._write(sandbox, outcome)

    async def _write(self, sandbox: Sandbox, outcome: Outcome, **more: Any) -> Sandbox:
        fields: dict[str, Any] = {"reason": outcome.reason, "recoverable": outcome.recoverable}
        if outcome.state is SandboxState.STOPPED and sandbox.state is not SandboxState.ARCHIVING:
            fields["stopped_at"] = self._clock.now()
        if sandbox.state is SandboxState.ARCHIVING and not self.archiving.closing:
            fields["desired"] = DesiredState.STOPPED
        if outcome.state is SandboxState.ARCHIVED:
            fields["desired"] = DesiredState.ARCHIVED
        if outcome.state is SandboxState.RUNNING:
            fields["desired"] = DesiredState.RUNNING
        return await self._records.move(sandbox, outcome.state, **fields, **more)

    def _require(self, sandbox: Sandbox, *states: SandboxState) -> None:
        if sandbox.state not in states:
            raise InvalidState(f"Sandbox is {sandbox.state}", state=sandbox.state)

    def _landed(self, sandbox_id: str) -> None:
        exit_ = self._exits.pop(sandbox_id, None)
        current = self._records.cached(sandbox_id)
        if exit_ is None or current is None or current.state is not SandboxState.RUNNING:
            return

        async def work(_accept: Accept) -> Sandbox:
            if await self._found(sandbox_id) is MachineState.RUNNING:  # It was started again since.
                return current
            return await self._write(current, Outcome(SandboxState.STOPPED, exit_.reason.value, recoverable=True))

        self.flights.launch(sandbox_id, Operation.RECOVER, work)

    async def _found(self, sandbox_id: str) -> Found:
        """What is really there."""
        return (await self.machines.machines()).get(sandbox_id)
