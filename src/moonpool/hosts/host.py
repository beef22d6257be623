"""A machine that runs sandboxes: what can be done with one, whole or not at all."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from moonpool.engine.gvisor import Warm
from moonpool.engine.images import BASE, Halt, digest_of
from moonpool.engine.storage import Kind
from moonpool.errors import (
    AgentUnavailable,
    CheckpointRefused,
    InvalidState,
    MoonpoolError,
    SandboxNotFound,
)
from moonpool.guest.client import AgentClient
from moonpool.guest.protocol import DISKS, IDLE_BOOT
from moonpool.hosts.adoption import Adopted, adopt, sweep
from moonpool.hosts.blanks import Blanks
from moonpool.hosts.clearing import Clearing
from moonpool.hosts.commits import Saving
from moonpool.hosts.copies import Copies
from moonpool.hosts.disk_sizes import DiskSizes
from moonpool.hosts.disks import DiskReader, Disks, DiskWriter
from moonpool.hosts.entrypoint import enter_point
from moonpool.hosts.identity import identity_files
from moonpool.hosts.idle_images import IdleImages
from moonpool.hosts.joining import LATE_ROOT, Joining, image_path
from moonpool.hosts.keyed_locks import KeyedLocks
from moonpool.hosts.layers import Layers
from moonpool.hosts.machine import REST_AFTER, LiveMachine
from moonpool.hosts.members import Foundry, LiveMember
from moonpool.hosts.memory import SNAPSHOTS, FastFolder, MemoryStore
from moonpool.hosts.model import (
    MEBIBYTE,
    Base,
    Captured,
    ExitReason,
    MachineExit,
    MachineSample,
    MachineSpec,
    MachineState,
    MachineUsage,
    Mount,
    NetworkPolicy,
    Readiness,
    Resources,
    Room,
    snapshot_image,
)
from moonpool.hosts.mounting import Mounting
from moonpool.hosts.notices import Notices
from moonpool.hosts.open_files import explain_refusal, refuse_deleted_files
from moonpool.hosts.parts import Parts, Progress, open_parts, silent, undo_start
from moonpool.hosts.readahead import ReadAhead
from moonpool.hosts.records import Record, Records
from moonpool.hosts.resizing import resize
from moonpool.hosts.room import balance, measure_room, reclaim, require_disk, require_memory
from moonpool.hosts.sampling import Sampler
from moonpool.hosts.settings import HostSettings
from moonpool.hosts.spare_disks import SpareDisks
from moonpool.hosts.staging import sweep as sweep_staged
from moonpool.hosts.threads import Threads, Unbroken
from moonpool.hosts.upkeep import end_upkeep, keep_network, keep_room
from moonpool.hosts.volumes import Volumes
from moonpool.hosts.warm import ensure_warm_image, warm_members

DEATH = 0.5  # seconds that a killed process may take to be gone
QUIESCE_TIMEOUT = 30.0  # seconds for the agent to sync before its sandbox is stopped or saved

log = structlog.get_logger(__name__)
OnExit = Callable[[MachineExit], None]


class Host:
    """The local machine. Every method is safe to call concurrently; those on one sandbox wait for each other."""

    def __init__(self, parts: Parts, warm: Warm, settings: HostSettings, threads: Threads) -> None:
        self._parts, self._threads = parts, threads
        self._volumes = Volumes(parts.pool)
        self._foundry = Foundry(parts.driver, parts.network, parts.cgroups, self._volumes, threads)
        self._warm = warm_members(self._foundry, warm, settings.warm_pool)
        self.keep_warm, self.notices = self._warm.keep, Notices()
        self._machines: dict[str, LiveMachine] = {}
        self._records = Records(parts.instance.run / "machines")
        memory, reuse = parts.instance.data / "memory", parts.driver.writes_over_files
        self._memory = MemoryStore(memory, FastFolder.open(), reuse=reuse)
        self._kept = MemoryStore(memory / SNAPSHOTS, None)
        self._mounting = Mounting(parts.driver, self._volumes, threads)
        self._joining = Joining(parts, self._records, self._mounting)
        self._copies = Copies(parts, self._memory, self._kept, threads)
        self._idle_images = IdleImages(() if settings.base_packages else (BASE,))
        self._disks, self._disk_sizes = Disks(parts.pool, threads), DiskSizes(parts.pool, self._volumes, threads)
        self.layers = Layers(parts, threads, settings.fetch_policy, settings.image_limits)
        self._blanks = Blanks(self._foundry)
        self._spares = SpareDisks(parts, threads, settings.warm_pool, self._warm.filled)
        self._locks, self._unbroken = KeyedLocks(), Unbroken()
        self._read_ahead, self._clearing = ReadAhead(), Clearing(parts.pool, threads)
        self._sampler = Sampler(parts.cgroups, parts.pool, threads)
        self._burials: set[asyncio.Task[ExitReason]] = set()
        self._upkeep: asyncio.Future[Any] | None = None
        self._on_exit: OnExit = lambda _exit: None
        self._on_scarce: Callable[[], None] = lambda: None

    @classmethod
    async def open(cls, settings: HostSettings, progress: Progress = silent, halt: Halt | None = None) -> "Host":
        """Opens the engine, takes over what still runs, and begins to fill the warm pool. GivenUp where ``halt`` is
        called while images are built."""
        threads = Threads()
        parts = await threads.run(open_parts, settings, progress, halt)
        try:
            warm = await threads.run(ensure_warm_image, parts, progress)
            host = cls(parts, warm, settings, threads)
            await host._adopt()
        except BaseException:
            await threads.run(undo_start, parts.close, parts.instance)
            raise
        await threads.run(balance, parts)
        host._warm.fill()
        host._blanks.fill()
        await host._spares.begin(BASE)
        room = keep_room(parts, threads, lambda: host._on_scarce())
        host._upkeep = asyncio.gather(keep_network(parts, threads), room)
        return host

    def on_exit(self, callback: OnExit) -> None:
        """``callback`` is told of each sandbox whose processes end unasked."""
        self._on_exit = callback

    def on_scarce(self, callback: Callable[[], None]) -> None:
        """``callback`` is told every second while the disk is nearly full."""
        self._on_scarce = callback

    async def reclaim(self) -> bool:
        """Whether there is room on the disk, once the space of what was removed lately is back."""
        self._spares.drop()
        return await self._threads.run(reclaim, self._parts)

    async def close(self, *, keep: bool = False) -> None:
        """Leaves nothing behind; with ``keep``, leaves running sandboxes for the next start to adopt."""
        await end_upkeep(self._upkeep)
        await self._unbroken.drain()
        await self.layers.close()
        await self._warm.close()
        await self._blanks.close()
        await self._spares.close()
        await self._clearing.close()
        await self._disk_sizes.close()
        machines = list(self._machines.values())
        self._machines.clear()
        for machine in machines:
            await machine.close()
            if keep:
                machine.member.unwatch()
                machine.member.hang_up()
            else:
                await self._end(machine)
        while self._burials:
            await asyncio.wait(self._burials)
        self._memory.close()
        if not keep:
            await self._threads.run(self._parts.close)
        self._threads.close()

    # -- lifecycle -----------------------------------------------------------------------------------------------------

    async def create(self, spec: MachineSpec) -> None:
        """A new disk from ``spec.image``, and a sandbox running on it."""
        await self._unbroken.run(self._create(spec))

    async def start(self, spec: MachineSpec) -> None:
        """Boots a stopped sandbox from its disk; memory that was kept is dropped."""
        await self._unbroken.run(self._start(spec))

    async def stop(self, machine_id: str) -> None:
        """Ends the processes and drops memory; the disk stays. Nothing to do for one that does not run."""
        await self._unbroken.run(self._stop(machine_id))

    async def kill(self, machine_id: str) -> None:
        """As ``stop``, without a word to anything inside: what was not written yet is lost."""
        await self._unbroken.run(self._stop(machine_id, ask=False))

    async def pause(self, machine_id: str) -> None:
        """Saves memory to disk and ends the processes; CheckpointRefused where that cannot be: it goes on."""
        await self._unbroken.run(self._pause(machine_id))

    async def resume(self, spec: MachineSpec) -> None:
        """Memory, processes and files as they were at the pause."""
        await self._unbroken.run(self._resume(spec))

    async def destroy(self, machine_id: str) -> None:
        """Removes everything of it; idempotent."""
        with self._clearing.busy():
            await self._unbroken.run(self._destroy(machine_id))

    # -- copies --------------------------------------------------------------------------------------------------------

    async def fork(self, source_id: str, copies: Sequence[MachineSpec]) -> bool:
        """Each copy has the source's disk and memory as of one moment, for resume(); False: its disk, for start()."""
        return await self._unbroken.run(self._fork(source_id, copies))

    async def capture(self, machine_id: str, snapshot_id: str, *, memory: bool) -> Captured:
        """A snapshot of its disk and, with ``memory``, what memory it has; a failure leaves nothing of it."""
        return await self._unbroken.run(self._capture(machine_id, snapshot_id, memory))

    async def unpack(self, spec: MachineSpec) -> bool:
        """Disk and memory of the snapshot that ``spec.image`` names; as ``fork``."""
        return await self._unbroken.run(self._unpack(spec))

    async def forget(self, snapshot_id: str) -> None:
        """Leaves nothing of a snapshot; idempotent."""
        await self._unbroken.run(self._forget(snapshot_id))

    async def snapshots(self) -> set[str]:
        """Ids of all snapshots that have anything here."""
        return await self._threads.run(self._copies.snapshots)

    async def image_hash(self, image: str) -> str | None:
        return await self._threads.run(digest_of, image_path(self._parts.pool, image))

    # -- disks as streams ----------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def send(self, spec: MachineSpec) -> AsyncIterator[DiskReader]:
        """Its disk as it is now, as a stream; it may be changed while that goes on. One that runs is held for a moment,
        and its disk is as after a power cut."""
        await self._unbroken.run(self._freeze(spec.id))
        async with self._disks.reading(spec.id, image_path(self._parts.pool, spec.image)) as reader:
            yield reader

    @contextlib.asynccontextmanager
    async def receive(self, spec: MachineSpec, base: Base | None, size_bytes: int) -> AsyncIterator[DiskWriter]:
        """The inverse of ``send``, for one that has no disk: it has one once the writer has finished."""
        async with self._locks.hold(spec.id), self._disks.writing(spec, base, size_bytes) as writer:
            yield writer

    async def keep_bases(self, wanted: Collection[str]) -> None:
        """Remove what no archive but those relative to ``wanted`` needs."""
        await self._threads.run(self._disks.keep_bases, wanted)

    # -- while it runs -------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def session(self, machine_id: str) -> AsyncIterator[AgentClient]:
        """The sandbox's agent, woken if it slept; InvalidState where it does not run, SandboxEnded once it ended."""
        async with self._running(machine_id).session() as agent:
            yield agent

    async def set_resources(self, machine_id: str, resources: Resources) -> None:
        """Applies cpu, memory and pids at once where it runs, and the disk limit in any state."""
        disk = self._disk(machine_id)
        machine = self._machines.get(machine_id)
        if machine is not None:  # Noted first: what the next server finds to differ from the row, it puts right.
            machine.spec = replace(machine.spec, resources=resources)
            await self._note(machine)
            await resize(machine, resources, self._parts.cgroups, self._threads)
        await self._threads.run(self._parts.pool.set_limit, disk, resources.disk_mib * MEBIBYTE)

    async def set_network(self, machine_id: str, policy: NetworkPolicy) -> None:
        """Live; a sandbox that does not run gets its policy at its next start."""
        if machine := self._machines.get(machine_id):
            machine.spec = replace(machine.spec, network=policy)
            await self._note(machine)
            await self._threads.run(self._parts.network.set_policy, machine.member.slot.number, policy.to_engine())

    async def adjust(self, spec: MachineSpec) -> None:
        """Makes a running sandbox what it is to be, where an earlier server did not come to the end of a change."""
        if (machine := self._machines.get(spec.id)) is None:
            return
        if machine.spec.resources != spec.resources:
            await self.set_resources(spec.id, spec.resources)
        if machine.spec.network != spec.network:
            await self.set_network(spec.id, spec.network)
        await self.set_mounts(spec.id, spec.mounts)

    async def set_mounts(self, machine_id: str, mounts: Sequence[Mount]) -> None:
        """Live: what is missing is mounted, what is too much is not any more. VolumeInUse where a program uses it; a
        failure leaves everything as it was. A sandbox that does not run gets its mounts at its next start."""
        await self._unbroken.run(self._set_mounts(machine_id, tuple(mounts)))

    async def create_volume(self, volume: str, size_mib: int) -> None:
        """An empty one, or what there is of it already."""
        await self._threads.run(self._volumes.create, volume, size_mib)

    async def delete_volume(self, volume: str) -> None:
        """Leaves nothing of it; idempotent."""
        await self._threads.run(self._volumes.delete, volume)

    async def volumes(self) -> set[str]:
        """Ids of all volumes that are here."""
        return await self._threads.run(self._volumes.names)

    async def usage(self, machine_id: str) -> MachineUsage:
        """Figures from outside, in any state; CPU and memory are 0 where it does not run."""
        return await self._sampler.usage(machine_id, self._disk(machine_id), self._machines)

    async def traffic(self) -> dict[str, int]:
        """Bytes over the network of each running sandbox since its processes were made, our own talk with it too."""
        return await self._sampler.traffic(self._machines)

    async def sample(self) -> dict[str, MachineSample]:
        """Of every sandbox that has been awake since it was last sampled, whether it is now or not. Wakes none."""
        return await self._sampler.sample(self._machines)

    async def disk_use(self, machine_ids: Collection[str]) -> dict[str, int]:
        """Bytes that each has written, as of the last commit; those without a disk here are left out."""
        return await self._sampler.disk_use({machine_id: self._disk_path(machine_id) for machine_id in machine_ids})

    async def room(self) -> Room:
        """What the machine has, and what of it is free."""
        return await self._threads.run(measure_room, self._parts)

    async def machines(self) -> dict[str, MachineState]:
        """Every sandbox that has a disk here, and what it is."""
        paused = self._memory.ids()
        names = await self._threads.run(self._parts.pool.names, Kind.SANDBOXES)
        return {name: self._state(name, paused) for name in names}

    def readiness(self) -> Readiness:
        """Cheap enough to be asked every second."""
        return Readiness(
            ready=self._warm.size >= self._warm.target and self._blanks.ready and self._spares.ready,
            warm=self._warm.size,
            target=self._warm.target,
            running=len(self._machines),
            asleep=sum(machine.asleep for machine in self._machines.values()),
        )

    async def ready(self) -> None:
        """Waits until the warm pool is filled, and what is missing of other spare things made."""
        await self._warm.filled.wait()
        await self._blanks.wait_ready()
        await self._spares.wait_ready()

    async def asleep(self, machine_id: str) -> None:
        """Waits until the sandbox sleeps."""
        await self._running(machine_id).slept.wait()

    # -- the operations themselves -------------------------------------------------------------------------------------

    async def _create(self, spec: MachineSpec) -> None:
        async with self._locks.hold(spec.id):
            with self._quiet():
                try:
                    saving, at_leisure = await self._spares.lay(spec), self._idle_images.has(spec.image)
                    await self._bring_up(spec, saving, at_leisure=at_leisure)
                except BaseException:
                    await self._threads.run(self._parts.pool.delete, Kind.SANDBOXES, spec.id)
                    raise

    async def _start(self, spec: MachineSpec) -> None:
        async with self._locks.hold(spec.id):
            if spec.id in self._machines:
                return
            self._disk(spec.id)
            await self._threads.run(self._memory.remove, spec.id)
            with self._quiet():
                await self._bring_up(spec)

    async def _stop(self, machine_id: str, *, ask: bool = True) -> None:
        async with self._locks.hold(machine_id):
            if machine := self._machines.pop(machine_id, None):
                await machine.close()
                if ask:
                    await machine.sync(QUIESCE_TIMEOUT)
                await self._end(machine)
            await self._threads.run(self._memory.remove, machine_id)

    async def _pause(self, machine_id: str) -> None:
        async with self._locks.hold(machine_id):
            machine = self._running(machine_id)
            await machine.stay_awake()
            try:
                await self._threads.run(require_memory, self._parts, machine.member.name)
                if machine.spec.mounts:
                    await refuse_deleted_files(machine)
                await self._threads.run(self._parts.pool.sync, self._disk(machine_id))
                await self._threads.run(self._memory.save_secret, machine_id, machine.member.secret)
                connected = await machine.quiesce()
                name, target = machine.member.name, self._memory.image(machine_id)
                await self._threads.run(self._parts.driver.checkpoint, name, target, connected=connected)
            except BaseException as error:
                machine.may_rest()
                await self._threads.run(self._memory.remove, machine_id)
                if await machine.member.dies_within(0 if isinstance(error, CheckpointRefused) else DEATH):
                    self._died(machine_id)  # Nobody was told while it was being saved.
                    raise
                await explain_refusal(machine, error)
                raise
            del self._machines[machine_id]
            await self._end(machine)

    async def _resume(self, spec: MachineSpec) -> None:
        async with self._locks.hold(spec.id):
            if spec.id in self._machines:
                return
            if not self._memory.has(spec.id):
                raise InvalidState("No memory is kept of this sandbox", state=MachineState.STOPPED)
            secret = self._memory.secret(spec.id)
            with self._quiet():
                image, disk = self._memory.image(spec.id), self._disk(spec.id)
                member = await self._blanks.revive(image, disk, spec, secret)
                try:
                    await self._threads.run(self._joining.bound, member, spec, self._disk_path(spec.id))
                    await self._joining.identify(member, spec, identity_files(spec, self._parts.network.resolv_conf))
                    self._records.complete(spec.id)
                except BaseException:
                    await self._abandon(member, spec.id)
                    raise
                self._track(spec, member)
                if spent := await self._threads.run(self._memory.take_out, spec.id):
                    # Nobody waits for its pages to be freed.
                    self._threads.run(self._memory.discard, spent)

    async def _destroy(self, machine_id: str) -> None:
        async with self._locks.hold(machine_id):
            if machine := self._machines.pop(machine_id, None):
                await machine.close()
                await self._end(machine)
            await self._blanks.drop(machine_id)
            await self._threads.run(self._memory.remove, machine_id)
            await self._threads.run(self._parts.pool.delete, Kind.SANDBOXES, machine_id)

    async def _fork(self, source_id: str, copies: Sequence[MachineSpec]) -> bool:
        await self._threads.run(require_disk, self._parts)
        async with self._copied(source_id) as machine:
            with self._quiet():
                if machine is not None or self._memory.has(source_id):
                    self._blanks.prepare(copies)
                return await self._copies.fork(source_id, machine, copies)

    async def _capture(self, machine_id: str, snapshot_id: str, memory: bool) -> Captured:
        await self._threads.run(require_disk, self._parts)
        async with self._copied(machine_id) as machine:
            return await self._copies.capture(machine_id, machine, snapshot_id, memory)

    async def _unpack(self, spec: MachineSpec) -> bool:
        async with self._locks.hold(spec.id):
            await self._threads.run(require_disk, self._parts)
            return await self._threads.run(self._copies.unpack, spec)

    async def _freeze(self, machine_id: str) -> None:
        await self._threads.run(require_disk, self._parts)
        async with (
            self._copied(machine_id) as machine,
            machine.held() if machine is not None else contextlib.nullcontext(),
        ):
            await self._threads.run(self._disks.freeze, machine_id)

    async def _forget(self, snapshot_id: str) -> None:
        await self._threads.run(self._copies.forget, snapshot_id)
        await self._spares.forget(snapshot_image(snapshot_id))

    async def _set_mounts(self, machine_id: str, mounts: tuple[Mount, ...]) -> None:
        async with self._locks.hold(machine_id):
            if machine := self._machines.get(machine_id):
                await self._mounting.change(machine, mounts, self._note)

    async def _note(self, machine: LiveMachine) -> None:
        """Its specification has changed: so does what the next server reads of it."""
        member = machine.member
        record = Record(machine.spec, member.name, member.slot.number, member.secret)
        await self._threads.run(self._records.replace, record)

    @contextlib.contextmanager
    def _quiet(self) -> Iterator[None]:
        """Nothing is made ahead of need meanwhile."""
        with self._warm.quiet(), self._blanks.quiet(), self._spares.quiet(), self._clearing.busy():
            yield

    # -- their steps ---------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _copied(self, machine_id: str) -> AsyncIterator[LiveMachine | None]:
        """For as long as it is copied nothing else is done to it; None where it does not run."""
        async with self._locks.hold(machine_id):
            self._disk(machine_id)
            machine = self._machines.get(machine_id)
            try:
                yield machine
            except BaseException as error:
                if machine is not None and machine.alive:
                    await explain_refusal(machine, error)
                raise
            finally:
                if machine is not None and not machine.alive:  # Nobody was told while it was held.
                    self._died(machine_id)

    async def _bring_up(self, spec: MachineSpec, saving: Saving | None = None, *, at_leisure: bool = False) -> None:
        """Runs it on a warm member; on another one where that turns out to be dead or to answer nothing any more, which
        a frozen one does late. ``saving``: what makes its disk last, where that was a spare one."""
        for spare in reversed(range(self._warm.target + 1)):
            member = await self._warm.claim()
            try:
                await self._become(member, spec, saving, at_leisure)
                return
            except BaseException as error:
                lost = isinstance(error, AgentUnavailable)
                lost = lost or (isinstance(error, MoonpoolError) and await member.dies_within(DEATH))
                await self._abandon(member, spec.id)
                if not (lost and spare):
                    raise
                log.warning("warm_member_was_lost", member=member.name, sandbox=spec.id)

    async def _become(self, member: LiveMember, spec: MachineSpec, saving: Saving | None, at_leisure: bool) -> None:
        prepared, disk = saving is not None, self._disk(spec.id)
        if not prepared:
            self._threads.run(self._read_ahead.of, spec.image, disk)
        left = await self._threads.run(self._joining.join, member, spec, disk, prepared=prepared)
        await member.agent.enter(LATE_ROOT)
        await self._joining.identify(member, spec, left, at_leisure=at_leisure)
        await enter_point(member.agent, spec)
        if saving is not None:
            await asyncio.shield(saving)
        self._records.complete(spec.id)
        self._track(spec, member)

    def _track(self, spec: MachineSpec, member: LiveMember) -> LiveMachine:
        disk = self._disk_path(spec.id)
        machine = LiveMachine(spec, member, disk, self._parts.cgroups, self._threads, self._died, self._hear)
        self._machines[spec.id] = machine
        machine.rest_later(REST_AFTER)
        return machine

    async def _abandon(self, member: LiveMember, machine_id: str) -> None:
        await self._foundry.retire(member)
        self._records.remove(machine_id)

    async def _end(self, machine: LiveMachine) -> None:
        machine.is_over()
        await self._foundry.retire(machine.member)
        self._records.remove(machine.spec.id)

    def _state(self, machine_id: str, paused: set[str]) -> MachineState:
        if machine_id in self._machines:
            return MachineState.RUNNING
        return MachineState.PAUSED if machine_id in paused else MachineState.STOPPED

    def _running(self, machine_id: str) -> LiveMachine:
        if (machine := self._machines.get(machine_id)) is None:
            raise InvalidState("The sandbox does not run", state=MachineState.STOPPED)
        return machine

    def _disk_path(self, machine_id: str) -> Path:
        return self._parts.pool.path / Kind.SANDBOXES.value / machine_id

    def _disk(self, machine_id: str) -> Path:
        if not (path := self._disk_path(machine_id)).is_dir():
            raise SandboxNotFound("The sandbox has no disk on this host")
        return path

    # -- what happens unasked ------------------------------------------------------------------------------------------

    async def _adopt(self) -> None:
        adopted = await adopt(self._parts, self._foundry, self._records, self._threads, self._take_over)
        await sweep(self._parts, self._foundry, adopted, self._threads)
        await self._threads.run(self._memory.prune)
        await self._threads.run(self._kept.prune)

    def _take_over(self, adopted: Adopted) -> None:
        sweep_staged(self._disk_path(adopted.record.spec.id))
        self._track(adopted.record.spec, adopted.member).rest_later(0)
        self._memory.remove(adopted.record.spec.id)  # It runs, so a checkpoint of it is out of date.

    def _hear(self, machine: LiveMachine, about: bytes) -> None:
        if about == DISKS:
            self._disk_sizes.asked(machine)
        elif about == IDLE_BOOT:
            self._idle_images.add(machine.spec.image)
        else:
            self.notices.tell(machine.spec.id)

    def _died(self, machine_id: str) -> None:
        if (machine := self._machines.get(machine_id)) is None:
            return
        machine.member.hang_up()
        if machine.ending:  # Whoever ends, saves or copies it tells of it.
            return
        del self._machines[machine_id]
        task = asyncio.create_task(self._bury(machine))
        machine.is_over(task)
        self._burials.add(task)
        task.add_done_callback(self._burials.discard)

    async def _bury(self, machine: LiveMachine) -> ExitReason:
        stats = await self._threads.run(self._parts.cgroups.stats, machine.member.name)
        reason = ExitReason.OUT_OF_MEMORY if stats.oom_kills else ExitReason.CRASHED
        log.warning("sandbox_died", sandbox=machine.spec.id, reason=reason.value)
        async with self._locks.hold(machine.spec.id):
            await machine.close()
            await self._end(machine)
        self._on_exit(MachineExit(machine.spec.id, reason))
        return reason
