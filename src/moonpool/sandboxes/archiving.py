"""Disks that leave their host and come back: archives, and backups of sandboxes that stay."""

import contextlib
from collections.abc import Callable, Collection
from dataclasses import replace

import structlog

from moonpool.archives.model import Archive, Backup, BackupState, begun
from moonpool.archives.service import Archives, Record
from moonpool.errors import InvalidState, MoonpoolError, SandboxNotFound, TransferCancelled
from moonpool.hosts.model import MachineSpec
from moonpool.sandboxes.admission import spec_of
from moonpool.sandboxes.background import Background
from moonpool.sandboxes.machines import Machines
from moonpool.sandboxes.model import Sandbox, SandboxState
from moonpool.sandboxes.records import Records
from moonpool.sandboxes.transfers import Transfers

log = structlog.get_logger(__name__)

KEPT = (SandboxState.RUNNING, SandboxState.PAUSED, SandboxState.STOPPED)


class Archiving:
    """The steps of ``Lifecycle`` that move disks, each ended by ``end``, and ``back_up``, which is none of its steps.

    A transfer that the end of the server ends is left in its row as in progress, for the next server to go on with.
    """

    def __init__(self, records: Records, machines: Machines, archives: Archives, background: Background) -> None:
        self._records = records
        self._machines = machines
        self._archives = archives
        self._background = background
        self._transfers = Transfers()

    def progress(self, sandbox_id: str) -> int | None:
        """Bytes of its disk that were moved by now; None where nothing is being moved."""
        return self._archives.progress(sandbox_id)

    @property
    def closing(self) -> bool:
        return self._transfers.closing

    async def end(self, sandbox_id: str) -> None:
        """End what transfer there is of this sandbox: its disk, or its archive, is then what it was."""
        await self._transfers.cancel(sandbox_id)

    async def close(self) -> None:
        """Interrupt every transfer."""
        await self._transfers.close()

    async def take_away(self, sandbox: Sandbox) -> None:
        """Archive its disk, then remove it from its host. Space is freed only once the archive is whole."""
        await self._save(sandbox)
        await self._machines.destroy(sandbox.id)

    async def bring_back(self, sandbox: Sandbox) -> None:
        """Its disk as it was archived. The archive stays, as a backup."""
        archive = sandbox.backup.archive
        if archive is None:
            raise InvalidState("There is no archive of this sandbox", state=sandbox.state)
        await self._transfers.run(sandbox.id, self._archives.restore(spec_of(sandbox), archive))

    async def remove(self, sandbox: Sandbox) -> None:
        """Leave nothing of it in the store."""
        await self.end(sandbox.id)
        if sandbox.backup.state is not BackupState.NONE:
            await self._archives.remove(sandbox.id)

    async def back_up(self, sandbox: Sandbox) -> Sandbox:
        """Begin a backup of its disk as it is now; the row tells how it goes. One under way is left alone."""
        if sandbox.state not in KEPT or sandbox.remade or sandbox.doomed:
            raise InvalidState(f"Sandbox is {sandbox.state} and cannot be backed up", state=sandbox.state)
        if self.progress(sandbox.id) is not None:
            return sandbox
        under_way = await self._note(sandbox.id, begun)
        self._background.spawn(self._contained(under_way), f"back up {sandbox.id}")
        return under_way

    async def give_up(self, sandbox_id: str, reason: str) -> None:
        """A backup that was under way when the server ended cannot go on."""
        await self._noted_if_there(sandbox_id, lambda old: Backup(BackupState.FAILED, old.archive, reason))

    async def forget_bases(self) -> None:
        """The pool keeps what archives are relative to, and nothing else of that kind."""
        try:
            async with self._archives.bases(self._recorded_bases) as wanted:
                await self._machines.keep_bases(wanted)
        except MoonpoolError as error:
            log.warning("bases_not_removed", reason=error.message)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _recorded_bases(self) -> Collection[str]:
        archives = (sandbox.backup.archive for sandbox in self._records.all())
        return {archive.base for archive in archives if archive is not None and archive.base is not None}

    async def _save(self, sandbox: Sandbox) -> None:
        spec, previous = spec_of(sandbox), sandbox.backup.archive
        try:
            await self._transfers.run(sandbox.id, self._archives.save(spec, self._recorder(spec), previous))
        except TransferCancelled:
            if not self.closing:
                await self._archives.tidy(sandbox.id, previous)
                state = BackupState.NONE if previous is None else BackupState.COMPLETED
                await self._noted_if_there(sandbox.id, lambda _old: Backup(state, previous))
            raise
        except MoonpoolError as error:
            reason = error.message
            await self._noted_if_there(sandbox.id, lambda _old: Backup(BackupState.FAILED, previous, reason))
            raise

    def _recorder(self, spec: MachineSpec) -> Record:
        async def record(archive: Archive) -> Sandbox:
            return await self._note(spec.id, lambda _old: Backup(BackupState.COMPLETED, archive))

        return record

    async def _contained(self, sandbox: Sandbox) -> None:
        try:
            await self._save(sandbox)
        except MoonpoolError as error:
            log.warning("backup_failed", sandbox=sandbox.id, reason=error.message)

    async def _noted_if_there(self, sandbox_id: str, backup: Callable[[Backup], Backup]) -> None:
        with contextlib.suppress(SandboxNotFound):
            await self._note(sandbox_id, backup)

    async def _note(self, sandbox_id: str, backup: Callable[[Backup], Backup]) -> Sandbox:
        return await self._records.change(sandbox_id, lambda old: replace(old, backup=backup(old.backup)))
