"""Processes that have no memory yet: spare ones for whatever is resumed next, and those of forks, made while the memory
for them is still being written. Making them is a third of a restore, or more."""

import asyncio
import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from moonpool.errors import CheckpointCorrupt, CheckpointIncompatible, MoonpoolError
from moonpool.hosts.members import Blank, Foundry, LiveMember
from moonpool.hosts.model import MachineSpec
from moonpool.hosts.warm_pool import WarmPool
from moonpool.hosts.watch import ProcessWatch

SPARES = 1
AT_ONCE = os.cpu_count() or 1  # more would only take the processor from the source, which is held meanwhile

log = structlog.get_logger(__name__)


@dataclass(eq=False)
class Spare:
    blank: Blank
    watch: ProcessWatch

    @property
    def alive(self) -> bool:
        return self.watch.alive


class Blanks:
    def __init__(self, foundry: Foundry) -> None:
        self._foundry = foundry
        self._tasks: dict[str, asyncio.Task[Blank]] = {}
        self._spares: WarmPool[Spare] = WarmPool(self._make_spare, self._retire, SPARES)
        self._begun = False

    def fill(self) -> None:
        """Begin to keep a spare one."""
        self._spares.fill()

    @property
    def ready(self) -> bool:
        """There has been a spare one. That there is none for a moment after each resume keeps nobody from a create."""
        self._begun = self._begun or self._spares.filled.is_set()
        return self._begun

    async def wait_ready(self) -> None:
        await self._spares.filled.wait()

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """No other one is made within the block for its own sake."""
        with self._spares.quiet():
            yield

    def prepare(self, copies: Sequence[MachineSpec]) -> None:
        """Begin with those of the first few."""
        for copy in copies[:AT_ONCE]:
            self._tasks[copy.id] = asyncio.create_task(self._prepared(copy))

    async def revive(self, image: Path, disk: Path, spec: MachineSpec, secret: str) -> LiveMember:
        """As ``Foundry.revive``, by what was prepared for it or else the spare one."""
        blank = await self._take(spec.id) or self._spare()
        if blank is not None:
            try:
                return await self._foundry.fill(blank, image, disk, spec, secret)
            except (CheckpointCorrupt, CheckpointIncompatible):
                raise
            except MoonpoolError as error:  # Its processes may have died while they waited.
                log.warning("blank_failed", sandbox=spec.id, reason=error.message)
        return await self._foundry.revive(image, disk, spec, secret)

    async def drop(self, machine_id: str) -> None:
        """Nobody will take it."""
        blank = await self._take(machine_id)
        if blank is not None:
            await self._foundry.clear(blank.member.name, blank.slot.number)

    async def close(self) -> None:
        for machine_id in list(self._tasks):
            await self.drop(machine_id)
        await self._spares.close()

    async def _prepared(self, spec: MachineSpec) -> Blank:
        return self._spare() or await self._foundry.blank(spec)

    async def _take(self, machine_id: str) -> Blank | None:
        """The sandbox's, which is the caller's from now on; None where there is none, or it could not be made."""
        task = self._tasks.pop(machine_id, None)
        if task is None:
            return None
        try:
            return await task
        except MoonpoolError as error:
            log.warning("blank_failed", sandbox=machine_id, reason=error.message)
            return None

    # -- spares --------------------------------------------------------------------------------------------------------

    def _spare(self) -> Blank | None:
        spare = self._spares.take()
        if spare is None:
            return None
        spare.watch.close()
        return spare.blank

    async def _make_spare(self) -> Spare:
        blank = await self._foundry.blank()
        await self._foundry.rest(blank)
        processes = (blank.running.sandbox_pid, blank.running.gofer_pid)
        spare = Spare(blank, ProcessWatch(processes, lambda: self._spares.lost(spare)))
        return spare

    async def _retire(self, spare: Spare) -> None:
        spare.watch.close()
        await self._foundry.clear(spare.blank.member.name, spare.blank.slot.number)
