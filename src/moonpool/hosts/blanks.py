"""Processes for forks, made while the memory that they are to have is still being written."""

import asyncio
import os
from collections.abc import Sequence

import structlog

from moonpool.errors import MoonpoolError
from moonpool.hosts.members import Blank, Foundry
from moonpool.hosts.model import MachineSpec

AT_ONCE = os.cpu_count() or 1  # more would only take the processor from the source, which is held meanwhile

log = structlog.get_logger(__name__)


class Blanks:
    def __init__(self, foundry: Foundry) -> None:
        self._foundry = foundry
        self._tasks: dict[str, asyncio.Task[Blank]] = {}

    def prepare(self, copies: Sequence[MachineSpec]) -> None:
        """Begin with those of the first few."""
        for copy in copies[:AT_ONCE]:
            self._tasks[copy.id] = asyncio.create_task(self._foundry.blank(copy))

    async def take(self, machine_id: str) -> Blank | None:
        """The sandbox's, which is the caller's from now on; None where there is none, or it could not be made."""
        task = self._tasks.pop(machine_id, None)
        if task is None:
            return None
        try:
            return await task
        except MoonpoolError as error:
            log.warning("blank_failed", sandbox=machine_id, reason=error.message)
            return None

    async def drop(self, machine_id: str) -> None:
        """Nobody will take it."""
        blank = await self.take(machine_id)
        if blank is not None:
            await self._foundry.clear(blank.member.name, blank.slot.number)

    async def close(self) -> None:
        for machine_id in list(self._tasks):
            await self.drop(machine_id)
