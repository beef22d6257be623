"""A team's course: what ran at one time, and the most of each step."""

from itertools import pairwise

from moonpool.sandboxes.model import NewSandbox
from tests.unit.metrics.conftest import SIZE, Seen
from tests.unit.sandboxes.conftest import STRANGER

HOUR, DAY = 3600.0, 24 * 3600.0


async def test_now(seen: Seen) -> None:
    for _ in range(3):
        await seen.create()
    now = seen.metrics.now(seen.world.admin)
    assert (now.running, now.cpu, now.memory_mib) == (3, 6, 3072)
    assert seen.metrics.now(STRANGER).running == 0


async def test_short_peaks_are_not_missed(seen: Seen) -> None:
    seen.clock.advance(100)
    sandbox = await seen.create()
    await seen.world.sandboxes.destroy(seen.world.admin, sandbox.id)
    seen.clock.advance(100)
    points = await seen.metrics.team(seen.world.admin, HOUR)
    assert max(point.running for point in points) == 1
    assert points[-1].running == 0
    peak = await seen.metrics.peak(seen.world.admin)
    assert (peak.running, peak.cpu, peak.memory_mib) == (1, 2, 1024)


async def test_each_step_has_a_point(seen: Seen) -> None:
    sandbox = await seen.create()
    seen.clock.advance(600)
    await seen.metrics.flush()
    seen.clock.advance(600)
    await seen.world.sandboxes.pause(seen.world.admin, sandbox.id)
    seen.clock.advance(600)
    points = await seen.metrics.team(seen.world.admin, HOUR)
    times = [point.at for point in points]
    assert {later - earlier for earlier, later in pairwise(times)} == {10.0}
    assert {point.running for point in points if point.at < times[0] + 1200} == {1}
    assert {point.running for point in points if point.at > times[0] + 1200} == {0}


async def test_coarser_the_further_back(seen: Seen) -> None:
    await seen.create()
    for _ in range(48):
        seen.clock.advance(HOUR)
        await seen.metrics.flush()
    await seen.create(NewSandbox(cpu=0.5, memory_mib=512))
    day = await seen.metrics.team(seen.world.admin, DAY)
    month = await seen.metrics.team(seen.world.admin, 30 * DAY)
    assert (len(day), len(month)) == (289, 49)
    assert day[-1].cpu == month[-1].cpu == 2.5
    assert {point.running for point in month[:-1]} == {1}


async def test_over_an_end_of_the_server(seen: Seen) -> None:
    await seen.create()
    seen.clock.advance(100)
    await seen.metrics.flush()
    await seen.killed(after=1000)
    points = await seen.metrics.team(seen.world.admin, HOUR)
    assert {point.running for point in points} == {1}
    times = [point.at for point in points]
    assert max(later - earlier for earlier, later in pairwise(times)) >= 1000  # Nobody looked.


async def test_another_team_sees_nothing_of_it(seen: Seen) -> None:
    await seen.create(SIZE)
    assert {point.running for point in await seen.metrics.team(STRANGER, HOUR)} == {0}
