"""What goes when the disk is full: only what may, the least wanted first, and never somebody else's."""

import asyncio
from dataclasses import replace

import pytest

from moonpool.errors import InvalidInput, MemoryDoesNotFit, NoDiskSpace
from moonpool.sandboxes.eviction import EVICTED
from moonpool.sandboxes.model import Fork, NewSandbox, Sandbox, SandboxState
from moonpool.snapshots.model import SnapshotState
from moonpool.store.tables import teams
from tests.unit.sandboxes.conftest import World

S = SandboxState


async def at_rest(world: World, priority: int | None, name: str) -> Sandbox:
    made = await world.create(NewSandbox(name=name, eviction_priority=priority))
    world.clock.advance(1)
    return await world.sandboxes.pause(world.admin, made.id)


async def left(world: World) -> set[str]:
    return {sandbox.name for sandbox in world.core.records.all()}


class TestARequestThatFindsTheDiskFull:
    async def test_the_lowest_priority_then_the_one_used_least_lately(self, world: World) -> None:
        for priority, name in ((7, "seven"), (5, "five"), (5, "another five"), (None, "kept")):
            await at_rest(world, priority, name)
        running = await world.create(NewSandbox(name="running", eviction_priority=0))
        world.machines.full, world.machines.room_after = True, 2
        made = await world.create(NewSandbox(name="new"))
        assert made.state is S.RUNNING
        assert await left(world) == {"seven", "kept", "running", "new"}
        assert (await world.get(running)).state is S.RUNNING

    async def test_its_event_tells_why(self, world: World) -> None:
        victim = await at_rest(world, 3, "victim")
        world.machines.full = True
        await world.create()
        assert [(event.data["new_state"], event.data["reason"]) for event in (await world.history(victim))[-2:]] == [
            ("destroying", EVICTED),
            ("destroyed", EVICTED),
        ]
        assert (await world.get(victim)).reason == EVICTED

    async def test_nothing_that_may_go(self, sqlite_world: World) -> None:
        await at_rest(sqlite_world, None, "kept")
        await sqlite_world.create(NewSandbox(name="running", eviction_priority=0))
        sqlite_world.machines.full = True
        with pytest.raises(NoDiskSpace):
            await sqlite_world.create(NewSandbox(name="new"))
        assert await left(sqlite_world) == {"kept", "running", "new"}

    async def test_another_teams_things_stay(self, sqlite_world: World) -> None:
        await at_rest(sqlite_world, 0, "theirs")
        core = sqlite_world.core
        key = await core.access.local_principal()
        other = replace(key, team_id=await another_team(sqlite_world))
        sqlite_world.machines.full = True
        with pytest.raises(NoDiskSpace):
            await core.sandboxes.create(other, NewSandbox())
        assert "theirs" in await left(sqlite_world)

    @pytest.mark.parametrize("verb", ["fork", "capture", "pause"])
    async def test_forks_snapshots_and_pauses_too(self, sqlite_world: World, verb: str) -> None:
        world = sqlite_world
        await at_rest(world, 5, "victim")
        source = await world.create(NewSandbox(name="source", eviction_priority=0))
        if verb != "pause":
            source = await world.sandboxes.pause(world.admin, source.id)
        world.machines.full = True
        if verb == "fork":
            await world.sandboxes.fork(world.admin, source.id, [Fork(name="copy")])
        elif verb == "capture":
            await world.core.snapshots.capture(world.admin, source.id)
        else:
            await world.sandboxes.pause(world.admin, source.id)
        assert "victim" not in await left(world)
        assert "source" in await left(world)

    async def test_a_pause_without_room_goes_on_running(self, sqlite_world: World) -> None:
        source = await sqlite_world.create()
        sqlite_world.machines.full = True
        with pytest.raises(MemoryDoesNotFit):
            await sqlite_world.sandboxes.pause(sqlite_world.admin, source.id)
        assert (await sqlite_world.get(source)).state is S.RUNNING

    async def test_many_at_once_cost_no_more_than_is_needed(self, sqlite_world: World) -> None:
        for number in range(5):
            await at_rest(sqlite_world, 5, f"victim-{number}")
        sqlite_world.machines.full = True
        await asyncio.gather(*(sqlite_world.create() for _ in range(5)))
        victims = {name for name in await left(sqlite_world) if name.startswith("victim")}
        assert len(victims) == 4

    async def test_snapshots_go_as_well_but_not_the_one_that_is_needed(self, sqlite_world: World) -> None:
        world = sqlite_world
        source = await world.create()
        snapshots = world.core.snapshots
        for snapshot_id, priority in (("needed", 0), ("spare", 4), ("kept", None)):
            await snapshots.capture(world.admin, source.id, id=snapshot_id, eviction_priority=priority)
        world.machines.full = True
        await world.create(NewSandbox(snapshot="needed"))
        gone = await snapshots.get(world.admin, "spare", include_removed=True)
        assert (gone.state, gone.reason) == (SnapshotState.REMOVED, EVICTED)
        assert {(await snapshots.get(world.admin, name)).state for name in ("needed", "kept")} == {SnapshotState.ACTIVE}


class TestADiskThatFillsUpByItself:
    async def test_room_is_made(self, sqlite_world: World) -> None:
        first = await at_rest(sqlite_world, 1, "first")
        await at_rest(sqlite_world, 2, "second")
        sqlite_world.machines.full = True
        sqlite_world.machines.scarce()
        assert (await sqlite_world.reaches(first, S.DESTROYED)).reason == EVICTED
        await sqlite_world.core.background.close(timeout=5)
        assert await left(sqlite_world) == {"second"}

    async def test_with_nothing_to_remove_nothing_happens(self, sqlite_world: World) -> None:
        await at_rest(sqlite_world, None, "kept")
        sqlite_world.machines.full = True
        sqlite_world.machines.scarce()
        await sqlite_world.core.background.close(timeout=5)
        assert await left(sqlite_world) == {"kept"}


@pytest.mark.parametrize("priority", [-1, 11])
async def test_priorities_are_0_to_10(sqlite_world: World, priority: int) -> None:
    with pytest.raises(InvalidInput):
        await sqlite_world.create(NewSandbox(eviction_priority=priority))
    source = await sqlite_world.create()
    with pytest.raises(InvalidInput):
        await sqlite_world.core.snapshots.capture(sqlite_world.admin, source.id, eviction_priority=priority)


async def another_team(world: World) -> str:

    async with world.store.transaction() as transaction:
        values = {"id": "other-team", "slug": "other", "name": "other", "created_at": world.clock.now()}
        await transaction.connection.execute(teams.insert().values(**values))
    return "other-team"
