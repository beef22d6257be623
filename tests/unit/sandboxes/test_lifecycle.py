import asyncio
from dataclasses import replace

import pytest

from moonpool.access.model import Scope
from moonpool.errors import (
    CheckpointCorrupt,
    CheckpointIncompatible,
    CheckpointRefused,
    EngineError,
    Forbidden,
    InvalidInput,
    InvalidState,
    LimitExceeded,
    NameTaken,
    NoCapacity,
    SandboxNotFound,
    SnapshotNotFound,
    TransitionInProgress,
)
from moonpool.hosts.model import ExitReason, MachineState, NetworkPolicy
from moonpool.ids import new_sandbox_id
from moonpool.sandboxes.model import DesiredState, NewSandbox, SandboxState, Timers
from moonpool.sandboxes.service import unheard_of
from tests.unit.sandboxes.conftest import STRANGER, World, cancelled

S = SandboxState


class TestCreate:
    async def test_it_runs_and_every_step_was_told(self, world: World) -> None:
        sandbox = await world.create(NewSandbox(name="one", labels={"a": "b"}, env={"X": "1"}, user="daytona"))
        assert (sandbox.state, sandbox.name, sandbox.snapshot) == (S.RUNNING, "one", "daytona-small")
        assert sandbox.started_at == world.clock.now()
        assert await world.states(sandbox) == ["starting", "running"]
        assert [event.type for event in await world.history(sandbox)] == ["sandbox.created", "sandbox.state.updated"]
        spec = world.machines.specs[sandbox.id]
        assert (spec.image, spec.user, spec.env["X"], spec.hostname) == ("base", "daytona", "1", sandbox.id)

    async def test_what_is_read_back_is_what_was_made(self, world: World) -> None:
        new = NewSandbox(
            name="ünï", cpu=0.5, memory_mib=256, disk_mib=1024, public=True, dialect_data={"daytona": {"x": [1, None]}},
            timers=Timers(auto_stop=900, ttl=60), network=NetworkPolicy(allow=("10.1.2.3/8",)),
        )  # fmt: skip
        sandbox = await world.create(new)
        again = await world.restart()
        found = await again.get(sandbox)
        assert found == sandbox
        assert found.network.allow == ("10.0.0.0/8",)
        await again.core.stop()

    async def test_a_user_that_is_not_there(self, world: World) -> None:
        sandbox_id = new_sandbox_id()
        with pytest.raises(InvalidInput, match="no user 'nobody-here'"):
            await world.create(NewSandbox(id=sandbox_id, user="nobody-here"))
        sandbox = await world.sandboxes.get(world.admin, sandbox_id)
        assert (sandbox.state, sandbox.reason) == (S.ERROR, "This snapshot has no user 'nobody-here'")
        assert world.machines.states == {}
        with pytest.raises(InvalidState):
            await world.sandboxes.start(world.admin, sandbox_id)

    async def test_a_name_or_none(self, world: World) -> None:
        sandbox = await world.create()
        assert sandbox.name == sandbox.id

    async def test_an_id_given_by_the_dialect(self, world: World) -> None:
        sandbox_id = new_sandbox_id()
        assert (await world.create(NewSandbox(id=sandbox_id))).id == sandbox_id

    async def test_resources_of_the_snapshot_or_asked_for(self, world: World) -> None:
        sandbox = await world.create(NewSandbox(snapshot="daytona-medium", memory_mib=512))
        assert (sandbox.resources.cpu, sandbox.resources.memory_mib, sandbox.resources.disk_mib) == (2, 512, 8192)

    async def test_names_are_unique_while_they_live(self, world: World) -> None:
        first = await world.create(NewSandbox(name="one"))
        with pytest.raises(NameTaken):
            await world.create(NewSandbox(name="one"))
        await world.sandboxes.destroy(world.admin, first.id)
        await world.create(NewSandbox(name="one"))

    async def test_of_many_with_one_name_one_wins(self, world: World) -> None:
        results = await asyncio.gather(
            *(world.create(NewSandbox(name="one")) for _ in range(10)), return_exceptions=True
        )
        assert sum(isinstance(result, NameTaken) for result in results) == 9
        assert len(world.machines.states) == 1

    async def test_many_at_once(self, world: World) -> None:
        made = await asyncio.gather(*(world.create() for _ in range(20)))
        assert {sandbox.state for sandbox in made} == {S.RUNNING}

    async def test_an_unknown_snapshot(self, world: World) -> None:
        with pytest.raises(SnapshotNotFound, match="nope"):
            await world.create(NewSandbox(snapshot="nope"))
        assert world.machines.calls == []

    async def test_a_failure_is_told_and_can_be_tried_again(self, world: World) -> None:
        world.machines.fail("create", EngineError("no"))
        with pytest.raises(EngineError):
            await world.create(NewSandbox(name="one"))
        failed = await world.sandboxes.get(world.admin, "one")
        assert (failed.state, failed.reason, failed.recoverable) == (S.ERROR, "no", True)
        assert world.machines.calls[-1] == ("destroy", failed.id)
        assert (await world.sandboxes.start(world.admin, "one")).state is S.RUNNING
        assert ("create", failed.id) in world.machines.calls

    async def test_nothing_is_left_of_one_that_nobody_knows_of(self, world: World) -> None:
        for error in (EngineError("no"), NoCapacity(), ZeroDivisionError()):
            world.machines.fail("create", error)
            with pytest.raises(type(error)):
                await world.sandboxes.create(world.admin, NewSandbox(name="one"), known=unheard_of)
        assert (world.sandboxes.holdings(world.admin).sandboxes, world.machines.states) == (0, {})
        assert (await world.sandboxes.create(world.admin, NewSandbox(name="one"), known=unheard_of)).state is S.RUNNING

    async def test_one_that_somebody_has_heard_of_by_then_stays(self, world: World) -> None:
        world.machines.fail("create", EngineError("no"))
        with pytest.raises(EngineError):
            await world.sandboxes.create(world.admin, NewSandbox(name="one"), known=lambda: True)
        assert (await world.sandboxes.get(world.admin, "one")).state is S.ERROR

    async def test_nothing_is_left_where_the_client_has_left_meanwhile(self, world: World) -> None:
        gate = world.machines.hold("create")
        world.machines.fail("create", EngineError("no"))
        new = NewSandbox(id=new_sandbox_id())
        await cancelled(world.sandboxes.create(world.admin, new, known=unheard_of), gate.reached.wait)
        gate.open()
        found = await world.sandboxes.get(world.admin, new.id or "", include_destroyed=True)
        assert (await world.reaches(found, S.DESTROYED)).reason == "no"

    async def test_what_could_not_be_removed_is_removed_by_the_next_start(self, world: World) -> None:
        world.machines.fail("create", EngineError("no"))
        new = NewSandbox(id=new_sandbox_id())
        tidied = world.machines.hold("destroy")
        creating = asyncio.ensure_future(world.sandboxes.create(world.admin, new, known=unheard_of))
        await tidied.reached.wait()
        removed = world.machines.hold("destroy")
        tidied.open()
        await removed.reached.wait()
        world = await world.restart()
        with pytest.raises(asyncio.CancelledError):
            await creating
        found = await world.sandboxes.get(world.admin, new.id or "", include_destroyed=True)
        assert (await world.reaches(found, S.DESTROYED)).state is S.DESTROYED
        await world.core.background.close(timeout=0)
        await world.core.stop()

    async def test_a_bug_below_leaves_no_sandbox_in_mid_transition(self, world: World) -> None:
        world.machines.fail("create", ZeroDivisionError())
        with pytest.raises(ZeroDivisionError):
            await world.create(NewSandbox(name="one"))
        assert (await world.sandboxes.get(world.admin, "one")).state is S.ERROR

    async def test_without_waiting(self, world: World) -> None:
        gate = world.machines.hold("create")
        sandbox = await world.create(wait=False)
        assert sandbox.state is S.STARTING
        gate.open()
        await world.reaches(sandbox, S.RUNNING)

    async def test_without_waiting_a_bad_request_is_refused_all_the_same(self, world: World) -> None:
        await world.create(NewSandbox(name="one"))
        with pytest.raises(NameTaken):
            await world.create(NewSandbox(name="one"), wait=False)

    async def test_a_client_that_goes_away_leaves_a_whole_sandbox(self, world: World) -> None:
        gate = world.machines.hold("create")
        await cancelled(world.create(NewSandbox(name="one")), gate.reached.wait)
        gate.open()
        await world.reaches(await world.sandboxes.get(world.admin, "one"), S.RUNNING)

    async def test_as_many_as_the_team_may_have(self, world: World) -> None:
        limited = World(**{**vars(world), "settings": world.settings.model_copy(update={"max_sandboxes": 1})})
        limited = await limited.restart()
        await limited.create()
        with pytest.raises(LimitExceeded):
            await limited.create()
        await limited.core.stop()


