"""Figures of sandboxes: as fine as they are kept, over sleep, pauses, ends of servers and jumps of clocks."""

import os
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from moonpool.errors import SandboxNotFound
from moonpool.sandboxes.model import SandboxState
from tests.unit.metrics.conftest import MEBIBYTE, SIZE, Seen
from tests.unit.sandboxes.conftest import STRANGER

MINUTE, HOUR = 60.0, 3600.0


def gaps(times: list[float]) -> set[float]:
    return {round(later - earlier, 3) for earlier, later in pairwise(times)}


async def test_twice_a_second(seen: Seen) -> None:
    sandbox = await seen.create()
    seen.world.machines.disk[sandbox.id] = 7 * MEBIBYTE
    await seen.works(sandbox, 5, cores=1.5, memory=300)
    points = await seen.points(sandbox, 10 * MINUTE)
    assert len(points) == 9  # The first look only tells from where on to count.
    assert gaps([point.at for point in points]) == {0.5}
    last = points[-1]
    assert last.cpu == pytest.approx(1.5)
    assert (last.memory_bytes, last.cache_bytes, last.disk_bytes) == (300 * MEBIBYTE, 5 * MEBIBYTE, 7 * MEBIBYTE)


async def test_what_sleeps_has_points_and_is_not_asked(seen: Seen) -> None:
    sandbox = await seen.create()
    await seen.works(sandbox, 2, cores=1, memory=50)
    await seen.sleeps(sandbox, memory=60)
    seen.clock.advance(20)
    points = await seen.points(sandbox, 10)
    assert len(points) == 21
    assert {(point.cpu, point.memory_bytes) for point in points} == {(0.0, 60 * MEBIBYTE)}
    await seen.works(sandbox, 1, cores=2)
    points = await seen.points(sandbox, 10)
    assert gaps([point.at for point in points]) == {0.5}
    assert [round(point.cpu, 2) for point in points[-3:]] == [0.0, 2.0, 2.0]


async def test_one_that_sleeps_from_its_first_look_on(seen: Seen) -> None:
    sandbox = await seen.create()
    await seen.sleeps(sandbox, memory=30)
    seen.clock.advance(5)
    assert [point.cpu for point in await seen.points(sandbox, 10)] == [0.0] * 11


async def test_means_of_longer_steps(seen: Seen) -> None:
    sandbox = await seen.create()
    await seen.works(sandbox, 30, cores=1, memory=100)
    await seen.works(sandbox, 30, cores=2, memory=300)
    await seen.works(sandbox, 10, cores=0)
    points = await seen.points(sandbox, 2 * HOUR)
    assert gaps([point.at for point in points]) == {30.0}
    assert [round(point.cpu, 1) for point in points] == [1.0, 2.0, 0.1]
    assert points[1].memory_bytes == pytest.approx(297 * MEBIBYTE, rel=0.02)
    (whole,) = await seen.points(sandbox, 24 * HOUR)  # A step that has not passed yet.
    assert whole.cpu == pytest.approx(90 / 70, rel=0.05)


async def test_a_day_of_sleep(seen: Seen) -> None:
    sandbox = await seen.create()
    await seen.works(sandbox, 5, cores=1)
    await seen.sleeps(sandbox)
    for _ in range(24):
        seen.clock.advance(HOUR)
        await seen.metrics.flush()
    points = await seen.points(sandbox, 24 * HOUR)
    assert gaps([point.at for point in points]) == {300.0}
    assert len(points) == 288
    assert len(await seen.points(sandbox, 2 * HOUR)) == 240
    assert len(await seen.points(sandbox, 10 * MINUTE)) == 1201


async def test_kept_over_a_pause_and_not_made_up_for_it(seen: Seen) -> None:
    sandbox = await seen.create()
    await seen.works(sandbox, 5, cores=1)
    await seen.sleeps(sandbox)
    seen.clock.advance(5)
    await seen.world.sandboxes.pause(seen.world.admin, sandbox.id)
    before = await seen.points(sandbox, 10 * MINUTE)
    seen.clock.advance(60)
    await seen.metrics.flush()
    assert await seen.points(sandbox, 10 * MINUTE) == before
    await seen.world.sandboxes.resume(seen.world.admin, sandbox.id)
    await seen.works(sandbox, 5, cores=1)
    times = [point.at for point in await seen.points(sandbox, 10 * MINUTE)]
    assert times[: len(before)] == [point.at for point in before]
    assert max(gaps(times)) >= 60
    assert len(await seen.points(sandbox, 2 * HOUR)) == 2


async def test_of_stopped_ones_but_not_of_destroyed_ones(seen: Seen) -> None:
    sandbox = await seen.create()
    await seen.works(sandbox, 5, cores=1)
    await seen.world.sandboxes.stop(seen.world.admin, sandbox.id)
    assert len(await seen.points(sandbox, 10 * MINUTE)) == 9
    await seen.metrics.flush()
    folder = seen.world.settings.data / "metrics" / "sandboxes"
    assert os.listdir(folder) == [sandbox.id]
    await seen.world.sandboxes.destroy(seen.world.admin, sandbox.id)
    await seen.metrics.flush()
    assert os.listdir(folder) == []
    with pytest.raises(SandboxNotFound):
        await seen.points(sandbox, MINUTE)


