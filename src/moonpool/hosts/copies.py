"""Copies of a sandbox's disk and memory, all as of one moment: for forks, and for snapshots.

A fork's memory is written once and shared by its copies as hard links, each of which goes when its sandbox runs.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from moonpool.engine.storage import Kind
from moonpool.errors import CheckpointRefused, SnapshotNotFound
from moonpool.hosts.machine import LiveMachine
from moonpool.hosts.members import limits_of, unhurried
from moonpool.hosts.memory import MemoryStore
from moonpool.hosts.model import MEBIBYTE, Captured, MachineSpec, snapshot_of
from moonpool.hosts.parts import Parts
from moonpool.hosts.threads import Threads


class Copies:
    """``memory`` holds that of paused sandboxes, ``kept`` that of snapshots. The caller holds the source's lock."""

    def __init__(self, parts: Parts, memory: MemoryStore, kept: MemoryStore, threads: Threads) -> None:
        self._pool, self._driver, self._cgroups = parts.pool, parts.driver, parts.cgroups
        self._memory, self._kept, self._threads = memory, kept, threads

    async def fork(self, source_id: str, machine: LiveMachine | None, copies: Sequence[MachineSpec]) -> bool:
        """Disks for ``copies``, and memory where the source has some (True); a failure leaves nothing of them."""
        try:
            if machine is None:
                return await self._threads.run(self._copy_at_rest, source_id, copies)
            return await self._copy_live(source_id, machine, copies)
        except BaseException:
            for copy in copies:
                await self._threads.run(self._remove, copy.id)
            raise

    async def capture(self, source_id: str, machine: LiveMachine | None, snapshot_id: str, memory: bool) -> Captured:
        """A snapshot of what there is; a failure leaves nothing of it."""
        try:
            if machine is not None:
                await self._capture_live(source_id, machine, snapshot_id, memory)
            else:
                await self._threads.run(self._capture_at_rest, source_id, snapshot_id, memory)
            return await self._threads.run(self._measure, source_id, snapshot_id)
        except BaseException:
            await self._threads.run(self.forget, snapshot_id)
            raise

    def unpack(self, spec: MachineSpec) -> bool:
        """Blocking. Disk, and memory where there is some (True), of the snapshot that ``spec.image`` names."""
        snapshot_id = snapshot_of(spec.image) or ""
        disk = self._disk(Kind.SNAPSHOTS, snapshot_id)
        if not snapshot_id or not disk.is_dir():
            raise SnapshotNotFound(f"Snapshot '{snapshot_id}' is not on this host")
        try:
            self._lay(disk, spec)
            if not self._kept.has(snapshot_id):
                return False
            self._memory.link(spec.id, self._kept.image(snapshot_id), self._kept.secret(snapshot_id))
        except BaseException:
            self._remove(spec.id)
            raise
        return True

    def forget(self, snapshot_id: str) -> None:
        """Blocking. Leaves nothing of a snapshot; idempotent."""
        self._kept.remove(snapshot_id)
        self._pool.delete(Kind.SNAPSHOTS, snapshot_id)

    def snapshots(self) -> set[str]:
        """Blocking. Ids of snapshots that have anything here."""
        return {*self._pool.names(Kind.SNAPSHOTS), *self._kept.started()}

    # -- forks ---------------------------------------------------------------------------------------------------------

    async def _copy_live(self, source_id: str, machine: LiveMachine, copies: Sequence[MachineSpec]) -> bool:
        disk = self._disk(Kind.SANDBOXES, source_id)
        staging = await self._staging(source_id, machine)
        secret = machine.member.secret
        try:
            # Only one copy of the disk is made while the source waits; the others are copies of that one.
            await self._freeze(source_id, machine, staging, lambda: self._lay(disk, copies[0]))
            await self._threads.run(self._share, staging, secret, copies)
        finally:
            await self._threads.run(self._memory.discard, staging)
        return True

    def _share(self, staging: Path, secret: str, copies: Sequence[MachineSpec]) -> None:
        first = self._disk(Kind.SANDBOXES, copies[0].id)
        for copy in copies[1:]:
            self._lay(first, copy)
        self._driver.seal(staging)
        for copy in copies:
            self._memory.link(copy.id, staging, secret)

    def _copy_at_rest(self, source_id: str, copies: Sequence[MachineSpec]) -> bool:
        has_memory = self._memory.has(source_id)
        for copy in copies:
            self._lay(self._disk(Kind.SANDBOXES, source_id), copy)
            if has_memory:
                self._memory.link(copy.id, self._memory.image(source_id), self._memory.secret(source_id))
        return has_memory

    def _lay(self, source: Path, spec: MachineSpec) -> None:
        self._pool.snapshot(source, Kind.SANDBOXES, spec.id, limit_bytes=spec.resources.disk_mib * MEBIBYTE)

    def _remove(self, machine_id: str) -> None:
        self._memory.remove(machine_id)
        self._pool.delete(Kind.SANDBOXES, machine_id)

    # -- snapshots -----------------------------------------------------------------------------------------------------

    async def _capture_live(self, source_id: str, machine: LiveMachine, snapshot_id: str, memory: bool) -> None:
        disk = self._disk(Kind.SANDBOXES, source_id)

        def take() -> None:
            self._pool.snapshot(disk, Kind.SNAPSHOTS, snapshot_id, read_only=True)

        if not memory:
            async with machine.held():
                await self._threads.run(take)
            return
        staging = await self._staging(snapshot_id, machine)
        try:
            await self._freeze(source_id, machine, staging, take)
            self._kept.save_secret(snapshot_id, machine.member.secret)
            await self._threads.run(self._keep, staging, snapshot_id)
        finally:
            await self._threads.run(self._memory.discard, staging)

    def _keep(self, staging: Path, snapshot_id: str) -> None:
        """On the disk; the source, which goes on by now, did not wait for that."""
        try:
            folder = self._kept.brought(snapshot_id, staging)
        except OSError as error:
            raise CheckpointRefused(
                f"The memory of snapshot {snapshot_id} cannot be written: {error.strerror}"
            ) from error
        try:
            self._driver.publish(folder, self._kept.image(snapshot_id))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _capture_at_rest(self, source_id: str, snapshot_id: str, memory: bool) -> None:
        self._pool.snapshot(self._disk(Kind.SANDBOXES, source_id), Kind.SNAPSHOTS, snapshot_id, read_only=True)
        if memory and self._memory.has(source_id):
            self._kept.link(snapshot_id, self._memory.image(source_id), self._memory.secret(source_id))

    def _measure(self, source_id: str, snapshot_id: str) -> Captured:
        written = self._pool.usage(self._disk(Kind.SANDBOXES, source_id)).used_bytes
        return Captured(self._kept.has(snapshot_id), written + self._kept.size(snapshot_id))

    # -- the moment ----------------------------------------------------------------------------------------------------

    async def _staging(self, name: str, machine: LiveMachine) -> Path:
        """Where its memory is written to: in the machine's memory where there is room for it, which is quicker."""
        bytes_held = (await self._threads.run(self._cgroups.stats, machine.member.name)).memory_bytes
        return self._memory.staging(name, fast=bytes_held)

    async def _freeze(self, source_id: str, machine: LiveMachine, staging: Path, take: Callable[[], None]) -> None:
        """Memory into ``staging``, and ``take``, while nothing in the source moves; it goes on afterwards.

        What is dirty is written beforehand, since the source would have to wait for it.
        """
        member = machine.member
        expected = self._threads.run(self._cgroups.expect_move, member.name, member.running.sandbox_pid)
        await self._threads.run(self._pool.sync, self._disk(Kind.SANDBOXES, source_id))
        async with machine.held() as connected:
            await expected  # Later it would undo the move.
            await self._threads.run(self._save, machine, staging, take, connected)
        await self._threads.run(self._memory.keep, staging)

    def _save(self, machine: LiveMachine, staging: Path, take: Callable[[], None], connected: bool) -> None:
        name, resources = machine.member.name, machine.spec.resources
        self._cgroups.set_limits(name, unhurried(resources))
        try:
            self._driver.save_moment(name, staging, take, connected=connected)
        finally:
            self._cgroups.set_limits(name, limits_of(resources))

    def _disk(self, kind: Kind, name: str) -> Path:
        return self._pool.path / kind.value / name
