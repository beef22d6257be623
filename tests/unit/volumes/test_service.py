"""Volumes through their service, on a host in memory."""

import asyncio

import pytest

from moonpool.access.model import Principal, Scope
from moonpool.errors import (
    EngineError,
    Forbidden,
    InvalidInput,
    InvalidState,
    LimitExceeded,
    NameTaken,
    NotFound,
    VolumeInUse,
    VolumeNotFound,
)
from moonpool.sandboxes.model import Fork, NewSandbox, SandboxState
from moonpool.volumes.model import VolumeState, WantedMount
from tests.unit.sandboxes.conftest import STRANGER, World


async def test_a_new_volume_is_ready_and_found_by_name_and_id(world: World) -> None:
    volumes, admin = world.core.volumes, world.admin
    made = await volumes.create(admin, "data", size_mib=100)
    assert (made.state, made.name, world.machines.sizes) == (VolumeState.READY, "data", {made.id: 100})
    assert await volumes.get(admin, "data") == await volumes.get(admin, made.id) == await volumes.named(admin, "data")
    nameless = await volumes.create(admin)
    assert (nameless.name, world.machines.sizes[nameless.id]) == (nameless.id, world.settings.volume_mib)
    assert {volume.id for volume in await volumes.list(admin)} == {made.id, nameless.id}


async def test_another_teams_volume_does_not_exist(sqlite_world: World) -> None:
    world, volumes = sqlite_world, sqlite_world.core.volumes
    made = await volumes.create(world.admin, "data")
    for ask in (volumes.get(STRANGER, made.id), volumes.named(STRANGER, "data"), volumes.delete(STRANGER, made.id)):
        with pytest.raises(VolumeNotFound):
            await ask
    assert await volumes.list(STRANGER) == ()
    with pytest.raises(VolumeNotFound):
        world.core.lifecycle._admission.volumes.mounts(STRANGER.team_id, [WantedMount(made.id, "/data")])


@pytest.mark.parametrize(
    ("name", "size", "error"),
    [("", None, InvalidInput), ("a/b", None, InvalidInput), ("a", 0, InvalidInput), ("a", -5, InvalidInput),
     ("a", 10**9, LimitExceeded)],
)  # fmt: skip
async def test_bad_names_and_sizes(sqlite_world: World, name: str, size: int | None, error: type[Exception]) -> None:
    with pytest.raises(error):
        await sqlite_world.core.volumes.create(sqlite_world.admin, name, size_mib=size)
    assert sqlite_world.machines.sizes == {}


async def test_names_are_taken_until_the_volume_is_deleted(world: World) -> None:
    volumes, admin = world.core.volumes, world.admin
    outcomes = await asyncio.gather(*(volumes.create(admin, "data") for _ in range(5)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes].count(NameTaken) == 4
    await volumes.delete(admin, "data")
    assert await volumes.list(admin) == ()
    assert world.machines.sizes == {}
    await volumes.create(admin, "data")
    states = [volume.state for volume in await volumes.list(admin, include_deleted=True)]
    assert sorted(states) == [VolumeState.DELETED, VolumeState.READY]
    world.clock.advance(25 * 3600)
    await volumes.prune()
    assert len(await volumes.list(admin, include_deleted=True)) == 1


async def test_a_team_has_so_many_volumes_at_most(sqlite_world: World) -> None:
    volumes, admin = sqlite_world.core.volumes, sqlite_world.admin
    most = sqlite_world.settings.max_volumes
    asked = (volumes.create(admin, f"v{number}") for number in range(most + 3))
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes].count(LimitExceeded) == 3
    assert len(sqlite_world.machines.sizes) == most


async def test_keys_need_the_scope(sqlite_world: World) -> None:
    world, volumes = sqlite_world, sqlite_world.core.volumes
    made = await volumes.create(world.admin, "data")
    reader = Principal(world.admin.team_id, world.admin.user_id, None, frozenset({Scope.VOLUMES_READ}))
    assert await volumes.get(reader, "data") == made
    for ask in (volumes.create(reader, "more"), volumes.delete(reader, "data")):
        with pytest.raises(Forbidden):
            await ask
    writer = Principal(world.admin.team_id, world.admin.user_id, None, frozenset({Scope.SANDBOXES_WRITE}))
    with pytest.raises(Forbidden):
        await world.sandboxes.create(writer, NewSandbox(mounts=(WantedMount("data", "/data"),)))
    sandbox = await world.sandboxes.create(writer, NewSandbox())
    with pytest.raises(Forbidden):
        await world.sandboxes.attach_volume(writer, sandbox.id, WantedMount("data", "/data"))