async def test_another_teams(seen: Seen) -> None:
    sandbox = await seen.create()
    with pytest.raises(SandboxNotFound):
        await seen.metrics.sandbox(STRANGER, sandbox.id, 0)


class TestEndsOfServers:
    async def test_nothing_is_lost_at_an_ordinary_end(self, seen: Seen) -> None:
        sandbox = await seen.create()
        await seen.works(sandbox, 5, cores=1)
        before = await seen.points(sandbox, 10 * MINUTE)
        await seen.ended()
        await seen.begins()
        assert await seen.points(sandbox, 10 * MINUTE) == before

    async def test_at_most_the_last_flush_is_lost(self, seen: Seen) -> None:
        sandbox = await seen.create()
        await seen.works(sandbox, 5, cores=1)
        await seen.metrics.flush()
        before = await seen.points(sandbox, 10 * MINUTE)
        await seen.works(sandbox, 5, cores=1)
        await seen.killed(after=2)
        assert await seen.points(sandbox, 10 * MINUTE) == before
        await seen.works(sandbox, 5, cores=1)
        after = await seen.points(sandbox, 10 * MINUTE)
        assert [point.at for point in after] == sorted({point.at for point in after})
        assert {round(point.cpu, 1) for point in after} == {1.0}

    async def test_one_that_slept_through_it(self, seen: Seen) -> None:
        sandbox = await seen.create()
        await seen.works(sandbox, 2, cores=1)
        await seen.sleeps(sandbox)
        await seen.metrics.flush()
        await seen.killed(after=60)
        await seen.sleeps(sandbox)
        assert gaps([point.at for point in await seen.points(sandbox, 10 * MINUTE)]) <= {0.5}

    async def test_nothing_is_made_up_for_one_that_was_gone(self, seen: Seen) -> None:
        sandbox = await seen.create()
        await seen.works(sandbox, 2, cores=1)
        await seen.sleeps(sandbox)
        await seen.metrics.flush()
        seen.world.machines.die(sandbox.id)
        await seen.killed(boot="second", after=300)
        before = len(await seen.points(sandbox, 10 * MINUTE))
        await seen.world.sandboxes.start(seen.world.admin, sandbox.id)
        seen.clock.advance(5)
        await seen.works(sandbox, 5)
        points = await seen.points(sandbox, 10 * MINUTE)
        assert len(points) == before + 9
        assert max(gaps([point.at for point in points])) >= 300

    async def test_what_no_sandbox_has_any_more_goes(self, seen: Seen) -> None:
        stray = seen.world.settings.data / "metrics" / "sandboxes" / "a1234567890123456789"
        stray.write_bytes(b"something")
        await seen.killed()
        assert not stray.exists()


class TestOddThings:
    async def test_a_clock_that_is_set_back(self, seen: Seen) -> None:
        sandbox = await seen.create()
        await seen.works(sandbox, 40, cores=1)
        seen.clock.wall -= timedelta(days=1)
        await seen.works(sandbox, 40, cores=1)
        points = await seen.points(sandbox, 10 * MINUTE)
        assert len(points) >= 79
        assert all(point.cpu >= 0 for point in points)
        assert {round(point.cpu, 1) for point in points} == {1.0}
        assert all(0 <= point.cpu < 3 for point in await seen.points(sandbox, 24 * HOUR))

    async def test_a_clock_that_is_set_forward(self, seen: Seen) -> None:
        sandbox = await seen.create()
        await seen.works(sandbox, 5, cores=1)
        seen.clock.wall += timedelta(days=400)
        await seen.works(sandbox, 5, cores=1)
        assert {round(point.cpu, 1) for point in await seen.points(sandbox, 10 * MINUTE)} == {1.0}

    async def test_counters_that_begin_anew(self, seen: Seen) -> None:
        sandbox = await seen.create()
        await seen.works(sandbox, 5, cores=1)
        seen.cpu[sandbox.id] = 0
        await seen.works(sandbox, 1)
        assert all(point.cpu >= 0 for point in await seen.points(sandbox, 10 * MINUTE))

    async def test_a_file_that_is_damaged(self, seen: Seen) -> None:
        sandbox = await seen.create()
        await seen.works(sandbox, 5, cores=1)
        await seen.metrics.flush()
        file = seen.world.settings.data / "metrics" / "sandboxes" / sandbox.id
        file.write_bytes(b"not figures")
        assert await seen.points(sandbox, 10 * MINUTE) == []
        await seen.works(sandbox, 5, cores=1)
        assert len(await seen.points(sandbox, 10 * MINUTE)) == 10

    async def test_a_disk_that_cannot_be_written(self, seen: Seen, tmp_path: Path) -> None:
        """Figures are missing then; nothing else is."""
        sandbox = await seen.create()
        folder = seen.world.settings.data / "metrics" / "sandboxes"
        folder.rmdir()
        folder.write_text("in the way")
        await seen.works(sandbox, 5, cores=1)
        await seen.metrics.flush()
        assert await seen.points(sandbox, 10 * MINUTE) == []
        assert (await seen.world.get(sandbox)).state is SandboxState.RUNNING

    async def test_a_sample_of_what_nobody_knows(self, seen: Seen) -> None:
        sandbox = await seen.create(SIZE)
        await seen.world.sandboxes.destroy(seen.world.admin, sandbox.id)
        await seen.look(sandbox)
        await seen.metrics.flush()
