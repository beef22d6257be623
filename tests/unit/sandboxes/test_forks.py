"""Copies of sandboxes: what they take over, what they do not, and that they are whole or not there at all."""

import asyncio
from dataclasses import replace

import pytest

from moonpool.access.model import Scope
from moonpool.errors import (
    CheckpointCorrupt,
    CheckpointRefused,
    EngineError,
    Forbidden,
    InvalidInput,
    InvalidState,
    NameTaken,
    NoCapacity,
    SandboxNotFound,
)
from moonpool.hosts.model import MachineState, NetworkPolicy
from moonpool.ids import new_sandbox_id
from moonpool.sandboxes.model import Fork, NewSandbox, Sandbox, SandboxState, Timers
from tests.unit.sandboxes.conftest import STRANGER, World

S, M = SandboxState, MachineState
RICH = NewSandbox(
    name="source", user="daytona", env={"A": "1"}, labels={"l": "1"}, cpu=2, memory_mib=2048, disk_mib=4096,
    timers=Timers(auto_stop=900, ttl=60), network=NetworkPolicy(block_all=True), dialect_data={"daytona": {"x": 1}},
)  # fmt: skip


async def fork(world: World, source: Sandbox, *forks: Fork, wait: bool = True) -> tuple[Sandbox, ...]:
    return await world.sandboxes.fork(world.admin, source.id, forks or (Fork(),), wait=wait)


class TestWhatACopyIs:
    async def test_as_its_source_but_for_what_is_its_own(self, world: World) -> None:
        source = await world.create(RICH)
        world.clock.advance(30)
        (copy,) = await fork(world, source)
        own = ("id", "name", "version", "created_at", "updated_at", "last_activity_at", "started_at", "expires_at")
        for field in set(vars(source)) - {*own, "preview_token", "instance_id", "forked_from"}:
            assert getattr(copy, field) == getattr(source, field), field
        assert (copy.name, copy.forked_from, copy.created_at) == (copy.id, source.id, world.clock.now())
        assert copy.expires_at is not None
        assert source.expires_at is not None
        assert (copy.expires_at - source.expires_at).total_seconds() == 30
        assert len({source.instance_id, copy.instance_id}) == len({source.preview_token, copy.preview_token}) == 2
        spec = world.machines.specs[copy.id]
        assert (spec.hostname, spec.env, spec.network) == (
            copy.id,
            world.machines.specs[source.id].env,
            NetworkPolicy(block_all=True),
        )
        assert spec.env["A"] == "1"
        assert await world.get(source) == source

    async def test_what_is_asked_for_takes_the_place_of_the_sources(self, sqlite_world: World) -> None:
        source = await sqlite_world.create(RICH)
        asked = Fork(new_sandbox_id(), "copy", Timers(auto_pause=5), {"k": "v"}, {"B": "2"}, {"wrenn": {"y": 2}})
        (copy,) = await fork(sqlite_world, source, asked)
        found = Fork(copy.id, copy.name, copy.timers, copy.labels, copy.env, copy.dialect_data)
        assert (found, copy.expires_at) == (asked, None)

    async def test_it_is_kept_over_a_restart_and_every_step_was_told(self, world: World) -> None:
        source = await world.create()
        copies = await fork(world, source, Fork(), Fork())
        assert [await world.states(copy) for copy in copies] == [["starting", "running"]] * 2
        again = await world.restart()
        assert [await again.get(copy) for copy in copies] == list(copies)
        await again.core.stop()

    @pytest.mark.parametrize(
        ("verb", "source_state", "calls"),
        [(None, S.RUNNING, "resume"), ("pause", S.PAUSED, "resume"), ("stop", S.STOPPED, "start")],
    )
    async def test_the_source_stays_what_it_is(
        self, sqlite_world: World, verb: str | None, source_state: SandboxState, calls: str
    ) -> None:
        source = await sqlite_world.create()
        if verb is not None:
            await getattr(sqlite_world.sandboxes, verb)(sqlite_world.admin, source.id)
        (copy,) = await fork(sqlite_world, source)
        assert (copy.state, (await sqlite_world.get(source)).state) == (S.RUNNING, source_state)
        assert (calls, copy.id) in sqlite_world.machines.calls

    async def test_a_copy_of_a_copy(self, sqlite_world: World) -> None:
        (first,) = await fork(sqlite_world, await sqlite_world.create())
        (second,) = await fork(sqlite_world, first)
        assert (second.state, second.forked_from) == (S.RUNNING, first.id)

    async def test_memory_that_cannot_be_used_costs_the_memory_alone(self, sqlite_world: World) -> None:
        source = await sqlite_world.create()
        sqlite_world.machines.fail("resume", CheckpointCorrupt("torn"))
        (copy,) = await fork(sqlite_world, source)
        assert (copy.state, copy.reason) == (S.RUNNING, "Started from its disk, without its memory: torn")

    async def test_one_that_stopped_starts_from_its_own_disk(self, sqlite_world: World) -> None:
        (copy,) = await fork(sqlite_world, await sqlite_world.create())
        await sqlite_world.sandboxes.stop(sqlite_world.admin, copy.id)
        started = await sqlite_world.sandboxes.start(sqlite_world.admin, copy.id)
        assert started.instance_id != copy.instance_id
        assert [call for call in sqlite_world.machines.calls if call[1] == copy.id][-1] == ("start", copy.id)


