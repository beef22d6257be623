"""What teams use: exact over every change of state, counted once, and never less than nothing."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonpool.errors import InvalidInput
from moonpool.metrics.metering import days_before
from moonpool.metrics.model import Usage
from moonpool.sandboxes.model import Fork, SandboxChange
from tests.conftest import ManualClock
from tests.unit.metrics.conftest import SIZE, Seen
from tests.unit.sandboxes.conftest import STRANGER

HOUR = 3600.0


def expected(running: float, there: float) -> Usage:
    """Of one sandbox of ``SIZE``: seconds for which it ran, and for which it was there."""
    return Usage(running, 2 * running, 1024 * running, 2048 * there)


async def test_exact_over_every_change_of_state(seen: Seen) -> None:
    world, admin = seen.world, seen.world.admin
    sandbox = await seen.create()
    seen.clock.advance(100)
    await world.sandboxes.pause(admin, sandbox.id)
    seen.clock.advance(50)
    await world.sandboxes.resume(admin, sandbox.id)
    seen.clock.advance(7.25)
    await world.sandboxes.stop(admin, sandbox.id)
    seen.clock.advance(1000)
    await world.sandboxes.start(admin, sandbox.id)
    seen.clock.advance(20)
    world.machines.die(sandbox.id)
    await world.reaches(sandbox, (await world.get(sandbox)).state.STOPPED)
    seen.clock.advance(10)
    await world.sandboxes.destroy(admin, sandbox.id)
    seen.clock.advance(10_000)
    assert await seen.used() == expected(127.25, 1187.25)
    await seen.metrics.flush()
    assert await seen.used() == expected(127.25, 1187.25)


async def test_several_at_once_and_a_resize(seen: Seen) -> None:
    sandbox = await seen.create()
    await seen.world.sandboxes.fork(seen.world.admin, sandbox.id, [Fork(), Fork()])
    seen.clock.advance(10)
    await seen.world.sandboxes.update(seen.world.admin, sandbox.id, SandboxChange(cpu=4))
    seen.clock.advance(10)
    used = await seen.used()
    assert (used.running_seconds, used.cpu_seconds) == (60, 10 * 6 + 10 * 8)
    assert used.memory_mib_seconds == 60 * 1024


async def test_what_programs_used(seen: Seen) -> None:
    sandbox = await seen.create()
    await seen.works(sandbox, 10, cores=1.5)
    assert (await seen.used()).cpu_used_seconds == pytest.approx(1.5 * 9.5)


async def test_by_day(seen: Seen) -> None:
    seen.clock.advance(23 * HOUR)
    await seen.create()
    seen.clock.advance(26 * HOUR)
    first = seen.clock.now().date() - timedelta(days=3)
    days = await seen.metrics.usage(seen.world.admin, first, first + timedelta(days=3))
    assert [day.usage.running_seconds for day in days] == [0, HOUR, 24 * HOUR, HOUR]
    await seen.metrics.flush()
    assert await seen.metrics.usage(seen.world.admin, first, first + timedelta(days=3)) == days


async def test_another_teams(seen: Seen) -> None:
    await seen.create()
    seen.clock.advance(100)
    today = seen.clock.now().date()
    (day,) = await seen.metrics.usage(STRANGER, today, today)
    assert day.usage == Usage()


async def test_bad_ranges(seen: Seen) -> None:
    today = seen.clock.now().date()
    with pytest.raises(InvalidInput):
        await seen.metrics.usage(seen.world.admin, today, today - timedelta(days=1))
    with pytest.raises(InvalidInput):
        await seen.metrics.usage(seen.world.admin, today - timedelta(days=400), today)


class TestEndsOfServers:
    async def test_sandboxes_that_go_on_are_counted_once(self, seen: Seen) -> None:
        """Killed between two flushes, once or again and again: they ran all the time, and that is what is counted."""
        await seen.create()
        seen.clock.advance(45)
        await seen.metrics.flush()
        seen.clock.advance(20)
        for _ in range(3):
            await seen.killed(after=10)
            assert await seen.used() == expected(45 + 20 + 10, 45 + 20 + 10) if _ == 0 else True
        assert await seen.used() == expected(95, 95)

    async def test_one_that_was_made_after_the_last_flush(self, seen: Seen) -> None:
        """Its row tells since when it has been what it is."""
        await seen.metrics.flush()
        seen.clock.advance(10)
        await seen.create()
        seen.clock.advance(10)
        await seen.killed(after=5)
        assert await seen.used() == expected(15, 15)

    async def test_what_ended_after_the_last_flush(self, seen: Seen) -> None:
        """Nothing was in the server's memory that events do not tell: also of one that is no more."""
        sandbox = await seen.create()
        seen.clock.advance(100)
        await seen.metrics.flush()
        seen.clock.advance(29)
        await seen.world.sandboxes.destroy(seen.world.admin, sandbox.id)
        await seen.killed(after=1000)
        assert await seen.used() == expected(129, 129)
        await seen.killed(after=1000)
        assert await seen.used() == expected(129, 129)

    async def test_changes_after_the_last_flush(self, seen: Seen) -> None:
        admin, sandboxes = seen.world.admin, seen.world.sandboxes
        await seen.metrics.flush()
        seen.clock.advance(1)
        sandbox = await seen.create()
        seen.clock.advance(4)
        await sandboxes.update(admin, sandbox.id, SandboxChange(cpu=4))
        seen.clock.advance(5)
        await sandboxes.pause(admin, sandbox.id)
        seen.clock.advance(6)
        await sandboxes.resume(admin, sandbox.id)
        seen.clock.advance(7)
        await seen.killed(after=8)
        used = await seen.used()
        assert used == Usage(24, 4 * 2 + 20 * 4, 24 * 1024, 30 * 2048)

    async def test_a_clock_that_was_set_while_the_server_ran(self, seen: Seen) -> None:
        """What is counted afterwards is never more than the time that has passed."""
        sandbox = await seen.create()
        await seen.metrics.flush()
        seen.clock.wall += timedelta(days=400)
        seen.clock.advance(10)
        await seen.world.sandboxes.stop(seen.world.admin, sandbox.id)
        await seen.killed()
        today = seen.clock.now().date()
        assert (await seen.used(today - timedelta(days=1), today)).running_seconds <= 10

    async def test_a_power_cut(self, seen: Seen) -> None:
        """Nothing ran while the machine was off; the disk was there all the same."""
        sandbox = await seen.create()
        seen.clock.advance(100)
        await seen.metrics.flush()
        seen.world.machines.die(sandbox.id)
        seen.clock.steady = 5.0  # Counts from the machine's start.
        seen.clock.wall += timedelta(hours=2)
        await seen.killed(boot="second")
        assert await seen.used() == expected(100, 100)
        seen.clock.advance(50)
        assert (await seen.used()).disk_mib_seconds == 2048 * 150

    async def test_disks_that_were_at_rest_meanwhile(self, seen: Seen) -> None:
        sandbox = await seen.create()
        await seen.world.sandboxes.stop(seen.world.admin, sandbox.id)
        await seen.ended()
        seen.clock.steady, seen.clock.wall = 5.0, seen.clock.wall + timedelta(hours=2)
        await seen.begins(boot="second")
        assert await seen.used() == expected(0, 2 * HOUR)

    async def test_a_database_that_refuses_for_a_while(self, seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
        from sqlalchemy.exc import OperationalError

        await seen.create()
        seen.clock.advance(10)
        with monkeypatch.context() as refusing:

            def refuse(*_: object) -> None:
                raise OperationalError("insert", {}, Exception("locked"))

            refusing.setattr(seen.metrics._repository, "set_accrued", refuse)
            await seen.metrics.flush()
        seen.clock.advance(10)
        await seen.metrics.flush()
        await seen.metrics.flush()
        assert await seen.used() == expected(20, 20)


class TestJumpsOfTheClock:
    @pytest.mark.parametrize("jump", [timedelta(days=-400), timedelta(hours=-1), timedelta(days=400)])
    async def test_while_it_runs(self, seen: Seen, jump: timedelta) -> None:
        before = seen.clock.now().date()
        await seen.create()
        seen.clock.advance(10)
        seen.clock.wall += jump
        seen.clock.advance(10)
        await seen.metrics.flush()
        after = seen.clock.now().date()
        total = Usage()
        for day in {before, after, before - timedelta(days=1), after - timedelta(days=1)}:
            used = await seen.used(day, day)
            assert min(vars(used).values()) >= 0
            total += used
        assert total == expected(20, 20)

    @pytest.mark.parametrize("jump", [timedelta(days=-400), timedelta(days=400)])
    async def test_while_no_server_looked(self, seen: Seen, jump: timedelta) -> None:
        await seen.create()
        seen.clock.advance(30)
        await seen.metrics.flush()
        before = seen.clock.now().date()
        seen.clock.wall += jump
        await seen.killed(after=30)
        today = seen.clock.now().date()
        total = sum(
            [await seen.used(day, day) for day in {before, today, today - timedelta(days=1)}],
            Usage(),
        )
        assert total.running_seconds == 60


@given(st.datetimes(timezones=st.just(ManualClock().wall.tzinfo)), st.floats(0, 1e7))
def test_days_add_up(end: object, seconds: float) -> None:
    from datetime import datetime

    assert isinstance(end, datetime)
    if end.year < 3:
        return
    parts = list(days_before(end, seconds))
    assert sum(part for _, part in parts) == pytest.approx(seconds, abs=1e-3)
    assert all(0 < part <= 24 * HOUR for _, part in parts)
    assert [day for day, _ in parts] == sorted({day for day, _ in parts}, reverse=True)


def test_the_size_used_here() -> None:
    assert (SIZE.cpu, SIZE.memory_mib, SIZE.disk_mib) == (2, 1024, 2048)
