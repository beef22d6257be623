"""Traffic that puts the idle rules off, and traffic that does not."""

import asyncio

import pytest

from moonpool.errors import InvalidInput
from moonpool.sandboxes.model import NewSandbox, SandboxState, Timers
from tests.unit.sandboxes.conftest import World

S = SandboxState


async def a_minute(world: World, state: SandboxState, timers: Timers, *passed: int) -> None:
    """Six looks, at each of which so many more bytes have passed; then the sandbox is in ``state``."""
    sandbox = await world.create(NewSandbox(timers=timers))
    world.machines.bytes[sandbox.id] = 10**6
    await world.core.traffic.look()
    for more in passed:
        world.clock.advance(10)
        world.machines.bytes[sandbox.id] += more
        await world.core.traffic.look()
    world.core.rules.apply_due()
    await asyncio.sleep(0)  # A rule that applies has begun by now.
    await world.core.lifecycle.flights.settled(sandbox.id)
    assert (await world.get(sandbox)).state is state


@pytest.mark.parametrize(
    ("threshold", "passed", "state"),
    [
        (1000, (0, 0, 0, 0, 0, 0), S.PAUSED),
        (1000, (999, 999, 999, 999, 999, 999), S.PAUSED),
        (1000, (0, 0, 0, 0, 1000, 0), S.RUNNING),
        (0, (0, 0, 0, 0, 1, 0), S.RUNNING),
        (0, (0, 0, 0, 0, 0, 0), S.PAUSED),
        (None, (10**9,) * 6, S.PAUSED),
    ],
)
async def test_enough_traffic_is_activity(
    sqlite_world: World, threshold: int | None, passed: tuple[int, ...], state: SandboxState
) -> None:
    timers = Timers(auto_pause=50, activity_bytes=threshold)
    await a_minute(sqlite_world, state, timers, *passed)


async def test_counters_that_begin_anew(sqlite_world: World) -> None:
    await a_minute(sqlite_world, S.RUNNING, Timers(auto_pause=50, activity_bytes=10), 0, 0, -(10**6) + 50)


@pytest.mark.parametrize("threshold", [-1, 2**63])
async def test_thresholds_that_cannot_be(sqlite_world: World, threshold: int) -> None:
    with pytest.raises(InvalidInput):
        await sqlite_world.create(NewSandbox(timers=Timers(activity_bytes=threshold)))