class TestRefused:
    @pytest.mark.parametrize(
        "forks",
        [
            (),
            (Fork(),) * 101,
            (Fork(id="no"),),
            (Fork(name="a/b"),),
            (Fork(name="twice"), Fork(name="twice")),
            (Fork(timers=Timers(ttl=-1)),),
            (Fork(env={"": "1"}),),
            (Fork(labels={"": "1"}),),
        ],
    )
    async def test_bad_input(self, sqlite_world: World, forks: tuple[Fork, ...]) -> None:
        source = await sqlite_world.create()
        with pytest.raises(InvalidInput):
            await sqlite_world.sandboxes.fork(sqlite_world.admin, source.id, forks)
        assert len(sqlite_world.machines.states) == 1

    async def test_another_teams(self, sqlite_world: World) -> None:
        source = await sqlite_world.create()
        with pytest.raises(SandboxNotFound):
            await sqlite_world.sandboxes.fork(STRANGER, source.id, (Fork(),))
        with pytest.raises(SandboxNotFound):
            await sqlite_world.sandboxes.kill(STRANGER, source.id)
        with pytest.raises(SandboxNotFound):
            await sqlite_world.sandboxes.ended(STRANGER, source.id, timeout=0)

    async def test_a_key_that_may_only_read(self, sqlite_world: World) -> None:
        source = await sqlite_world.create()
        reader = replace(sqlite_world.admin, scopes=frozenset({Scope.SANDBOXES_READ}))
        with pytest.raises(Forbidden):
            await sqlite_world.sandboxes.fork(reader, source.id, (Fork(),))

    async def test_a_name_that_is_taken(self, world: World) -> None:
        source = await world.create(NewSandbox(name="taken"))
        with pytest.raises(NameTaken):
            await fork(world, source, Fork(name="free"), Fork(name="taken"))
        assert list(world.machines.states) == [source.id]
        (copy,) = await fork(world, source, Fork(name="free"))
        assert copy.name == "free"

    async def test_what_was_destroyed_or_never_ran(self, sqlite_world: World) -> None:
        sqlite_world.machines.fail("create", NoCapacity())
        with pytest.raises(NoCapacity):
            await sqlite_world.create(NewSandbox(name="failed"))
        with pytest.raises(InvalidState):
            await sqlite_world.sandboxes.fork(sqlite_world.admin, "failed", (Fork(),))
        source = await sqlite_world.create()
        await sqlite_world.sandboxes.destroy(sqlite_world.admin, source.id)
        with pytest.raises(SandboxNotFound):
            await fork(sqlite_world, source)


class TestFailures:
    async def test_memory_that_cannot_be_saved_leaves_no_copy(self, world: World) -> None:
        source = await world.create()
        world.machines.fail("fork", CheckpointRefused("a deleted file is open"))
        copies = [new_sandbox_id(), new_sandbox_id()]
        with pytest.raises(CheckpointRefused):
            await fork(world, source, *(Fork(id=copy) for copy in copies))
        assert (await world.get(source)).state is S.RUNNING
        assert list(world.machines.states) == [source.id]
        for copy in copies:
            assert (await world.sandboxes.get(world.admin, copy, include_destroyed=True)).state is S.DESTROYED
        assert len(await fork(world, source)) == 1

    async def test_one_that_does_not_start_takes_the_others_with_it(self, sqlite_world: World) -> None:
        source = await sqlite_world.create()
        sqlite_world.machines.fail("resume", EngineError("no"))
        with pytest.raises(EngineError):
            await fork(sqlite_world, source, Fork(), Fork(), Fork())
        assert list(sqlite_world.machines.states) == [source.id]

    async def test_one_that_nobody_waits_for_says_why_and_can_be_started(self, sqlite_world: World) -> None:
        source = await sqlite_world.create()
        sqlite_world.machines.fail("resume", EngineError("no"))
        (copy,) = await fork(sqlite_world, source, wait=False)
        assert copy.state is S.STARTING
        failed = await sqlite_world.reaches(copy, S.ERROR)
        assert (failed.reason, failed.recoverable) == ("no", True)
        assert (await sqlite_world.sandboxes.start(sqlite_world.admin, copy.id)).state is S.RUNNING
        assert ("create", copy.id) not in sqlite_world.machines.calls


