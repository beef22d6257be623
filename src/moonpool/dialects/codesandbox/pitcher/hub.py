"""All that the clients of one sandbox share: its shells, ports, tasks and setup, watched while anybody is connected."""

import asyncio
import contextlib

import structlog

from moonpool.access.model import Principal
from moonpool.dialects.codesandbox.pitcher import image
from moonpool.dialects.codesandbox.pitcher.client import Client
from moonpool.dialects.codesandbox.pitcher.place import Place, cancel
from moonpool.dialects.codesandbox.pitcher.ports import Ports
from moonpool.dialects.codesandbox.pitcher.restarts import Restarts
from moonpool.dialects.codesandbox.pitcher.setup import Setup
from moonpool.dialects.codesandbox.pitcher.shells import Shells
from moonpool.dialects.codesandbox.pitcher.tasks import Tasks
from moonpool.dialects.codesandbox.pitcher.tokens import Grant, Tokens
from moonpool.dialects.codesandbox.pitcher.wire import Failure
from moonpool.dialects.common.services import Services
from moonpool.errors import GuestError, MoonpoolError

# In every user's home. The SDK keeps environment and git credentials there; versions before 2.4 do not make it.
PRIVATE = ".private"
PRIVATE_MODE = 0o700

log = structlog.get_logger(__name__)


class Hub:
    """``open`` before the first client, ``close`` after the last, once it is ``quiet``."""

    def __init__(self, services: Services, tokens: Tokens, principal: Principal, sandbox_id: str) -> None:
        self.tokens = tokens
        self.place = Place(services, principal, sandbox_id)
        self.shells = Shells(self.place)
        self.ports = Ports(self.place, lambda: self.tasks.ports_changed())
        self.restarts = Restarts(self.place, lambda grant, ids: self.tasks.run_again(grant, ids))
        self.tasks = Tasks(self.place, self.shells, self.ports, self.restarts.follow)
        self.setup = Setup(self.place, self.shells, self._set_up)
        self.resting = asyncio.Event()  # set when the sandbox goes to rest: every client is to be sent away
        self.closed = False
        self._starting: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Raises what a session raises: the sandbox must run."""
        async with self.place.watching() as agent:
            await self.shells.load(agent)
        self.ports.start()

    async def close(self) -> None:
        await cancel(self._starting)
        for part in (self.restarts, self.setup, self.tasks, self.ports, self.shells):
            await part.close()

    async def quiet(self) -> None:
        """Until no setup is under way, or the sandbox goes to rest: a setup goes on without clients."""
        resting = asyncio.create_task(self.resting.wait())
        try:
            if self.setup.runner is not None:
                await asyncio.wait({self.setup.runner, resting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancel(resting)

    async def prepare(self, grant: Grant) -> None:
        """What the tasks file wants done with the sandbox's start, if this client may do anything at all."""
        async with self.place.agent() as agent:
            if grant.writes:
                with contextlib.suppress(GuestError):  # A sandbox of another API's image has no workspace yet.
                    await agent.mkdir(grant.workspace, user=grant.user)
                with contextlib.suppress(GuestError):
                    await agent.mkdir(f"{grant.home}/{PRIVATE}", PRIVATE_MODE, user=grant.user)
            file = await self.tasks.read(agent, grant)
            await self.setup.load(agent, file, await image.read(agent, grant))
        if not grant.writes:
            return
        await self.restarts.follow(grant, file)
        self.setup.begin(grant)
        if not self.setup.busy:
            self._start_tasks(grant)

    def enter(self, client: Client) -> None:
        self.place.clients.add(client)
        if self.resting.is_set():  # Between its opening and now.
            client.notify("system/hibernate", {})

    def leave(self, client: Client) -> None:
        self.place.clients.discard(client)
        self.shells.leave(client)
        self.setup.leave(client)

    def rest(self) -> None:
        """Tell everybody, so that they do not come back by themselves, which would wake the sandbox."""
        self.place.tell_all("system/hibernate", {})
        self.resting.set()

    def _set_up(self, grant: Grant) -> None:
        self._start_tasks(grant)

    def _start_tasks(self, grant: Grant) -> None:
        if self._starting is None:
            self._starting = asyncio.create_task(self._run_tasks(grant), name=f"tasks of {self.place.sandbox_id}")

    async def _run_tasks(self, grant: Grant) -> None:
        try:
            await self.tasks.run_at_start(grant)
        except (MoonpoolError, Failure) as error:
            log.info("tasks_not_started", sandbox=self.place.sandbox_id, reason=str(error))
