"""Deleted disks are taken apart as soon as there is nothing else to do."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest_asyncio

from moonpool.errors import EngineError
from moonpool.hosts.clearing import Clearing
from moonpool.hosts.threads import Threads

PATIENCE = 10


@dataclass
class Disks:
    """Counts the commits, each of which fails with ``failure``."""

    commits: "asyncio.Queue[int]" = field(default_factory=asyncio.Queue)
    may_end: threading.Event = field(default_factory=threading.Event)
    ended: int = 0
    failure: EngineError | None = None
    told: Callable[[], object] | None = None

    def on_delete(self, callback: Callable[[], object] | None) -> None:
        self.told = callback

    def commit(self) -> None:
        self.loop.call_soon_threadsafe(self.commits.put_nowait, 1)
        self.may_end.wait(PATIENCE)
        self.ended += 1
        if self.failure is not None:
            raise self.failure

    def __post_init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.may_end.set()

    async def delete(self) -> None:
        """From another thread, as all are."""
        if self.told is not None:
            await asyncio.to_thread(self.told)

    async def committed(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.commits.get()


@dataclass
class World:
    disks: Disks
    clearing: Clearing


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    threads, disks = Threads(), Disks()
    clearing = Clearing(disks, threads)  # type: ignore[arg-type]
    yield World(disks, clearing)
    await clearing.close()
    threads.close()


async def test_a_deletion_is_followed_by_a_commit(world: World) -> None:
    for _ in range(3):
        await world.disks.delete()
        await world.disks.committed()


async def test_none_while_anybody_is_busy_and_one_for_all_that_were_deleted_meanwhile(world: World) -> None:
    with world.clearing.busy():
        with world.clearing.busy():
            for _ in range(5):
                await world.disks.delete()
        await asyncio.sleep(0)
        assert world.disks.commits.empty()
    await world.disks.committed()
    await world.disks.delete()
    await world.disks.committed()
    assert world.disks.commits.empty()


async def test_one_that_fails_is_not_the_last(world: World) -> None:
    world.disks.failure = EngineError("no space")
    await world.disks.delete()
    await world.disks.committed()
    world.disks.failure = None
    await world.disks.delete()
    await world.disks.committed()


async def test_nothing_is_begun_once_it_is_closed(world: World) -> None:
    with world.clearing.busy():
        await world.disks.delete()
        await world.clearing.close()
    await world.disks.delete()
    await asyncio.sleep(0)
    assert world.disks.commits.empty()


async def test_a_commit_that_has_begun_is_waited_for(world: World) -> None:
    """It holds the pool, which is to be unmounted next."""
    world.disks.may_end.clear()
    await world.disks.delete()
    await world.disks.committed()
    closing = asyncio.create_task(world.clearing.close())
    await asyncio.to_thread(asyncio.run_coroutine_threadsafe(asyncio.sleep(0), world.disks.loop).result)
    assert not closing.done()
    world.disks.may_end.set()
    await closing
    assert world.disks.ended == 1