class TestStopAndStart:
    async def test_there_and_back(self, world: World) -> None:
        sandbox = await world.create()
        stopped = await world.sandboxes.stop(world.admin, sandbox.id)
        assert (stopped.state, stopped.stopped_at) == (S.STOPPED, world.clock.now())
        assert world.machines.states[sandbox.id] is MachineState.STOPPED
        started = await world.sandboxes.start(world.admin, sandbox.id)
        assert (started.state, started.stopped_at) == (S.RUNNING, None)
        assert await world.states(sandbox) == ["starting", "running", "stopping", "stopped", "starting", "running"]

    async def test_a_start_gives_a_new_preview_token_and_a_resume_does_not(self, world: World) -> None:
        sandbox = await world.create()
        await world.sandboxes.pause(world.admin, sandbox.id)
        assert (await world.sandboxes.resume(world.admin, sandbox.id)).preview_token == sandbox.preview_token
        await world.sandboxes.stop(world.admin, sandbox.id)
        assert (await world.sandboxes.start(world.admin, sandbox.id)).preview_token != sandbox.preview_token

    async def test_what_is_so_already_is_left_alone(self, world: World) -> None:
        sandbox = await world.create()
        assert await world.sandboxes.start(world.admin, sandbox.id) == sandbox
        stopped = await world.sandboxes.stop(world.admin, sandbox.id)
        assert await world.sandboxes.stop(world.admin, sandbox.id) == stopped

    async def test_stopping_a_paused_one_drops_its_memory(self, world: World) -> None:
        sandbox = await world.create()
        await world.sandboxes.pause(world.admin, sandbox.id)
        await world.sandboxes.stop(world.admin, sandbox.id)
        assert world.machines.states[sandbox.id] is MachineState.STOPPED

    async def test_starting_a_paused_one_resumes_it(self, world: World) -> None:
        sandbox = await world.create()
        await world.sandboxes.pause(world.admin, sandbox.id)
        assert (await world.sandboxes.start(world.admin, sandbox.id)).state is S.RUNNING
        assert world.machines.calls[-1] == ("resume", sandbox.id)

    async def test_a_start_without_room_leaves_it_stopped(self, world: World) -> None:
        sandbox = await world.create()
        await world.sandboxes.stop(world.admin, sandbox.id)
        world.machines.fail("start", NoCapacity())
        with pytest.raises(NoCapacity):
            await world.sandboxes.start(world.admin, sandbox.id)
        assert (await world.get(sandbox)).state is S.STOPPED

    async def test_a_start_that_fails_can_be_tried_again(self, world: World) -> None:
        sandbox = await world.create()
        await world.sandboxes.stop(world.admin, sandbox.id)
        world.machines.fail("start", EngineError("no"))
        with pytest.raises(EngineError):
            await world.sandboxes.start(world.admin, sandbox.id)
        assert ((await world.get(sandbox)).state, (await world.get(sandbox)).recoverable) == (S.ERROR, True)
        assert (await world.sandboxes.start(world.admin, sandbox.id)).state is S.RUNNING

    async def test_an_ephemeral_one_is_gone_with_its_stop(self, world: World) -> None:
        sandbox = await world.create(NewSandbox(timers=Timers(auto_delete=0)))
        assert (await world.sandboxes.stop(world.admin, sandbox.id)).state is S.DESTROYED
        assert world.machines.states == {}

    @pytest.mark.parametrize("operation", ["start", "stop", "pause", "resume"])
    async def test_one_change_at_a_time(self, world: World, operation: str) -> None:
        sandbox = await world.create()
        gate = world.machines.hold("pause")
        pausing = asyncio.ensure_future(world.sandboxes.pause(world.admin, sandbox.id))
        await gate.reached.wait()
        with pytest.raises(TransitionInProgress):
            await getattr(world.sandboxes, operation)(world.admin, sandbox.id)
        gate.open()
        assert (await pausing).state is S.PAUSED

    async def test_waiting_until_a_change_is_over(self, world: World) -> None:
        gate = world.machines.hold("create")
        sandbox = await world.create(wait=False)
        settled = asyncio.ensure_future(world.sandboxes.settled(world.admin, sandbox.id))
        gate.open()
        assert (await settled).state is S.RUNNING

    async def test_waiting_no_longer_than_asked(self, world: World) -> None:
        gate = world.machines.hold("create")
        sandbox = await world.create(wait=False)
        assert (await world.sandboxes.settled(world.admin, sandbox.id, timeout=0)).state is S.STARTING
        gate.open()
        await world.reaches(sandbox, S.RUNNING)


