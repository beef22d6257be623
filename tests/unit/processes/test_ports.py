"""Listening ports through their service."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from moonpool import errors
from moonpool.access.model import Scope
from moonpool.guest.model import Port
from moonpool.processes.ports import PortService
from tests.conftest import ManualClock
from tests.unit.inside import Inside, running_inside
from tests.unit.sandboxes.conftest import STRANGER

LIMIT = 60.0  # seconds that a test waits for anything


@pytest.fixture
async def inside(clock: ManualClock, tmp_path: Path) -> AsyncIterator[Inside]:
    async with running_inside(clock, tmp_path) as made:
        yield made


@pytest.fixture
def ports(inside: Inside) -> PortService:
    return PortService(inside.sandboxes)


async def test_as_they_open_and_close(inside: Inside, ports: PortService) -> None:
    async with ports.watch(inside.owner, inside.sandbox.id) as lists, asyncio.timeout(LIMIT):
        await anext(lists)
        with socket.create_server(("127.0.0.1", 0)) as server:
            number = server.getsockname()[1]
            await until(lists, number, there=True)
            assert number in [port.port for port in await ports.list(inside.owner, inside.sandbox.id)]
            await inside.machines.disconnect()  # as when the sandbox is copied
            await until(lists, number, there=True)
        await until(lists, number, there=False)
        await inside.sandboxes.pause(inside.owner, inside.sandbox.id)
        with pytest.raises(errors.InvalidState):
            await rest(lists)


async def test_who_may(inside: Inside, ports: PortService) -> None:
    reader = replace(inside.owner, scopes=frozenset({Scope.SANDBOXES_READ}))
    for who, error in ((STRANGER, errors.SandboxNotFound), (reader, errors.Forbidden)):
        with pytest.raises(error):
            await ports.list(who, inside.sandbox.id)
        with pytest.raises(error):
            async with ports.watch(who, inside.sandbox.id):
                pass


async def until(lists: AsyncIterator[tuple[Port, ...]], number: int, *, there: bool) -> None:
    while (number in [port.port for port in await anext(lists)]) != there:
        pass


async def rest(lists: AsyncIterator[tuple[Port, ...]]) -> None:
    async for _ in lists:
        pass
