"""Volumes of a running sandbox: mounted by the host where its gofer sees them, shown by its agent at their paths."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import structlog

from moonpool.engine.gvisor import Driver
from moonpool.errors import MoonpoolError
from moonpool.guest.client import AgentClient
from moonpool.hosts.machine import LiveMachine
from moonpool.hosts.members import LiveMember
from moonpool.hosts.model import Mount
from moonpool.hosts.threads import Threads
from moonpool.hosts.volumes import Volumes

Note = Callable[[LiveMachine], Awaitable[None]]

log = structlog.get_logger(__name__)


class Mounting:
    def __init__(self, driver: Driver, volumes: Volumes, threads: Threads) -> None:
        self._driver, self._volumes, self._threads = driver, volumes, threads

    def attach(self, member: LiveMember, mounts: Sequence[Mount]) -> None:
        """Blocking: the host's part, where nothing is mounted yet."""
        with self._volumes.shares(mounts) as shares:
            for share in shares:
                self._driver.attach_share(member.running, share)

    async def change(self, machine: LiveMachine, mounts: tuple[Mount, ...], note: Note) -> None:
        """From the mounts that it has to these. VolumeInUse and whatever else fails leave it as it was.

        ``note`` writes down what the machine has. Until the end that is what it has before and after: what a server
        that is killed was at is missing for the next one, which does it again.
        """
        before = machine.spec.mounts
        if before == mounts:
            return
        gone = [mount for mount in before if mount not in mounts]
        new = [mount for mount in mounts if mount not in before]
        await self._has(machine, tuple(mount for mount in before if mount in mounts), note)
        async with machine.session() as agent:
            try:
                for mount in gone:
                    await agent.unmount_volume(mount.path)
                for mount in new:
                    await self._mount(machine, agent, mount)
                for mount in gone:
                    await self._threads.run(self._driver.detach_share, machine.member.running, mount.slot)
            except BaseException:
                await self._undo(machine, agent, gone, new)
                await self._has(machine, before, note)
                raise
        await self._has(machine, mounts, note)

    async def _has(self, machine: LiveMachine, mounts: tuple[Mount, ...], note: Note) -> None:
        machine.spec = replace(machine.spec, mounts=mounts)
        await note(machine)

    async def _mount(self, machine: LiveMachine, agent: AgentClient, mount: Mount) -> None:
        running = machine.member.running
        there = mount.slot in await self._threads.run(self._driver.shares, running)
        if not there:  # Else a server that was killed had come so far.
            await self._threads.run(self.attach, machine.member, [mount])
        await agent.mount_volume(mount.path, mount.slot, again=not there)

    async def _undo(
        self, machine: LiveMachine, agent: AgentClient, gone: Sequence[Mount], new: Sequence[Mount]
    ) -> None:
        try:
            for mount in new:
                await agent.unmount_volume(mount.path)
                await self._threads.run(self._driver.detach_share, machine.member.running, mount.slot)
            for mount in gone:
                await self._mount(machine, agent, mount)
        except MoonpoolError as error:
            log.warning("mounts_not_undone", sandbox=machine.spec.id, reason=error.message)