async def test_a_volume_that_could_not_be_made_says_why_and_can_be_deleted(sqlite_world: World) -> None:
    volumes, admin = sqlite_world.core.volumes, sqlite_world.admin
    sqlite_world.machines.fail("create_volume", EngineError("no disk"))
    with pytest.raises(EngineError):
        await volumes.create(admin, "data")
    failed = await volumes.get(admin, "data")
    assert (failed.state, failed.reason) == (VolumeState.ERROR, "no disk")
    with pytest.raises(InvalidState):
        await sqlite_world.create(NewSandbox(mounts=(WantedMount("data", "/data"),)))
    await volumes.delete(admin, "data")
    assert await volumes.list(admin) == ()


async def test_it_is_not_deleted_while_a_sandbox_has_it_whatever_that_does(world: World) -> None:
    volumes, admin = world.core.volumes, world.admin
    made = await volumes.create(admin, "data")
    sandbox = await world.create(NewSandbox(name="user", mounts=(WantedMount("data", "/data"),)))
    assert world.machines.specs[sandbox.id].mounts == sandbox.mounts
    assert (await volumes.get(admin, "data")).last_used_at == world.clock.now()
    for change in (world.sandboxes.pause, world.sandboxes.resume, world.sandboxes.stop):
        with pytest.raises(VolumeInUse, match="user"):
            await volumes.delete(admin, made.id)
        await change(admin, sandbox.id)
    with pytest.raises(VolumeInUse):
        await volumes.delete(admin, made.id)
    await world.sandboxes.start(admin, sandbox.id)
    assert world.machines.specs[sandbox.id].mounts == sandbox.mounts
    await world.sandboxes.destroy(admin, sandbox.id)
    await volumes.delete(admin, made.id)
    assert world.machines.sizes == {}


async def test_a_sandbox_that_is_being_destroyed_is_waited_for(sqlite_world: World) -> None:
    world, admin = sqlite_world, sqlite_world.admin
    made = await world.core.volumes.create(admin, "data")
    sandbox = await world.create(NewSandbox(mounts=(WantedMount("data", "/data"),)))
    gate = world.machines.hold("destroy")
    await world.sandboxes.destroy(admin, sandbox.id, wait=False)
    deleting = asyncio.ensure_future(world.core.volumes.delete(admin, made.id))
    await gate.reached.wait()
    assert made.id in world.machines.sizes
    gate.open()
    await deleting
    assert world.machines.sizes == {}


async def test_a_create_and_a_delete_at_once_never_leave_a_sandbox_without_its_volume(sqlite_world: World) -> None:
    world, volumes = sqlite_world, sqlite_world.core.volumes
    for number in range(10):
        made = await volumes.create(world.admin, f"v{number}")
        new = NewSandbox(mounts=(WantedMount(made.id, "/data"),))
        works = [world.create(new), volumes.delete(world.admin, made.id)]
        outcomes = await asyncio.gather(*(works if number % 2 else works[::-1]), return_exceptions=True)
        failed = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        assert len(failed) == 1
        assert isinstance(failed[0], InvalidState | VolumeInUse | VolumeNotFound)
        mounted = any(mount.volume == made.id for one in world.core.records.all() for mount in one.mounts)
        assert mounted == (made.id in world.machines.sizes)


async def test_copies_have_the_volumes_of_what_they_are_copies_of(sqlite_world: World) -> None:
    world, admin = sqlite_world, sqlite_world.admin
    await world.core.volumes.create(admin, "data")
    source = await world.create(NewSandbox(mounts=(WantedMount("data", "/data", read_only=True),)))
    (fork,) = await world.sandboxes.fork(admin, source.id, [Fork()])
    assert fork.mounts == source.mounts
    assert world.machines.specs[fork.id].mounts == source.mounts
    await world.core.snapshots.capture(admin, source.id, name="warm", memory=True)
    await world.core.snapshots.capture(admin, source.id, name="cold", memory=False)
    assert (await world.create(NewSandbox(snapshot="warm"))).mounts == source.mounts
    assert (await world.create(NewSandbox(snapshot="warm", memory=False))).mounts == ()
    assert (await world.create(NewSandbox(snapshot="cold"))).mounts == ()


async def test_memory_without_its_volume_is_left_and_the_reason_told(sqlite_world: World) -> None:
    world, admin = sqlite_world, sqlite_world.admin
    await world.core.volumes.create(admin, "data")
    source = await world.create(NewSandbox(mounts=(WantedMount("data", "/data"),)))
    await world.core.snapshots.capture(admin, source.id, name="warm", memory=True)
    await world.sandboxes.destroy(admin, source.id)
    await world.core.volumes.delete(admin, "data")
    late = await world.create(NewSandbox(snapshot="warm"))
    assert (late.state, late.mounts) == (SandboxState.RUNNING, ())
    assert late.reason is not None
    assert "volume" in late.reason
    assert ("resume", late.id) not in world.machines.calls