class TestPauseAndResume:
    async def test_there_and_back(self, world: World) -> None:
        sandbox = await world.create()
        paused = await world.sandboxes.pause(world.admin, sandbox.id)
        assert (paused.state, paused.desired) == (S.PAUSED, DesiredState.PAUSED)
        resumed = await world.sandboxes.resume(world.admin, sandbox.id)
        assert (resumed.state, resumed.desired) == (S.RUNNING, DesiredState.RUNNING)
        assert (await world.states(sandbox))[2:] == ["pausing", "paused", "resuming", "running"]

    async def test_a_refused_checkpoint_leaves_it_running(self, world: World) -> None:
        sandbox = await world.create()
        world.machines.fail("pause", CheckpointRefused("process 7 holds /x open"))
        with pytest.raises(CheckpointRefused, match="process 7"):
            await world.sandboxes.pause(world.admin, sandbox.id)
        found = await world.get(sandbox)
        assert (found.state, found.desired, found.reason) == (S.RUNNING, DesiredState.RUNNING, None)

    async def test_one_that_died_while_being_paused_is_stopped(self, world: World) -> None:
        sandbox = await world.create()
        gate = world.machines.hold("pause")
        pausing = asyncio.ensure_future(world.sandboxes.pause(world.admin, sandbox.id))
        await gate.reached.wait()
        world.machines.die(sandbox.id)
        gate.open()
        with pytest.raises(InvalidState):
            await pausing
        assert (await world.get(sandbox)).state is S.STOPPED

    async def test_an_incompatible_checkpoint_stays_paused_and_can_be_started_from_disk(self, world: World) -> None:
        sandbox = await world.create()
        await world.sandboxes.pause(world.admin, sandbox.id)
        world.machines.fail("resume", CheckpointIncompatible())
        with pytest.raises(CheckpointIncompatible):
            await world.sandboxes.resume(world.admin, sandbox.id)
        assert (await world.get(sandbox)).state is S.PAUSED
        await world.sandboxes.stop(world.admin, sandbox.id)
        assert (await world.sandboxes.start(world.admin, sandbox.id)).state is S.RUNNING

    async def test_a_corrupt_checkpoint_can_be_started_from_disk(self, world: World) -> None:
        sandbox = await world.create()
        await world.sandboxes.pause(world.admin, sandbox.id)
        world.machines.fail("resume", CheckpointCorrupt())
        with pytest.raises(CheckpointCorrupt):
            await world.sandboxes.resume(world.admin, sandbox.id)
        assert (await world.get(sandbox)).state is S.ERROR
        assert (await world.sandboxes.start(world.admin, sandbox.id)).state is S.RUNNING

    async def test_only_a_running_one_pauses_and_only_a_paused_one_resumes(self, world: World) -> None:
        sandbox = await world.create()
        with pytest.raises(InvalidState) as caught:
            await world.sandboxes.resume(world.admin, sandbox.id)
        assert caught.value.state == "running"
        await world.sandboxes.stop(world.admin, sandbox.id)
        with pytest.raises(InvalidState):
            await world.sandboxes.pause(world.admin, sandbox.id)


