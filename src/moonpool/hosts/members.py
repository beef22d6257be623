"""Members: gVisor sandboxes with an agent inside, before and after a sandbox's root is attached to them."""

import asyncio
import contextlib
import heapq
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from moonpool.engine.cgroups import Cgroups, Limits
from moonpool.engine.gvisor import Driver, Member, Running
from moonpool.engine.network import Network, Slot
from moonpool.engine.network.addresses import AGENT_PORT
from moonpool.errors import AgentTimeout, CheckpointIncompatible, EngineError
from moonpool.guest.client import AgentClient
from moonpool.hosts.identity import warm_identity
from moonpool.hosts.model import MEBIBYTE, MachineSpec, Mount, NetworkPolicy, Resources
from moonpool.hosts.threads import Threads
from moonpool.hosts.volumes import Volumes
from moonpool.hosts.watch import ProcessWatch

CONNECT_TIMEOUT = 15.0  # seconds for a restored agent to answer
SECRET_BYTES = 32
OPEN = NetworkPolicy()
GONE = "no such file or directory"  # in what runsc says when it cannot restore
WARM_LIMITS = Limits(cpu=1.0, memory_bytes=256 * MEBIBYTE, pids=512, cpu_weight=1)  # keeps off creates' processors

log = structlog.get_logger(__name__)


@dataclass(eq=False)
class LiveMember:
    """``secret`` is hexadecimal; ``agent`` the open connection."""

    name: str
    slot: Slot
    running: Running
    secret: str
    agent: AgentClient

    def __post_init__(self) -> None:
        self._watch = self._watched(self.hang_up)

    @property
    def alive(self) -> bool:
        """Whether gVisor's kernel and its gofer both live: without the one it has no files, and answers nothing."""
        return self._watch.alive

    def on_death(self, tell: Callable[[], None]) -> None:
        """``tell`` is called once when it dies; soon where it is dead already. It replaces what was to be called."""
        self._watch.close()
        self._watch = self._watched(tell)

    async def dies_within(self, seconds: float) -> bool:
        """Whether it is dead, or about to be: what dies loses its parts one by one."""
        died = asyncio.Event()
        watch = self._watched(died.set)
        try:
            with contextlib.suppress(TimeoutError):
                if self.alive:
                    await asyncio.wait_for(died.wait(), seconds)
            return not self.alive
        finally:
            watch.close()

    def hang_up(self) -> None:
        """Whoever waits for the agent gets AgentUnavailable now: the dead do not say that they are."""
        self.agent.hang_up()

    def unwatch(self) -> None:
        self._watch.close()

    def _watched(self, tell: Callable[[], None]) -> ProcessWatch:
        return ProcessWatch((self.running.sandbox_pid, self.running.gofer_pid), tell)


@dataclass(frozen=True)
class Blank:
    """A member's processes and network with nothing in them."""

    member: Member
    slot: Slot
    running: Running


def limits_of(resources: Resources) -> Limits:
    return Limits(cpu=resources.cpu, memory_bytes=resources.memory_mib * MEBIBYTE, pids=resources.pids)


def unhurried(resources: Resources) -> Limits:
    """The same while memory is saved or brought back, which the sandbox's own processors would slow down."""
    return replace(limits_of(resources), cpu=max(resources.cpu, float(os.cpu_count() or 1)))


class SlotNumbers:
    """Hands out the smallest free slot number."""

    def __init__(self) -> None:
        self._next, self._free = 1, list[int]()

    def take(self) -> int:
        if self._free:
            return heapq.heappop(self._free)
        self._next += 1
        return self._next - 1

    def give_back(self, number: int) -> None:
        heapq.heappush(self._free, number)

    def keep(self, numbers: set[int]) -> None:
        """At start: everything up to the highest of ``numbers`` and not among them is free."""
        self._next = max(numbers, default=0) + 1
        self._free = [number for number in range(1, self._next) if number not in numbers]
        heapq.heapify(self._free)


