"""Open connections to apps, kept for the next request."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

from moonpool.errors import PortClosed
from moonpool.guest.client import AgentClient
from moonpool.previews.gateway.connections import Connection, OpenAgent, straight, through_agent

KEEP_IDLE = 4.0  # seconds; Node's servers close after 5, and a request must not meet that
MAX_IDLE = 32  # connections kept for one port

Place = tuple[str, int]  # sandbox and port
Visit = Callable[[str], AbstractAsyncContextManager[AgentClient]]


class Pool:
    """``visit`` opens a way to a sandbox's agent that is no use of the sandbox; ``own_port`` is the agent's, that no
    preview reaches."""

    def __init__(self, visit: Visit, own_port: int) -> None:
        self._visit = visit
        self._own_port = own_port
        self._idle: dict[Place, list[tuple[Connection, asyncio.TimerHandle]]] = {}
        self._on_loopback: set[Place] = set()

    async def connection(self, sandbox_id: str, port: int, agent: AgentClient, *, fresh: bool) -> Connection:
        """One that is open, else a new one, and a new one always where it has to be ``fresh``. PortClosed,
        AgentUnavailable, AgentTimeout, InvalidState. The agent is one of this sandbox's, in use."""
        place = (sandbox_id, port)
        while not fresh and (waiting := self._idle.get(place)):
            connection, timer = waiting.pop()
            timer.cancel()
            if not waiting:
                del self._idle[place]
            if not connection.lost:
                return connection
        if port == self._own_port:
            raise PortClosed
        return await self._connect(place, agent)

    def give_back(self, sandbox_id: str, port: int, connection: Connection) -> None:
        place = (sandbox_id, port)
        waiting = self._idle.setdefault(place, [])
        if connection.lost or len(waiting) >= MAX_IDLE:
            connection.close()
            return
        connection.owner, connection.used = None, True
        timer = asyncio.get_running_loop().call_later(KEEP_IDLE, self._expire, place, connection)
        waiting.append((connection, timer))

    def forget(self, sandbox_id: str) -> None:
        """Its connections are over: its state has changed."""
        for place in [place for place in self._idle if place[0] == sandbox_id]:
            for connection, timer in self._idle.pop(place):
                timer.cancel()
                connection.close()
        self._on_loopback = {place for place in self._on_loopback if place[0] != sandbox_id}

    def close(self) -> None:
        for sandbox_id in {place[0] for place in self._idle}:
            self.forget(sandbox_id)

    async def _connect(self, place: Place, agent: AgentClient) -> Connection:
        """The straight way first: the other costs the sandbox's own processor."""
        sandbox_id, port = place
        open_agent: OpenAgent = partial(self._visit, sandbox_id)
        if place in self._on_loopback:
            try:
                return await through_agent(open_agent, port)
            except PortClosed:
                self._on_loopback.discard(place)
        try:
            return await straight(agent.address, port)
        except (OSError, TimeoutError):
            connection = await through_agent(open_agent, port)
        self._on_loopback.add(place)
        return connection

    def _expire(self, place: Place, connection: Connection) -> None:
        waiting = [entry for entry in self._idle.get(place, []) if entry[0] is not connection]
        if waiting:
            self._idle[place] = waiting
        else:
            self._idle.pop(place, None)
        connection.close()
