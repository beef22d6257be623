"""Sandboxes that come back under their id after they were destroyed."""

from datetime import timedelta

import pytest

from moonpool.errors import EngineError, InvalidState, LimitExceeded, SandboxNotFound, SnapshotNotFound
from moonpool.sandboxes.model import Fork, NewSandbox, SandboxState, Timers
from tests.unit.sandboxes.conftest import STRANGER, World

S = SandboxState
AGAIN = NewSandbox(name="mine", cpu=2, labels={"a": "b"}, timers=Timers(ttl=60), recreatable=True)


async def test_it_is_what_it_was_on_a_new_disk(world: World) -> None:
    first = await world.create(AGAIN)
    await world.sandboxes.destroy(world.admin, first.id)
    world.clock.advance(10)
    again = await world.sandboxes.recreate(world.admin, first.id)
    assert (again.id, again.state, again.name, again.labels) == (first.id, S.RUNNING, "mine", {"a": "b"})
    assert again.resources == first.resources
    assert again.instance_id != first.instance_id
    assert again.preview_token != first.preview_token
    assert again.expires_at is not None
    assert (again.expires_at - world.clock.now()).total_seconds() == 60
    assert [call for call, _ in world.machines.calls][-1] == "create"
    assert await world.states(first) == ["starting", "running", "destroying", "destroyed", "starting", "running"]
    restarted = await world.restart()
    assert (await restarted.get(again)).state is S.RUNNING
    await restarted.core.stop()


async def test_it_can_have_other_timers(world: World) -> None:
    first = await world.create(AGAIN)
    await world.sandboxes.destroy(world.admin, first.id)
    again = await world.sandboxes.recreate(world.admin, first.id, timers=Timers(ttl=30, auto_stop=5))
    assert again.expires_at == world.clock.now() + timedelta(seconds=30)
    restarted = await world.restart()
    assert (await restarted.get(again)).timers == Timers(ttl=30, auto_stop=5)
    await restarted.core.stop()


async def test_its_name_may_be_anothers_by_now(sqlite_world: World) -> None:
    first = await sqlite_world.create(AGAIN)
    await sqlite_world.sandboxes.destroy(sqlite_world.admin, first.id)
    await sqlite_world.create(NewSandbox(name="mine"))
    assert (await sqlite_world.sandboxes.recreate(sqlite_world.admin, first.id)).name == first.id


async def test_only_what_may_be_and_is_destroyed(sqlite_world: World) -> None:
    plain, again = await sqlite_world.create(), await sqlite_world.create(AGAIN)
    (copy,) = await sqlite_world.sandboxes.fork(sqlite_world.admin, again.id, [Fork()])
    for sandbox in (plain, copy):
        await sqlite_world.sandboxes.destroy(sqlite_world.admin, sandbox.id)
    for sandbox in (plain, copy, again):
        with pytest.raises(InvalidState):
            await sqlite_world.sandboxes.recreate(sqlite_world.admin, sandbox.id)
    with pytest.raises(SandboxNotFound):
        await sqlite_world.sandboxes.recreate(STRANGER, again.id)


async def test_its_snapshot_has_to_be_there(sqlite_world: World) -> None:
    world = sqlite_world
    await world.core.snapshots.capture(world.admin, (await world.create()).id, name="base", id="one")
    first = await world.create(NewSandbox(snapshot="base", recreatable=True))
    await world.sandboxes.destroy(world.admin, first.id)
    await world.core.snapshots.delete(world.admin, "base")
    with pytest.raises(SnapshotNotFound):
        await world.sandboxes.recreate(world.admin, first.id)
    await world.core.snapshots.capture(world.admin, (await world.create()).id, name="base", id="two")
    with pytest.raises(SnapshotNotFound):
        await world.sandboxes.recreate(world.admin, first.id)


async def test_limits_hold(sqlite_world: World) -> None:
    first = await sqlite_world.create(AGAIN)
    await sqlite_world.sandboxes.destroy(sqlite_world.admin, first.id)
    await sqlite_world.create()
    await sqlite_world.core.access.limits.change(sqlite_world.admin.team_id, {"sandboxes": 1})
    with pytest.raises(LimitExceeded):
        await sqlite_world.sandboxes.recreate(sqlite_world.admin, first.id)


async def test_one_that_fails_can_be_started(sqlite_world: World) -> None:
    first = await sqlite_world.create(AGAIN)
    await sqlite_world.sandboxes.destroy(sqlite_world.admin, first.id)
    sqlite_world.machines.fail("create", EngineError("no"))
    with pytest.raises(EngineError):
        await sqlite_world.sandboxes.recreate(sqlite_world.admin, first.id)
    assert (await sqlite_world.sandboxes.start(sqlite_world.admin, first.id)).state is S.RUNNING


async def test_rows_are_kept_for_a_month(sqlite_world: World) -> None:
    world = sqlite_world
    plain, again = await world.create(), await world.create(AGAIN)
    for sandbox in (plain, again):
        await world.sandboxes.destroy(world.admin, sandbox.id)
    world.clock.advance(29 * 86400)
    await world.core.records.prune()
    with pytest.raises(SandboxNotFound):
        await world.get(plain)
    assert (await world.get(again)).state is S.DESTROYED
    world.clock.advance(2 * 86400)
    await world.core.records.prune()
    with pytest.raises(SandboxNotFound):
        await world.get(again)
