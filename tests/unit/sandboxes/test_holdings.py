"""What a team may hold at one time: never exceeded by many at once, and none refused too early."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from moonpool.access.model import LimitFigure
from moonpool.errors import EngineError, LimitExceeded, NoCapacity, RateLimited, TransitionInProgress
from moonpool.sandboxes.holdings import Holdings
from moonpool.sandboxes.model import Fork, NewSandbox, Sandbox, SandboxChange, SandboxState
from tests.unit.sandboxes.conftest import World

S = SandboxState
SMALL = NewSandbox(cpu=1, memory_mib=512, disk_mib=1024)
AT_ONCE = 50


async def limit(world: World, **figures: LimitFigure) -> None:
    await world.core.access.limits.change(world.admin.team_id, figures)


async def all_at_once(world: World, new: NewSandbox = SMALL, count: int = AT_ONCE) -> tuple[list[Sandbox], list[str]]:
    """Those made, and the fields of the limits that the others met."""
    outcomes = await asyncio.gather(*(world.create(new) for _ in range(count)), return_exceptions=True)
    made = [outcome for outcome in outcomes if isinstance(outcome, Sandbox)]
    refused = [outcome.details["field"] for outcome in outcomes if isinstance(outcome, LimitExceeded)]
    assert len(made) + len(refused) == count, outcomes
    return made, refused


@pytest.mark.parametrize(
    ("limits", "fit", "field"),
    [
        ({"sandboxes": 7}, 7, "sandboxes"),
        ({"running": 7}, 7, "running"),
        ({"total_cpu": 7.5}, 7, "total_cpu"),
        ({"total_memory_mib": 4000}, 7, "total_memory"),
        ({"total_disk_mib": 7168}, 7, "total_disk"),
        ({"sandboxes": 9, "running": 4}, 4, "running"),
        ({"sandboxes": 0}, 0, "sandboxes"),
    ],
)
async def test_fifty_at_once(world: World, limits: Mapping[str, Any], fit: int, field: str) -> None:
    await limit(world, **limits)
    made, refused = await all_at_once(world)
    assert (len(made), len(refused)) == (fit, AT_ONCE - fit)
    assert set(refused) == {field}
    assert world.sandboxes.holdings(world.admin) == Holdings(fit, fit, fit, 512 * fit, 1024 * fit)
    assert len(world.machines.states) == fit  # Of those refused nothing was made.


async def test_forks_count_and_are_made_together_or_not_at_all(world: World) -> None:
    source = await world.create(SMALL)
    await limit(world, sandboxes=4)
    for _ in range(2):
        with pytest.raises(LimitExceeded):
            await world.sandboxes.fork(world.admin, source.id, [Fork()] * 4)
    assert len(await world.sandboxes.fork(world.admin, source.id, [Fork()] * 3)) == 3
    assert world.sandboxes.holdings(world.admin).sandboxes == 4


async def test_starts_and_resumes_count_as_creates_do(world: World) -> None:
    stopped, paused, _ = [await world.create(SMALL) for _ in range(3)]
    await world.sandboxes.stop(world.admin, stopped.id)
    await world.sandboxes.pause(world.admin, paused.id)
    await limit(world, running=1)
    for refused in (world.sandboxes.start(world.admin, stopped.id), world.sandboxes.resume(world.admin, paused.id)):
        with pytest.raises(LimitExceeded):
            await refused
    assert [(await world.get(one)).state for one in (stopped, paused)] == [S.STOPPED, S.PAUSED]
    await limit(world, running=2)
    outcomes = await asyncio.gather(
        world.sandboxes.start(world.admin, stopped.id),
        world.sandboxes.resume(world.admin, paused.id),
        return_exceptions=True,
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["LimitExceeded", "Sandbox"]


async def test_what_is_given_back_can_be_had_again(world: World) -> None:
    await limit(world, running=1, sandboxes=2)
    first = await world.create(SMALL)
    with pytest.raises(LimitExceeded):
        await world.create(SMALL)
    await world.sandboxes.stop(world.admin, first.id)
    second = await world.create(SMALL)
    await world.sandboxes.stop(world.admin, second.id)
    with pytest.raises(LimitExceeded):
        await world.create(SMALL)
    await world.sandboxes.destroy(world.admin, second.id)
    await world.create(SMALL)


async def test_a_failed_create_holds_its_place_until_it_is_destroyed(world: World) -> None:
    await limit(world, sandboxes=1)
    world.machines.fail("create", NoCapacity())
    with pytest.raises(NoCapacity):
        await world.create(NewSandbox(name="failed"))
    assert world.sandboxes.holdings(world.admin).running == 0
    with pytest.raises(LimitExceeded):
        await world.create()
    await world.sandboxes.destroy(world.admin, "failed")
    await world.create()


async def test_a_limit_below_what_is_there_stops_growth_alone(world: World) -> None:
    made = [await world.create(SMALL) for _ in range(3)]
    await limit(world, running=1, total_cpu=1)
    await world.sandboxes.pause(world.admin, made[0].id)
    await world.sandboxes.update(world.admin, made[1].id, SandboxChange(labels={"still": "works"}))
    await world.sandboxes.update(world.admin, made[1].id, SandboxChange(cpu=0.5))
    with pytest.raises(LimitExceeded):
        await world.sandboxes.update(world.admin, made[1].id, SandboxChange(cpu=1))


async def test_a_resize_that_does_not_fit_leaves_the_machine_as_it_is(world: World) -> None:
    one, other = [await world.create(SMALL) for _ in range(2)]
    await limit(world, total_memory_mib=2048)
    with pytest.raises(LimitExceeded, match="Total memory limit"):
        await world.sandboxes.update(world.admin, one.id, SandboxChange(memory_mib=2048))
    assert world.machines.resources == {}
    # Both pass a first look; the second to write is refused, and its machine is set back.
    gate = world.machines.hold("set_resources")
    first = asyncio.ensure_future(world.sandboxes.update(world.admin, one.id, SandboxChange(memory_mib=1536)))
    await gate.reached.wait()
    await world.sandboxes.update(world.admin, other.id, SandboxChange(memory_mib=1536))
    gate.open()
    with pytest.raises(LimitExceeded):
        await first
    assert world.machines.resources[one.id].memory_mib == 512
    assert (await world.get(one)).resources.memory_mib == 512


async def test_another_teams_sandboxes_do_not_count(world: World) -> None:
    await world.create(SMALL)
    await limit(world, sandboxes=1)
    assert world.core.access.limits.of("another").sandboxes is None


async def test_the_limit_of_one_sandbox(world: World) -> None:
    await limit(world, cpu=2, memory_mib=None)
    with pytest.raises(LimitExceeded, match=r"CPU request 3 cores exceeds maximum allowed per sandbox \(2 cores\)"):
        await world.create(NewSandbox(cpu=3))
    await world.create(NewSandbox(cpu=2, memory_mib=1 << 30))


async def test_snapshots_at_once(world: World) -> None:
    sandboxes = [await world.create(SMALL) for _ in range(10)]
    await limit(world, snapshots=3)
    captures = [world.core.snapshots.capture(world.admin, one.id) for one in sandboxes]
    outcomes = await asyncio.gather(*captures, return_exceptions=True)
    assert sum(isinstance(outcome, LimitExceeded) for outcome in outcomes) == 7
    assert world.core.snapshots.count(world.admin) == 3
    assert len(world.machines.kept) == 3


class TestRates:
    async def test_creates_and_forks_draw_on_one_bucket(self, world: World) -> None:
        await limit(world, creates_hourly=3)
        source = await world.create(SMALL)
        await world.sandboxes.fork(world.admin, source.id, [Fork(), Fork()])
        for refused in (world.create(SMALL), world.sandboxes.fork(world.admin, source.id, [Fork()])):
            with pytest.raises(RateLimited):
                await refused
        world.clock.advance(1200)
        await world.create(SMALL)

    async def test_changes_but_not_destroys(self, world: World) -> None:
        sandbox = await world.create(SMALL)
        await limit(world, changes_hourly=2)
        await world.sandboxes.pause(world.admin, sandbox.id)
        await world.sandboxes.resume(world.admin, sandbox.id)
        with pytest.raises(RateLimited):
            await world.sandboxes.stop(world.admin, sandbox.id)
        assert (await world.get(sandbox)).state is S.RUNNING
        await world.sandboxes.destroy(world.admin, sandbox.id)

    async def test_a_fork_that_has_to_wait_costs_nothing(self, world: World) -> None:
        sandbox = await world.create(SMALL)
        await limit(world, creates_hourly=1)
        gate = world.machines.hold("pause")
        pausing = asyncio.ensure_future(world.sandboxes.pause(world.admin, sandbox.id))
        await gate.reached.wait()
        with pytest.raises(TransitionInProgress):
            await world.sandboxes.fork(world.admin, sandbox.id, [Fork()])
        gate.open()
        await pausing
        await world.sandboxes.fork(world.admin, sandbox.id, [Fork()])


async def test_an_engine_that_fails_frees_what_it_did_not_use(world: World) -> None:
    await limit(world, running=1)
    world.machines.fail("create", EngineError())
    with pytest.raises(EngineError):
        await world.create(SMALL)
    await world.create(SMALL)