async def test_mounted_and_taken_away_while_it_runs(world: World) -> None:
    admin, sandboxes = world.admin, world.sandboxes
    for name in ("one", "two"):
        await world.core.volumes.create(admin, name)
    sandbox = await world.create()
    await sandboxes.attach_volume(admin, sandbox.id, WantedMount("one", "/one"))
    both = await sandboxes.attach_volume(admin, sandbox.id, WantedMount("two", "/two/", "sub", read_only=True))
    assert [(mount.path, mount.subpath, mount.read_only, mount.slot) for mount in both.mounts] == [
        ("/one", None, False, 0),
        ("/two", "sub", True, 1),
    ]
    assert world.machines.mounts[sandbox.id] == both.mounts
    one = await sandboxes.detach_volume(admin, sandbox.id, "/one")
    assert [mount.slot for mount in one.mounts] == [1]
    assert world.machines.mounts[sandbox.id] == one.mounts
    await world.core.volumes.delete(admin, "one")
    again = await sandboxes.attach_volume(admin, sandbox.id, WantedMount("two", "/three"))
    assert [mount.slot for mount in again.mounts] == [1, 0]


async def test_what_cannot_be_mounted_leaves_everything_as_it_was(sqlite_world: World) -> None:
    world, admin, sandboxes = sqlite_world, sqlite_world.admin, sqlite_world.sandboxes
    await world.core.volumes.create(admin, "data")
    sandbox = await world.create(NewSandbox(mounts=(WantedMount("data", "/data"),)))
    for mount, error in (
        (WantedMount("data", "/data/deeper"), InvalidInput),
        (WantedMount("data", "/data"), InvalidInput),
        (WantedMount("data", "/proc"), InvalidInput),
        (WantedMount("data", "/x", ".."), InvalidInput),
        (WantedMount("other", "/x"), VolumeNotFound),
    ):
        with pytest.raises(error):
            await sandboxes.attach_volume(admin, sandbox.id, mount)
    world.machines.fail("set_mounts", EngineError("busy elsewhere"))
    with pytest.raises(EngineError):
        await sandboxes.attach_volume(admin, sandbox.id, WantedMount("data", "/x"))
    world.machines.fail("set_mounts", VolumeInUse())
    with pytest.raises(VolumeInUse):
        await sandboxes.detach_volume(admin, sandbox.id, "/data")
    with pytest.raises(NotFound):
        await sandboxes.detach_volume(admin, sandbox.id, "/nowhere")
    await sandboxes.pause(admin, sandbox.id)
    with pytest.raises(InvalidState):
        await sandboxes.attach_volume(admin, sandbox.id, WantedMount("data", "/x"))
    assert (await world.get(sandbox)).mounts == sandbox.mounts


async def test_a_stopped_sandbox_has_them_from_its_next_start_on(sqlite_world: World) -> None:
    world, admin, sandboxes = sqlite_world, sqlite_world.admin, sqlite_world.sandboxes
    await world.core.volumes.create(admin, "data")
    sandbox = await world.create()
    await sandboxes.stop(admin, sandbox.id)
    attached = await sandboxes.attach_volume(admin, sandbox.id, WantedMount("data", "/data"))
    assert ("set_mounts", sandbox.id) not in world.machines.calls
    await sandboxes.start(admin, sandbox.id)
    assert world.machines.specs[sandbox.id].mounts == attached.mounts != ()


async def test_a_server_that_was_killed_is_followed_by_one_that_finishes(sqlite_world: World) -> None:
    world, admin = sqlite_world, sqlite_world.admin
    kept, doomed = [await world.core.volumes.create(admin, name) for name in ("kept", "doomed")]
    sandbox = await world.create()
    attaching, making = world.machines.hold("set_mounts"), world.machines.hold("create_volume")
    deleting = world.machines.hold("delete_volume")
    works = [
        asyncio.ensure_future(work)
        for work in (
            world.sandboxes.attach_volume(admin, sandbox.id, WantedMount("kept", "/data")),
            world.core.volumes.create(admin, "made"),
            world.core.volumes.delete(admin, "doomed"),
        )
    ]
    for gate in (attaching, making, deleting):
        await gate.reached.wait()
    after = await world.restart()
    await asyncio.gather(*works, return_exceptions=True)
    states = {volume.name: volume.state for volume in await after.core.volumes.list(admin)}
    assert states == {"kept": VolumeState.READY, "made": VolumeState.READY}
    assert doomed.id not in world.machines.sizes
    mounts = (await after.get(sandbox)).mounts
    assert [mount.volume for mount in mounts] == [kept.id]
    assert world.machines.mounts[sandbox.id] == mounts