class TestDestroy:
    async def test_it_is_gone_and_its_row_stays_for_a_day(self, world: World) -> None:
        sandbox = await world.create(NewSandbox(name="one"))
        destroyed = await world.sandboxes.destroy(world.admin, sandbox.id)
        assert destroyed.state is S.DESTROYED
        assert world.machines.states == {}
        for key in (sandbox.id, "one"):
            with pytest.raises(SandboxNotFound):
                await world.sandboxes.get(world.admin, key)
        assert await world.get(sandbox) == destroyed
        world.clock.advance(24 * 3600 + 1)
        await world.core.records.prune()
        with pytest.raises(SandboxNotFound):
            await world.get(sandbox)

    async def test_two_at_once_both_succeed(self, world: World) -> None:
        sandbox = await world.create()
        both = [world.sandboxes.destroy(world.admin, sandbox.id) for _ in range(2)]
        assert {result.state for result in await asyncio.gather(*both)} == {S.DESTROYED}
        assert world.machines.calls.count(("destroy", sandbox.id)) == 1
        assert (await world.sandboxes.destroy(world.admin, sandbox.id)).state is S.DESTROYED

    async def test_its_name_is_free_at_once(self, world: World) -> None:
        sandbox = await world.create(NewSandbox(name="one"))
        gate = world.machines.hold("destroy")
        assert (await world.sandboxes.destroy(world.admin, "one", wait=False)).state is S.DESTROYING
        second = await world.create(NewSandbox(name="one"))
        gate.open()
        await world.reaches(sandbox, S.DESTROYED)
        assert (await world.sandboxes.get(world.admin, "one")).id == second.id

    async def test_it_waits_for_a_change_under_way(self, world: World) -> None:
        gate = world.machines.hold("create")
        sandbox = await world.create(wait=False)
        await gate.reached.wait()
        destroying = asyncio.ensure_future(world.sandboxes.destroy(world.admin, sandbox.id))
        gate.open()
        assert (await destroying).state is S.DESTROYED

    async def test_a_failed_one_can_be_tried_again(self, world: World) -> None:
        sandbox = await world.create()
        world.machines.fail("destroy", EngineError("busy"))
        with pytest.raises(EngineError):
            await world.sandboxes.destroy(world.admin, sandbox.id)
        failed = await world.get(sandbox)
        assert (failed.state, failed.desired, failed.recoverable) == (S.ERROR, DesiredState.DESTROYED, False)
        for operation in (world.sandboxes.start, world.sandboxes.stop):
            with pytest.raises(InvalidState):
                await operation(world.admin, sandbox.id)
        assert (await world.sandboxes.destroy(world.admin, sandbox.id)).state is S.DESTROYED


