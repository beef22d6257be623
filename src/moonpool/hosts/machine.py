"""One running sandbox: its sessions, its sleep while nothing happens, its wake-up."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import structlog

from moonpool.engine.cgroups import Cgroups
from moonpool.engine.network.addresses import AGENT_PORT
from moonpool.errors import AgentTimeout, AgentUnavailable, MoonpoolError, SandboxEnded
from moonpool.guest.client import AgentClient
from moonpool.hosts.members import CONNECT_TIMEOUT, LiveMember, connect
from moonpool.hosts.model import ExitReason, MachineSpec
from moonpool.hosts.staging import Staging
from moonpool.hosts.threads import Threads

BURIAL_TIMEOUT = 5.0  # seconds that those who are in it when it dies wait for its end to be known
ALARM_LEAST = 0.1  # seconds asleep before a timer inside wakes the sandbox again
REST_AFTER = 1.0  # seconds without a session before a sandbox with nothing but its agent is frozen

log = structlog.get_logger(__name__)


class LiveMachine:
    """A sandbox's member with everything that is only true while it runs."""

    def __init__(
        self,
        spec: MachineSpec,
        member: LiveMember,
        disk: Path,
        cgroups: Cgroups,
        threads: Threads,
        died: Callable[[str], None],
        hear: Callable[["LiveMachine", bytes], None],
    ) -> None:
        self.spec, self.member, self.disk = spec, member, disk
        self._staging = Staging(disk, threads)
        self._hear = hear
        self._equip(member.agent)
        self.slept = asyncio.Event()
        self.ending = False  # Set by whoever ends it on purpose, so that the end is no surprise.
        self._cgroups, self._threads = cgroups, threads
        self._over = False
        self._burial: asyncio.Future[ExitReason] | None = None
        self._sessions = 0
        self._lock = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._resting: asyncio.Task[None] | None = None
        self._returning: asyncio.Task[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._waking: asyncio.Task[None] | None = None
        member.on_death(lambda: died(spec.id))

    def _equip(self, agent: AgentClient) -> None:
        agent.staging = self._staging
        agent.on_notice(lambda about: self._hear(self, about))

    @property
    def alive(self) -> bool:
        return self.member.alive

    @property
    def asleep(self) -> bool:
        return self.slept.is_set()

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[AgentClient]:
        """The agent, awake and connected, for as long as the block lasts; SandboxEnded when the sandbox lasts less."""
        self._sessions += 1
        try:
            if self.asleep or self.member.agent.closed.is_set() or self._lock.locked():
                await self._make_reachable()
            yield self.member.agent
        except AgentUnavailable as error:
            if not self._over:
                raise
            raise await self._end_as_told() from error
        finally:
            self._sessions -= 1
            if not self._sessions:
                self.rest_later(REST_AFTER)

    def is_over(self, burial: "asyncio.Future[ExitReason] | None" = None) -> None:
        """No session can go on: it is being ended, or died, and ``burial`` will say of what when all know of it."""
        self.ending = self._over = True
        self._burial = self._burial or burial

    async def _end_as_told(self) -> SandboxEnded:
        if self._burial is None:
            return SandboxEnded()
        # Whoever is told may start it again at once. An operation that the burial waits for is not to wait for it.
        done, _ = await asyncio.wait({self._burial}, timeout=BURIAL_TIMEOUT)
        if not done or self._burial.cancelled() or self._burial.exception() is not None:
            return SandboxEnded()
        return SandboxEnded(f"The sandbox's processes ended meanwhile: {self._burial.result().value}")

    async def sync(self, timeout: float) -> None:
        """Have the agent write out what programs wrote, within ``timeout`` seconds; nothing where it cannot answer."""
        with contextlib.suppress(MoonpoolError, TimeoutError):
            async with asyncio.timeout(timeout):
                await self.stay_awake()
                await self.quiesce()

    async def quiesce(self) -> bool:
        """What was written inside is on disk, and no session goes on; see ``AgentClient.quiesce``."""
        self.is_over()
        return await self.member.agent.quiesce()

    async def stay_awake(self) -> None:
        """Awake from now on; for an operation of the host's that ends the sandbox or its memory."""
        await self.close()
        await self._make_reachable()

    @contextlib.asynccontextmanager
    async def held(self) -> AsyncIterator[bool]:
        """What was written inside is on disk, and nobody is connected; answers whether programs inside have connections
        to the outside. Operations in progress wait, and those that are begun; they go on afterwards."""
        if self._returning is not None:
            await asyncio.wait({self._returning})
        await self.stay_awake()
        try:
            async with self._lock:
                connected = await self.member.agent.park()
                try:
                    yield connected
                finally:
                    self._returning = asyncio.create_task(self._return())
        finally:
            self.may_rest()

    async def _return(self) -> None:
        """Nobody waits for this: until then, whatever is asked is held back."""
        slot, secret = self.member.slot, self.member.secret.encode()
        try:
            await self.member.agent.unpark(slot.address, AGENT_PORT, secret, timeout=CONNECT_TIMEOUT)
        except (AgentUnavailable, AgentTimeout) as error:
            log.warning("agent_not_found_again", sandbox=self.spec.id, error=str(error))

    def may_rest(self) -> None:
        """The operation was called off: sessions come and go as before."""
        self.ending = self._over = False
        self.rest_later(REST_AFTER)

    def rest_later(self, delay: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if self.ending else asyncio.get_running_loop().call_later(delay, self._start_rest)

    async def close(self) -> None:
        """Ends everything but the sandbox itself."""
        self.ending = True
        if self._timer is not None:
            self._timer.cancel()
        async with self._lock:  # Not in the middle of a freeze.
            if self._resting is not None:
                self._resting.cancel()
            if self._returning is not None:
                self._returning.cancel()
            if self._waking is not None:
                self._waking.cancel()
            self._silence()

    def _silence(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    async def _make_reachable(self) -> None:
        async with self._lock:
            if self.asleep:
                self._silence()
                await self._threads.run(self._cgroups.thaw, self.member.name)
                self.slept.clear()
            if self.member.agent.closed.is_set():
                if not self.alive:
                    raise AgentUnavailable
                self.member.agent = await connect(self.member.slot, self.member.secret)
                self._equip(self.member.agent)
                self._hear(self, b"")  # While nobody was connected it could not say so.

    def _start_rest(self) -> None:
        self._timer = None
        if self.asleep:
            return
        if self._resting is None or self._resting.done():
            self._resting = asyncio.create_task(self._rest())

    async def _rest(self) -> None:
        """Freezes once nothing but the agent lives inside and nobody is connected."""
        try:
            if self.member.agent.closed.is_set():  # Nobody has asked since it was copied.
                await self._make_reachable()
            wakes_in = await self.member.agent.wait_alone()
        except (AgentUnavailable, AgentTimeout) as error:
            log.info("rest_given_up", sandbox=self.spec.id, error=str(error))
            return
        async with self._lock:
            if self._sessions or self.asleep or self.ending or self.member.agent.open_streams:
                return  # The end of the session asks again.
            # Whoever opens a session while this freezes waits for the lock and thaws it again.
            await self._threads.run(self._cgroups.freeze, self.member.name)
            self.slept.set()
            if wakes_in is not None:
                self._alarm = asyncio.get_running_loop().call_later(max(wakes_in, ALARM_LEAST), self._wake)

    def _wake(self) -> None:
        """A timer inside elapses, which it could not while it is frozen."""
        self._alarm = None
        if self.asleep and not self.ending:
            self._waking = asyncio.create_task(self._awake_for_a_moment())

    async def _awake_for_a_moment(self) -> None:
        with contextlib.suppress(AgentUnavailable, AgentTimeout):
            await self._make_reachable()
        if not self._sessions:
            self.rest_later(REST_AFTER)
