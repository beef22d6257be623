"""What the clients of one sandbox share, for as long as there are any."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from moonpool.access.model import Principal
from moonpool.dialects.codesandbox.pitcher import wire
from moonpool.dialects.codesandbox.pitcher.client import Client
from moonpool.dialects.common.services import Services
from moonpool.guest.client import AgentClient
from moonpool.sandboxes.model import Sandbox, SandboxState

# Requests of all clients together that are with the agent at once: with the shells and watches that there may be, some
# less than an agent's connection carries.
MAX_OPERATIONS = 256


class Life(NamedTuple):
    """A sandbox between one start or resume and its rest."""

    sandbox: str
    instance: str


def life_of(sandbox: Sandbox) -> Life:
    return Life(sandbox.id, sandbox.instance_id)


class Place:
    """One sandbox, as the parts of a hub reach it and its clients."""

    def __init__(self, services: Services, principal: Principal, sandbox_id: str) -> None:
        self.services = services
        self.principal = principal
        self.sandbox_id = sandbox_id
        self.clients: set[Client] = set()
        self.life = Life(sandbox_id, "")  # as of the last look
        self._room = asyncio.Semaphore(MAX_OPERATIONS)

    @asynccontextmanager
    async def agent(self) -> AsyncIterator[AgentClient]:
        """For something that a client has asked for: the sandbox is in use. With too many at once it waits."""
        async with self._room, self.services.sandboxes.session(self.principal, self.sandbox_id) as session:
            self.life = life_of(session.sandbox)
            yield session.agent

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[AgentClient]:
        """For what only looks on, which is no reason not to hibernate."""
        async with self.services.sandboxes.session(self.principal, self.sandbox_id, active=False) as session:
            self.life = life_of(session.sandbox)
            yield session.agent

    async def lost(self) -> bool:
        """After the agent was lost: once no change is under way, whether the sandbox has gone to rest.

        It has not when only its connection was cut, as a fork of it does.
        """
        sandbox = await self.services.sandboxes.settled(self.principal, self.sandbox_id)
        return sandbox.state is not SandboxState.RUNNING

    def tell_all(self, method: str, params: Mapping[str, Any], subject: object = None) -> None:
        if not self.clients:
            return
        frame = wire.notification(method, params)
        for client in self.clients:
            client.send(frame, subject or params.get("shellId"))


async def cancel(*tasks: "asyncio.Task[Any] | None") -> None:
    """End them, and wait until they have."""
    started = [task for task in tasks if task is not None]
    for task in started:
        task.cancel()
    await asyncio.gather(*started, return_exceptions=True)
