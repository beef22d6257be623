"""Ports that programs in the sandbox listen on, as they open and close."""

import asyncio
from collections.abc import Callable
from typing import Any

from moonpool.dialects.codesandbox.pitcher.client import PORTS
from moonpool.dialects.codesandbox.pitcher.place import Place, cancel
from moonpool.errors import AgentTimeout, AgentUnavailable, InvalidState
from moonpool.guest.model import Port


class Ports:
    """``start`` begins to watch; ``changed`` is called at every change, before it is told of."""

    def __init__(self, place: Place, changed: Callable[[], None]) -> None:
        self._place = place
        self._changed = changed
        self._found: dict[int, Port] = {}
        self._known = asyncio.Event()
        self._told = 0  # how often the watch has said something
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._watch(), name=f"ports of {self._place.sandbox_id}")

    async def close(self) -> None:
        await cancel(self._task)

    @property
    def open(self) -> list[Port]:
        """One for each number, in order."""
        return [self._found[number] for number in sorted(self._found)]

    def document(self, port: Port) -> dict[str, Any]:
        """``url`` is a host without a scheme, which the SDK hands on as it is."""
        domain = self._place.services.server.preview_domain
        return {"port": port.port, "url": f"{self._place.sandbox_id}-{port.port}.{domain}"}

    async def look(self) -> list[dict[str, Any]]:
        """As it is now: a program that said that it listens is in it.

        An answer that the watch overtook may be the older one, and the watch says nothing twice: so it is not taken.
        """
        async with self._place.agent() as agent:
            told: int | None = None
            while told != self._told:
                told, ports = self._told, tuple(await agent.ports())
            self._take(ports)
        return self.shown()

    def shown(self) -> list[dict[str, Any]]:
        return [self.document(port) for port in self.open]

    def _take(self, ports: tuple[Port, ...]) -> None:
        found = {port.port: port for port in reversed(ports)}
        if found.keys() == self._found.keys() and self._known.is_set():
            return
        self._found = found
        self._known.set()
        self._changed()  # First: who has been told of a port asks the task for it, which the SDK answers by itself.
        self._place.tell_all("port/changed", {"list": self.shown()}, PORTS)

    async def _watch(self) -> None:
        while True:
            try:
                async with self._place.watching() as agent, agent.watch_ports() as changes:
                    async for ports in changes:
                        self._told += 1
                        self._take(ports)
                    raise AgentUnavailable
            except (AgentUnavailable, AgentTimeout, InvalidState):
                if await self._place.lost():
                    return
