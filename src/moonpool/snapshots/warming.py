"""Snapshots that every server has, whose sandboxes start from the memory of one in which programs run already."""

from dataclasses import replace
from typing import Protocol

import structlog

from moonpool.clock import Clock
from moonpool.errors import EngineError, MoonpoolError
from moonpool.guest.model import ProcessSpec
from moonpool.hosts.model import Captured, MachineSpec, NetworkPolicy, snapshot_image
from moonpool.ids import new_sandbox_id
from moonpool.sandboxes.machines import Machines
from moonpool.snapshots.catalogue import SnapshotCatalogue
from moonpool.snapshots.model import Snapshot
from moonpool.snapshots.repository import SnapshotRepository
from moonpool.snapshots.seeds import OPTIONAL_SEEDS, Seed, Warmth
from moonpool.store.database import Store

TIMEOUT = 180.0  # seconds for its programs to be there
ATTEMPTS = 2
ORIGIN = "warming"  # where the snapshot's row keeps the hash of the image that its memory is of

log = structlog.get_logger(__name__)


class WarmableMachines(Machines, Protocol):
    async def image_hash(self, image: str) -> str | None:
        """What the image was made from; None where it is not there."""
        ...


class Warming:
    """Where that cannot be, such a snapshot is one of the image alone: its sandboxes start their programs themselves.

    The first sandbox has no row: what a killed server leaves of it is removed at the next start.
    """

    def __init__(self, store: Store, catalogue: SnapshotCatalogue, machines: WarmableMachines, clock: Clock) -> None:
        self._store = store
        self._catalogue = catalogue
        self._machines = machines
        self._repository = SnapshotRepository()
        self._clock = clock

    async def run(self) -> None:
        """Warm those that are not, or are of an image that was replaced; takes seconds, once."""
        for snapshot in self._catalogue.all():
            seed = OPTIONAL_SEEDS.get(snapshot.name) if snapshot.general else None
            if seed is None or seed.warmth is None:
                continue
            origin = await self._machines.image_hash(seed.image)
            if origin is not None and snapshot.dialect_data.get(ORIGIN) != origin:
                await self._warm(snapshot, seed, seed.warmth, origin)

    async def _warm(self, snapshot: Snapshot, seed: Seed, warmth: Warmth, origin: str) -> None:
        cold = await self._write(replace(snapshot, image=seed.image, has_memory=False, dialect_data={}))
        await self._machines.forget(snapshot.id)
        for _attempt in range(ATTEMPTS):
            try:
                captured = await self._captured(cold, warmth)
                await self._check(cold, warmth)
            except MoonpoolError as error:
                await self._machines.forget(snapshot.id)
                log.warning("snapshot_not_warmed", snapshot=snapshot.name, reason=error.message)
                continue
            image = snapshot_image(snapshot.id)
            warm = replace(cold, image=image, has_memory=captured.has_memory, size_bytes=captured.size_bytes)
            await self._write(replace(warm, dialect_data={ORIGIN: origin}))
            log.info("snapshot_warmed", snapshot=snapshot.name)
            return
        # The image is what counts from now on: to try at each start would make each a slow one.
        await self._write(replace(cold, dialect_data={ORIGIN: origin}))

    async def _captured(self, snapshot: Snapshot, warmth: Warmth) -> Captured:
        spec = spec_of(snapshot, snapshot.image, warmth)
        try:
            await self._machines.create(spec)
            await self._run(spec, warmth.command)
            return await self._machines.capture(spec.id, snapshot.id, memory=True)
        finally:
            await self._machines.destroy(spec.id)

    async def _check(self, snapshot: Snapshot, warmth: Warmth) -> None:
        """Not every program survives being copied: what does not is found out here, and not by the first user."""
        spec = spec_of(snapshot, snapshot_image(snapshot.id), warmth)
        try:
            if not await self._machines.unpack(spec):
                raise EngineError("Its memory was not kept")
            await self._machines.resume(spec)
            await self._run(spec, warmth.check)
        finally:
            await self._machines.destroy(spec.id)

    async def _run(self, spec: MachineSpec, command: tuple[str, ...]) -> None:
        async with self._machines.session(spec.id) as agent:
            process = ProcessSpec(argv=command, user=spec.user, timeout=TIMEOUT, merge_output=True)
            result = await agent.run(process)
        if result.exit_code:
            said = result.stdout.decode(errors="replace").strip()[-500:]
            raise EngineError(f"{' '.join(command)} failed with exit code {result.exit_code}: {said}")

    async def _write(self, snapshot: Snapshot) -> Snapshot:
        snapshot = replace(snapshot, updated_at=self._clock.now())
        async with self._store.transaction() as transaction:
            await self._repository.write(transaction, snapshot)
            transaction.after_commit(lambda: self._catalogue.remember(snapshot))
        return snapshot


def spec_of(snapshot: Snapshot, image: str, warmth: Warmth) -> MachineSpec:
    return MachineSpec(
        id=new_sandbox_id(),
        image=image,
        resources=snapshot.resources,
        hostname="sandbox",
        user=warmth.user,
        network=NetworkPolicy(block_all=True),
    )
