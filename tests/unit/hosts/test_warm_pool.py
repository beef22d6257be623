"""How many members a pool keeps ready."""

import asyncio
from dataclasses import dataclass

import pytest

from moonpool.hosts.warm_pool import WarmPool


@dataclass(eq=False)
class Member:
    alive: bool = True


class Maker:
    """Members, and a word about each that was made or retired."""

    def __init__(self) -> None:
        self.count = 0
        self.changed = asyncio.Condition()

    async def make(self) -> Member:
        await self._change(+1)
        return Member()

    async def retire(self, member: Member) -> None:
        member.alive = False
        await self._change(-1)

    async def _change(self, step: int) -> None:
        async with self.changed:
            self.count += step
            self.changed.notify_all()

    async def reached(self, count: int) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: self.count == count)


@pytest.fixture
def maker() -> Maker:
    return Maker()


async def test_more_and_fewer_than_its_own_number(maker: Maker) -> None:
    pool = WarmPool(maker.make, maker.retire, target=2)
    pool.keep(3)
    await maker.reached(5)
    await pool.filled.wait()
    pool.keep(1)
    await maker.reached(3)
    assert (await pool.claim()).alive
    await maker.reached(4)
    await pool.close()


async def test_it_is_filled_with_its_own_number(maker: Maker) -> None:
    pool = WarmPool(maker.make, maker.retire, target=0)
    pool.keep(2)
    assert pool.filled.is_set()
    await maker.reached(2)
    pool.keep(0)
    await maker.reached(0)
    await pool.close()


async def test_who_cannot_wait_gets_one_that_lives_or_none(maker: Maker) -> None:
    pool = WarmPool(maker.make, maker.retire, target=1)
    assert pool.take() is None
    pool.fill()
    await pool.filled.wait()
    with pool.quiet():
        taken = pool.take()
        assert taken is not None
        assert taken.alive
        assert pool.take() is None
    await pool.filled.wait()
    await pool.close()


async def test_a_dead_one_is_not_given_away(maker: Maker) -> None:
    members = [Member(alive=False), Member()]

    async def make() -> Member:
        return members.pop(0)

    pool = WarmPool(make, maker.retire, target=2)
    pool.fill()
    await pool.filled.wait()
    with pool.quiet():
        taken = pool.take()
        assert taken is not None
        assert taken.alive
        await maker.reached(-1)
        assert pool.take() is None
    members += [Member(), Member()]
    await pool.close()


async def test_it_refills_a_moment_after_a_create(maker: Maker) -> None:
    pool = WarmPool(maker.make, maker.retire, target=1)
    pool.fill()
    await pool.filled.wait()
    with pool.quiet():
        await pool.claim()
    begun = asyncio.all_tasks()
    assert maker.count == 1
    assert len(begun) == 1  # this test: nobody makes one yet
    await pool.filled.wait()
    assert maker.count == 2
    await pool.close()


async def test_a_row_of_creates_does_not_put_it_off_for_ever(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = WarmPool(maker.make, maker.retire, target=1)
    pool.fill()
    await pool.filled.wait()
    monkeypatch.setattr("moonpool.hosts.warm_pool.REST", 0.0)
    with pool.quiet():
        await pool.claim()
    with pool.quiet():  # The moment ends within the next one.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert maker.count == 1
    monkeypatch.setattr("moonpool.hosts.warm_pool.REST", 3600.0)
    await pool.filled.wait()
    await pool.close()