class Foundry:
    """Makes and unmakes members; what fails half-way is taken apart again before the error is raised."""

    def __init__(self, driver: Driver, network: Network, cgroups: Cgroups, volumes: Volumes, threads: Threads) -> None:
        self._driver, self._network, self._cgroups, self._threads = driver, network, cgroups, threads
        self._volumes = volumes
        self.numbers = SlotNumbers()

    async def warm(self, image: Path, warm_secret: str) -> LiveMember:
        """A frozen member with an empty root and a secret of its own."""
        member = await self._restore(image, None, WARM_LIMITS, warm_secret)
        try:
            member.secret = secrets.token_hex(SECRET_BYTES)
            await member.agent.thaw(warm_identity(member.secret))
            await self._threads.run(self._cgroups.freeze, member.name)
        except BaseException:
            await self.retire(member)
            raise
        return member

    async def revive(self, image: Path, root: Path, spec: MachineSpec, secret: str) -> LiveMember:
        """A checkpoint running again on its root, its network closed as far as it is to be, its processors not limited
        yet. ``secret`` is what the agent expects until it is given the member's new one. CheckpointCorrupt where a byte
        has changed."""
        member = await self._restore(image, root, unhurried(spec.resources), secret, spec.network, spec.mounts)
        member.secret = secrets.token_hex(SECRET_BYTES)
        return member

    async def blank(self, spec: MachineSpec | None = None) -> Blank:
        """Processes for a checkpoint that is still being written, or for any; see ``fill``."""
        number = self.numbers.take()
        name = f"m{number:04x}{secrets.token_hex(4)}"
        try:
            work = self._threads.run(self._make_blank, name, number, OPEN if spec is None else spec.network)
            return await asyncio.shield(work)
        except BaseException:
            await asyncio.shield(self.clear(name, number))
            raise

    async def rest(self, blank: Blank) -> None:
        """Nothing of it takes the processor until ``fill``: gVisor's kernel looks around while it has no memory."""
        try:
            await self._threads.run(self._cgroups.freeze, blank.member.name)
        except BaseException:
            await asyncio.shield(self.clear(blank.member.name, blank.slot.number))
            raise

    async def fill(self, blank: Blank, image: Path, root: Path, spec: MachineSpec, secret: str) -> LiveMember:
        """As ``revive``, for a blank; where it fails, nothing of the blank is left."""
        try:
            work = self._threads.run(self._revive_blank, blank, image, root, spec)
            await asyncio.shield(work)
            agent = await connect(blank.slot, secret)
        except BaseException:
            await asyncio.shield(self.clear(blank.member.name, blank.slot.number))
            raise
        return LiveMember(blank.member.name, blank.slot, blank.running, secrets.token_hex(SECRET_BYTES), agent)

    async def adopt(self, running: Running, slot: Slot, secret: str) -> LiveMember:
        """A member that outlived the server that made it. Its agent may be late, where the disk or the machine has much
        to do: then it is as one that has stopped answering, and whoever needs it next asks again."""
        await self._threads.run(self._cgroups.bring_back, running.name)
        await self._threads.run(self._cgroups.thaw, running.name)
        try:
            agent = await connect(slot, secret)
        except AgentTimeout:
            log.warning("agent_late", member=running.name)
            agent = AgentClient.unreached(slot.address)
        return LiveMember(running.name, slot, running, secret, agent)

    async def retire(self, member: LiveMember) -> None:
        """Ends the processes and frees the slot and the cgroup; safe for a member that is dead already."""
        member.unwatch()
        member.hang_up()
        await self.clear(member.name, member.slot.number)

    async def clear(self, name: str, number: int | None) -> None:
        """Removes whatever exists of a member, by name."""
        await self._threads.run(self._clear, name, number)
        if number is not None:
            self.numbers.give_back(number)

    async def _restore(
        self,
        image: Path,
        root: Path | None,
        limits: Limits,
        secret: str,
        policy: NetworkPolicy = OPEN,
        mounts: Sequence[Mount] = (),
    ) -> LiveMember:
        number = self.numbers.take()
        name = f"m{number:04x}{secrets.token_hex(4)}"
        try:
            work = self._threads.run(self._assemble, name, number, image, root, limits, policy, mounts)
            slot, running = await asyncio.shield(work)
            agent = await connect(slot, secret)
        except BaseException:
            await asyncio.shield(self.clear(name, number))
            raise
        return LiveMember(name, slot, running, secret, agent)

    def _assemble(
        self,
        name: str,
        number: int,
        image: Path,
        root: Path | None,
        limits: Limits,
        policy: NetworkPolicy,
        mounts: Sequence[Mount],
    ) -> tuple[Slot, Running]:
        slot = self._network.create(number)
        if policy != OPEN:
            self._network.set_policy(number, policy.to_engine())
        self._cgroups.create(name)
        self._cgroups.set_limits(name, limits)
        checksum = root is not None
        member = Member(name, slot, name)
        with self._volumes.shares(mounts) as shares, volumes_blamed(mounts):
            return slot, self._driver.restore(member, image, root=root, shares=shares, checksum=checksum)

    def _revive_blank(self, blank: Blank, image: Path, root: Path, spec: MachineSpec) -> None:
        self._cgroups.thaw(blank.member.name)
        if spec.network != OPEN:
            self._network.set_policy(blank.slot.number, spec.network.to_engine())
        with self._volumes.shares(spec.mounts) as shares, volumes_blamed(spec.mounts):
            self._driver.revive(blank.member, blank.running, image, root, shares)

    def _make_blank(self, name: str, number: int, policy: NetworkPolicy) -> Blank:
        slot = self._network.create(number)
        if policy != OPEN:
            self._network.set_policy(number, policy.to_engine())
        member = Member(name, slot, name)
        return Blank(member, slot, self._driver.prepare(member))

    def _clear(self, name: str, number: int | None) -> None:
        self._driver.kill(name)
        self._cgroups.kill(name)
        self._cgroups.delete(name)
        if number is not None:
            self._network.destroy(number)


@contextlib.contextmanager
def volumes_blamed(mounts: Sequence[Mount]) -> Iterator[None]:
    """What others did to a volume meanwhile can keep memory from being restored: CheckpointIncompatible then."""
    try:
        yield
    except EngineError as error:
        if not mounts or type(error) is not EngineError or GONE not in error.message:
            raise
        raise CheckpointIncompatible(
            "A file on a volume that was open is not there any more",
            hint="Put it back and resume again; or stop and start the sandbox, which keeps its disk.",
        ) from error


async def connect(slot: Slot, secret: str) -> AgentClient:
    """The agent behind ``slot``; raises AgentUnavailable or AgentTimeout."""
    return await AgentClient.connect(slot.address, AGENT_PORT, secret.encode(), timeout=CONNECT_TIMEOUT)
