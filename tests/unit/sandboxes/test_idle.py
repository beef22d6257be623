"""Rules by the clock; the clock is moved by hand and the rules are asked what is due."""

import pytest

from moonpool.errors import CheckpointRefused, EngineError
from moonpool.sandboxes.idle import RETRY_AFTER
from moonpool.sandboxes.model import NewSandbox, Sandbox, SandboxChange, SandboxState, Timers
from tests.unit.sandboxes.conftest import World

S = SandboxState


async def pass_time(world: World, seconds: float) -> None:
    world.clock.advance(seconds)
    world.core.rules.apply_due()


async def stays(world: World, sandbox: Sandbox, state: SandboxState) -> None:
    await world.core.lifecycle.flights.settled(sandbox.id)
    assert (await world.get(sandbox)).state is state


class TestIdle:
    @pytest.mark.parametrize(
        ("timers", "state"),
        [
            (Timers(auto_stop=60), S.STOPPED),
            (Timers(auto_pause=60), S.PAUSED),
            (Timers(idle_timeout=60), S.PAUSED),
            (Timers(auto_stop=60, auto_pause=90), S.STOPPED),
            (Timers(auto_stop=60, auto_delete=0), S.DESTROYED),
            (Timers(ttl=60), S.DESTROYED),
        ],
    )
    async def test_each_rule(self, world: World, timers: Timers, state: SandboxState) -> None:
        sandbox = await world.create(NewSandbox(timers=timers))
        await pass_time(world, 59)
        await stays(world, sandbox, S.RUNNING)
        await pass_time(world, 1)
        await world.reaches(sandbox, state)

    async def test_no_timer_no_end(self, world: World) -> None:
        sandbox = await world.create(NewSandbox(timers=Timers(auto_stop=0)))
        await pass_time(world, 10**8)
        await stays(world, sandbox, S.RUNNING)

    async def test_use_puts_it_off(self, world: World) -> None:
        sandbox = await world.create(NewSandbox(timers=Timers(auto_stop=60)))
        await pass_time(world, 50)
        await world.sandboxes.touch(world.admin, sandbox.id)
        await pass_time(world, 50)
        await stays(world, sandbox, S.RUNNING)
        await pass_time(world, 10)
        await world.reaches(sandbox, S.STOPPED)

    async def test_an_open_session_holds_it_off_and_its_end_counts_as_use(self, world: World) -> None:
        sandbox = await world.create(NewSandbox(timers=Timers(auto_stop=60)))
        async with world.sandboxes.session(world.admin, sandbox.id):
            await pass_time(world, 600)
            await stays(world, sandbox, S.RUNNING)
        await pass_time(world, 59)
        await stays(world, sandbox, S.RUNNING)
        await pass_time(world, 60)
        await world.reaches(sandbox, S.STOPPED)

    async def test_a_jump_of_the_wall_clock_stops_nothing(self, world: World) -> None:
        sandbox = await world.create(NewSandbox(timers=Timers(auto_stop=60)))
        world.clock.wall = world.clock.wall.replace(year=2030)
        world.core.rules.apply_due()
        await stays(world, sandbox, S.RUNNING)

    async def test_memory_that_cannot_be_kept_is_dropped(self, world: World) -> None:
        sandbox = await world.create(NewSandbox(timers=Timers(idle_timeout=60)))
        world.machines.fail("pause", CheckpointRefused())
        await pass_time(world, 60)
        await world.reaches(sandbox, S.STOPPED)

    async def test_a_rule_that_fails_is_applied_again(self, world: World) -> None:
        sandbox = await world.create(NewSandbox(timers=Timers(auto_pause=60)))
        world.machines.fail("pause", EngineError())
        await pass_time(world, 60)
        await world.reaches(sandbox, S.PAUSING)
        await world.reaches(sandbox, S.RUNNING)
        await pass_time(world, RETRY_AFTER + 60)
        await world.reaches(sandbox, S.PAUSED)

    async def test_new_timers_count_from_the_last_use(self, world: World) -> None:
        sandbox = await world.create()
        await pass_time(world, 30)
        await world.sandboxes.update(world.admin, sandbox.id, SandboxChange(timers=Timers(auto_stop=60)))
        await pass_time(world, 30)
        await world.reaches(sandbox, S.STOPPED)

    async def test_it_goes_on_counting_over_a_restart_of_the_server(self, world: World) -> None:
        sandbox = await world.create(NewSandbox(timers=Timers(auto_stop=60)))
        world.clock.advance(30)
        again = await world.restart()
        await pass_time(again, 30)
        await again.reaches(sandbox, S.STOPPED)
        await again.core.stop()


class TestAfterAStop:
    async def test_deletion(self, world: World) -> None:
        sandbox = await world.create(NewSandbox(timers=Timers(auto_delete=60)))
        await pass_time(world, 600)
        await stays(world, sandbox, S.RUNNING)
        await world.sandboxes.stop(world.admin, sandbox.id)
        await pass_time(world, 59)
        await stays(world, sandbox, S.STOPPED)
        await pass_time(world, 1)
        await world.reaches(sandbox, S.DESTROYED)

    async def test_a_start_calls_it_off(self, world: World) -> None:
        sandbox = await world.create(NewSandbox(timers=Timers(auto_delete=60)))
        await world.sandboxes.stop(world.admin, sandbox.id)
        await world.sandboxes.start(world.admin, sandbox.id)
        await pass_time(world, 600)
        await stays(world, sandbox, S.RUNNING)


class TestTtl:
    async def test_it_ends_a_stopped_one_too(self, world: World) -> None:
        sandbox = await world.create(NewSandbox(timers=Timers(ttl=60)))
        await world.sandboxes.stop(world.admin, sandbox.id)
        await pass_time(world, 60)
        await world.reaches(sandbox, S.DESTROYED)

    async def test_renewed_it_counts_anew_and_other_timers_leave_it(self, world: World) -> None:
        sandbox = await world.create(NewSandbox(timers=Timers(ttl=60)))
        world.clock.advance(30)
        kept = await world.sandboxes.update(
            world.admin, sandbox.id, SandboxChange(timers=Timers(ttl=60, auto_stop=900))
        )
        assert kept.expires_at == sandbox.expires_at
        renewed = await world.sandboxes.update(
            world.admin, sandbox.id, SandboxChange(timers=kept.timers, renew_ttl=True)
        )
        assert renewed.expires_at is not None
        assert (renewed.expires_at - world.clock.now()).total_seconds() == 60
        ended = await world.sandboxes.update(world.admin, sandbox.id, SandboxChange(timers=Timers()))
        assert ended.expires_at is None


class TestActivity:
    async def test_it_is_seen_at_once_and_written_later(self, world: World) -> None:
        sandbox = await world.create()
        world.clock.advance(10)
        await world.sandboxes.touch(world.admin, sandbox.id)
        seen = await world.get(sandbox)
        assert seen.last_activity_at == world.clock.now()
        written = await world.core.records.find(world.admin.team_id, sandbox.id)
        assert written.last_activity_at == sandbox.last_activity_at
        await world.core.stop()
        again = await world.restart()
        assert (await again.get(sandbox)).last_activity_at == world.clock.now()
        await again.core.stop()