class TestDeath:
    @pytest.mark.parametrize("reason", list(ExitReason))
    async def test_it_is_told_and_a_start_brings_it_back(self, world: World, reason: ExitReason) -> None:
        sandbox = await world.create()
        world.machines.die(sandbox.id, reason)
        dead = await world.reaches(sandbox, S.STOPPED)
        assert (dead.reason, dead.recoverable) == (reason.value, True)
        await world.sandboxes.settled(world.admin, sandbox.id)
        back = await world.sandboxes.start(world.admin, sandbox.id)
        assert (back.state, back.reason) == (S.RUNNING, None)
        assert world.machines.calls[-1] == ("start", sandbox.id)

    async def test_right_after_its_creation(self, world: World) -> None:
        gate = world.machines.hold("create")
        sandbox = await world.create(wait=False)
        await gate.reached.wait()
        gate.open()
        await world.core.lifecycle.flights.settled(sandbox.id)
        world.machines.die(sandbox.id)
        await world.reaches(sandbox, S.STOPPED)

    async def test_of_an_unknown_one_matters_to_nobody(self, world: World) -> None:
        world.machines.die("nobody")


class TestAccess:
    async def test_another_teams_sandbox_does_not_exist(self, world: World) -> None:
        sandbox = await world.create(NewSandbox(name="one"))
        for key in (sandbox.id, "one"):
            for operation in ("get", "start", "stop", "pause", "resume", "destroy", "touch", "usage", "settled"):
                with pytest.raises(SandboxNotFound):
                    await getattr(world.sandboxes, operation)(STRANGER, key)
        assert (await world.get(sandbox)) == sandbox

    async def test_scopes(self, world: World) -> None:
        sandbox = await world.create()
        reader = replace(world.admin, scopes=frozenset({Scope.SANDBOXES_READ}))
        assert await world.sandboxes.get(reader, sandbox.id) == sandbox
        for operation in ("start", "stop", "pause", "resume", "destroy", "touch"):
            with pytest.raises(Forbidden):
                await getattr(world.sandboxes, operation)(reader, sandbox.id)
        with pytest.raises(Forbidden):
            await world.sandboxes.create(reader, NewSandbox())
        with pytest.raises(Forbidden):
            async with world.sandboxes.session(reader, sandbox.id):
                pass


class TestSession:
    async def test_only_into_a_running_one(self, world: World) -> None:
        sandbox = await world.create()
        async with world.sandboxes.session(world.admin, sandbox.id) as session:
            assert session.sandbox == sandbox
        await world.sandboxes.pause(world.admin, sandbox.id)
        with pytest.raises(InvalidState) as caught:
            async with world.sandboxes.session(world.admin, sandbox.id):
                pass
        assert caught.value.state == "paused"

    async def test_one_that_outlives_its_sandbox_leaves_no_trace_of_use(self, world: World) -> None:
        sandbox = await world.create()
        async with world.sandboxes.session(world.admin, sandbox.id):
            destroyed = await world.sandboxes.destroy(world.admin, sandbox.id)
        world.clock.advance(10)
        assert await world.get(sandbox) == destroyed

    async def test_usage_of_a_running_one(self, world: World) -> None:
        sandbox = await world.create()
        assert (await world.sandboxes.usage(world.admin, sandbox.id)).disk_bytes == 3
        await world.sandboxes.stop(world.admin, sandbox.id)
        with pytest.raises(InvalidState):
            await world.sandboxes.usage(world.admin, sandbox.id)