class TestMeanwhile:
    async def test_what_else_is_asked_of_the_source_waits(self, sqlite_world: World) -> None:
        source = await sqlite_world.create()
        gate = sqlite_world.machines.hold("fork")
        forking = asyncio.ensure_future(fork(sqlite_world, source))
        await gate.reached.wait()
        others = [
            asyncio.ensure_future(fork(sqlite_world, source)),
            asyncio.ensure_future(sqlite_world.sandboxes.stop(sqlite_world.admin, source.id)),
        ]
        assert (await sqlite_world.get(source)).state is S.RUNNING
        gate.open()
        assert (await forking)[0].state is S.RUNNING
        assert (await others[0])[0].state is S.RUNNING
        assert (await others[1]).state is S.STOPPED

    async def test_a_server_that_dies_in_the_middle_undoes_it(self, world: World) -> None:
        source = await world.create()
        gate = world.machines.hold("resume")
        (copy,) = await fork(world, source, wait=False)
        await gate.reached.wait()
        again = await world.restart()
        assert (await again.get(copy)).state is S.DESTROYED
        assert (await again.get(source)).state is S.RUNNING
        assert list(again.machines.states) == [source.id]
        await again.core.stop()

    async def test_a_copy_that_runs_when_the_server_dies_runs_on(self, sqlite_world: World) -> None:
        source = await sqlite_world.create()
        gate = sqlite_world.machines.hold("resume")
        (copy,) = await fork(sqlite_world, source, wait=False)
        await gate.reached.wait()
        sqlite_world.machines.states[copy.id] = M.RUNNING
        again = await sqlite_world.restart()
        assert (await again.get(copy)).state is S.RUNNING
        await again.core.stop()


class TestKill:
    async def test_nothing_inside_is_asked(self, sqlite_world: World) -> None:
        sandbox = await sqlite_world.create()
        assert (await sqlite_world.sandboxes.kill(sqlite_world.admin, sandbox.id)).state is S.STOPPED
        assert ("kill", sandbox.id) in sqlite_world.machines.calls
        assert ("stop", sandbox.id) not in sqlite_world.machines.calls
        assert await sqlite_world.states(sandbox) == ["starting", "running", "stopping", "stopped"]

    async def test_what_does_not_run_is_left_alone(self, sqlite_world: World) -> None:
        sandbox = await sqlite_world.create()
        await sqlite_world.sandboxes.stop(sqlite_world.admin, sandbox.id)
        await sqlite_world.sandboxes.kill(sqlite_world.admin, sandbox.id)
        assert ("kill", sandbox.id) not in sqlite_world.machines.calls


class TestInstances:
    async def test_each_run_has_its_own(self, sqlite_world: World) -> None:
        service, admin = sqlite_world.sandboxes, sqlite_world.admin
        sandbox = await sqlite_world.create()
        seen = [sandbox.instance_id]
        await service.pause(admin, sandbox.id)
        seen.append((await service.resume(admin, sandbox.id)).instance_id)
        await service.stop(admin, sandbox.id)
        seen.append((await service.start(admin, sandbox.id)).instance_id)
        assert len(set(seen)) == 3
        assert all(len(instance) == 20 and instance.isalnum() and instance == instance.lower() for instance in seen)


class TestEnded:
    @pytest.mark.parametrize(
        ("verb", "state"),
        [("stop", S.STOPPED), ("kill", S.STOPPED), ("pause", S.PAUSED), ("destroy", S.DESTROYED)],
    )
    async def test_it_tells_how(self, sqlite_world: World, verb: str, state: SandboxState) -> None:
        sandbox = await sqlite_world.create()
        waiting = asyncio.ensure_future(sqlite_world.sandboxes.ended(sqlite_world.admin, sandbox.id, timeout=60))
        await asyncio.sleep(0)  # It waits.
        await getattr(sqlite_world.sandboxes, verb)(sqlite_world.admin, sandbox.id)
        assert (await waiting).state is state

    async def test_what_ends_unasked(self, sqlite_world: World) -> None:
        sandbox = await sqlite_world.create()
        waiting = asyncio.ensure_future(sqlite_world.sandboxes.ended(sqlite_world.admin, sandbox.id))
        await asyncio.sleep(0)  # It waits.
        sqlite_world.machines.die(sandbox.id)
        assert (await waiting).reason == "crashed"

    async def test_at_once_where_it_has_ended(self, sqlite_world: World) -> None:
        sandbox = await sqlite_world.create()
        await sqlite_world.sandboxes.destroy(sqlite_world.admin, sandbox.id)
        found = await sqlite_world.sandboxes.ended(sqlite_world.admin, sandbox.id)
        assert found.state is S.DESTROYED

    async def test_as_it_is_when_the_time_is_over(self, sqlite_world: World) -> None:
        sandbox = await sqlite_world.create()
        assert await sqlite_world.sandboxes.ended(sqlite_world.admin, sandbox.id, timeout=0) == sandbox
