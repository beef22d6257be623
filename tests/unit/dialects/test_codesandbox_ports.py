"""A look at the ports that the watch overtakes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

from moonpool.dialects.codesandbox.pitcher.ports import Ports
from moonpool.guest.model import Port

OPENED = Port(port=3000, address="0.0.0.0", pid=7, process="server")


class Agent:
    """Looks before the port is open, and answers after the watch has told that it is."""

    def __init__(self) -> None:
        self.news: asyncio.Queue[tuple[Port, ...]] = asyncio.Queue()
        self.heard = asyncio.Event()
        self.looks = 0

    async def ports(self) -> list[Port]:
        self.looks += 1
        if self.looks > 1:
            return [OPENED]
        self.news.put_nowait((OPENED,))
        await self.heard.wait()
        return []

    @asynccontextmanager
    async def watch_ports(self) -> AsyncIterator[AsyncIterator[tuple[Port, ...]]]:
        yield self._changes()

    async def _changes(self) -> AsyncIterator[tuple[Port, ...]]:
        while True:
            yield await self.news.get()


class Place:
    sandbox_id = "box"
    services = SimpleNamespace(server=SimpleNamespace(preview_domain="localhost"))

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    @asynccontextmanager
    async def agent(self) -> AsyncIterator[Agent]:
        yield self._agent

    watching = agent

    def tell_all(self, *_: object) -> None: ...


async def test_what_the_watch_has_told_is_not_taken_back() -> None:
    agent = Agent()
    place: Any = Place(agent)
    ports = Ports(place, agent.heard.set)
    ports.start()
    async with asyncio.timeout(10):
        assert await ports.look() == [{"port": 3000, "url": "box-3000.localhost"}]
    assert ports.open == [OPENED]
    await ports.close()
