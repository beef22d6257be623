"""Snapshots of sandboxes: made, changed, started from, removed, and whole after any interruption."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from moonpool.access.model import Scope
from moonpool.errors import (
    CheckpointIncompatible,
    CheckpointRefused,
    EngineError,
    Forbidden,
    InvalidInput,
    InvalidState,
    NameTaken,
    SandboxNotFound,
    SnapshotNotFound,
    SnapshotNotReady,
)
from moonpool.events.model import Event
from moonpool.sandboxes.model import NewSandbox, SandboxState
from moonpool.snapshots.model import Snapshot, SnapshotQuery, SnapshotState
from tests.unit.sandboxes.conftest import STRANGER, World, cancelled

S = SandboxState


async def capture(world: World, sandbox_id: str, **fields: Any) -> Snapshot:
    return await world.core.snapshots.capture(world.admin, sandbox_id, **fields)


async def told(world: World, snapshot_id: str) -> list[tuple[str, str]]:
    events: list[Event] = await world.core.events.history(world.admin.team_id, limit=1000)
    return [(event.type, event.data["new_state"]) for event in events if event.subject_id == snapshot_id]


class TestCapture:
    async def test_it_has_what_its_sandbox_has(self, world: World) -> None:
        sandbox = await world.create(NewSandbox(user="daytona", cpu=2, memory_mib=2048, disk_mib=4096))
        made = await capture(world, sandbox.id, name="first", dialect_data={"freestyle": {"slug": "x"}}, id="sc-1")
        assert (made.id, made.name, made.state, made.team_id) == ("sc-1", "first", "active", world.admin.team_id)
        assert (made.resources, made.user, made.source_sandbox_id) == (sandbox.resources, "daytona", sandbox.id)
        assert (made.has_memory, made.size_bytes, made.image) == (True, 1000, "snapshots/sc-1")
        assert await told(world, "sc-1") == [("snapshot.created", "building"), ("snapshot.state.updated", "active")]
        assert (await world.get(sandbox)).state is S.RUNNING
        again = await world.restart()
        assert await again.core.snapshots.get(again.admin, "first") == made
        await again.core.stop()

    @pytest.mark.parametrize(
        ("verb", "memory", "has_memory"),
        [(None, False, False), ("pause", True, True), ("pause", False, False), ("stop", True, False)],
    )
    async def test_memory_where_there_is_some_and_it_is_wanted(
        self, sqlite_world: World, verb: str | None, memory: bool, has_memory: bool
    ) -> None:
        sandbox = await sqlite_world.create()
        if verb is not None:
            await getattr(sqlite_world.sandboxes, verb)(sqlite_world.admin, sandbox.id)
        assert (await capture(sqlite_world, sandbox.id, memory=memory)).has_memory is has_memory

    @pytest.mark.parametrize("fields", [{"name": "a/b"}, {"name": ""}, {"id": ""}, {"id": "../x"}, {"id": "X" * 37}])
    async def test_bad_input(self, sqlite_world: World, fields: dict[str, str]) -> None:
        sandbox = await sqlite_world.create()
        with pytest.raises(InvalidInput):
            await capture(sqlite_world, sandbox.id, **fields)

    async def test_a_name_or_an_id_that_is_taken(self, world: World) -> None:
        sandbox = await world.create()
        await capture(world, sandbox.id, name="one", id="one")
        for fields in ({"name": "one"}, {"id": "one", "name": "two"}):
            with pytest.raises(NameTaken):
                await capture(world, sandbox.id, **fields)
        assert list(world.machines.kept) == ["one"]

    async def test_another_teams_sandbox(self, sqlite_world: World) -> None:
        sandbox = await sqlite_world.create()
        with pytest.raises(SandboxNotFound):
            await sqlite_world.core.snapshots.capture(STRANGER, sandbox.id)

    async def test_it_needs_its_scope(self, sqlite_world: World) -> None:
        sandbox = await sqlite_world.create()
        other = replace(sqlite_world.admin, scopes=frozenset({Scope.SANDBOXES_WRITE, Scope.SANDBOXES_READ}))
        with pytest.raises(Forbidden):
            await sqlite_world.core.snapshots.capture(other, sandbox.id)

    @pytest.mark.parametrize("error", [CheckpointRefused("open file"), EngineError("no")])
    async def test_one_that_fails_says_why_and_gives_its_name_away(
        self, sqlite_world: World, error: EngineError
    ) -> None:
        sandbox = await sqlite_world.create()
        sqlite_world.machines.fail("capture", error)
        with pytest.raises(type(error)):
            await capture(sqlite_world, sandbox.id, name="mine")
        failed = await sqlite_world.core.snapshots.get(sqlite_world.admin, "mine")
        assert (failed.state, failed.reason) == (SnapshotState.ERROR, error.message)
        assert (await sqlite_world.get(sandbox)).state is S.RUNNING
        with pytest.raises(SnapshotNotReady):
            await sqlite_world.create(NewSandbox(snapshot="mine"))
        again = await capture(sqlite_world, sandbox.id, name="mine")
        assert (again.state, again.id == failed.id) == (SnapshotState.ACTIVE, False)
        with pytest.raises(SnapshotNotFound):
            await sqlite_world.core.snapshots.get(sqlite_world.admin, failed.id)

    async def test_one_that_failed_can_be_deleted(self, sqlite_world: World) -> None:
        sandbox = await sqlite_world.create()
        sqlite_world.machines.fail("capture", EngineError("no"))
        with pytest.raises(EngineError):
            await capture(sqlite_world, sandbox.id, name="mine")
        await sqlite_world.core.snapshots.delete(sqlite_world.admin, "mine")
        with pytest.raises(SnapshotNotFound):
            await sqlite_world.core.snapshots.get(sqlite_world.admin, "mine")

    async def test_what_cannot_be_begun_leaves_no_record(self, sqlite_world: World) -> None:
        sandbox = await sqlite_world.create()
        gate = sqlite_world.machines.hold("stop")
        stopping = asyncio.ensure_future(sqlite_world.sandboxes.stop(sqlite_world.admin, sandbox.id))
        await gate.reached.wait()
        with pytest.raises(InvalidState):
            await capture(sqlite_world, sandbox.id, name="mine")
        with pytest.raises(SnapshotNotFound):
            await sqlite_world.core.snapshots.get(sqlite_world.admin, "mine")
        gate.open()
        await stopping

    async def test_nobody_starts_from_half_a_snapshot(self, sqlite_world: World) -> None:
        sandbox = await sqlite_world.create()
        gate = sqlite_world.machines.hold("capture")
        capturing = asyncio.ensure_future(capture(sqlite_world, sandbox.id, name="mine"))
        await gate.reached.wait()
        assert (await sqlite_world.core.snapshots.get(sqlite_world.admin, "mine")).state is SnapshotState.BUILDING
        with pytest.raises(SnapshotNotReady):
            await sqlite_world.create(NewSandbox(snapshot="mine"))
        with pytest.raises(InvalidState):
            await sqlite_world.core.snapshots.delete(sqlite_world.admin, "mine")
        gate.open()
        assert (await capturing).state is SnapshotState.ACTIVE

    async def test_a_caller_that_goes_away_leaves_nothing_half_done(self, sqlite_world: World) -> None:
        sandbox = await sqlite_world.create()
        gate = sqlite_world.machines.hold("capture")
        await cancelled(capture(sqlite_world, sandbox.id, name="mine"), gate.reached.wait)
        async with sqlite_world.core.events.subscribe(sqlite_world.admin.team_id) as events:
            gate.open()
            while (await anext(events)).data["new_state"] != "active":
                pass
        assert (await sqlite_world.core.snapshots.get(sqlite_world.admin, "mine")).state is SnapshotState.ACTIVE


class TestStartingFromOne:
    async def test_its_memory_is_resumed(self, world: World) -> None:
        made = await capture(world, (await world.create(NewSandbox(cpu=2))).id, name="warm")
        sandbox = await world.create(NewSandbox(snapshot="warm"))
        assert (sandbox.state, sandbox.snapshot, sandbox.image, sandbox.reason) == (S.RUNNING, "warm", made.image, None)
        assert sandbox.resources == made.resources
        assert [call for call in world.machines.calls if call[1] == sandbox.id] == [
            ("unpack", sandbox.id),
            ("resume", sandbox.id),
        ]

    async def test_without_its_memory_when_asked(self, sqlite_world: World) -> None:
        await capture(sqlite_world, (await sqlite_world.create()).id, name="warm")
        sandbox = await sqlite_world.create(NewSandbox(snapshot="warm", memory=False))
        assert sqlite_world.machines.calls[-1] == ("create", sandbox.id)

    async def test_from_the_disk_where_there_is_no_memory(self, sqlite_world: World) -> None:
        await capture(sqlite_world, (await sqlite_world.create()).id, name="cold", memory=False)
        sandbox = await sqlite_world.create(NewSandbox(snapshot="cold"))
        assert (sandbox.state, sqlite_world.machines.calls[-1]) == (S.RUNNING, ("start", sandbox.id))

    async def test_memory_of_another_machine_is_left_and_the_sandbox_says_so(self, sqlite_world: World) -> None:
        await capture(sqlite_world, (await sqlite_world.create()).id, name="warm")
        sqlite_world.machines.fail("resume", CheckpointIncompatible("made by another runsc"))
        sandbox = await sqlite_world.create(NewSandbox(snapshot="warm"))
        assert sandbox.state is S.RUNNING
        assert sandbox.reason == "Started from its disk, without its memory: made by another runsc"

    async def test_a_disk_may_only_grow(self, sqlite_world: World) -> None:
        await capture(sqlite_world, (await sqlite_world.create(NewSandbox(disk_mib=4096))).id, name="mine")
        with pytest.raises(InvalidInput):
            await sqlite_world.create(NewSandbox(snapshot="mine", disk_mib=4095))
        larger = await sqlite_world.create(NewSandbox(snapshot="mine", disk_mib=8192, memory_mib=256, cpu=0.5))
        assert (larger.resources.disk_mib, larger.resources.memory_mib, larger.resources.cpu) == (8192, 256, 0.5)

    async def test_one_that_failed_begins_anew(self, sqlite_world: World) -> None:
        await capture(sqlite_world, (await sqlite_world.create()).id, name="warm")
        sqlite_world.machines.fail("resume", EngineError("no"))
        with pytest.raises(EngineError):
            await sqlite_world.create(NewSandbox(snapshot="warm", name="second"))
        assert (await sqlite_world.sandboxes.start(sqlite_world.admin, "second")).state is S.RUNNING
        assert [verb for verb, _ in sqlite_world.machines.calls][-3:] == ["destroy", "unpack", "resume"]


class TestChanges:
    async def test_its_name_and_the_fields_of_dialects(self, world: World) -> None:
        made = await capture(world, (await world.create()).id, name="old", dialect_data={"a": 1, "b": 1})
        world.clock.advance(5)
        changed = await world.core.snapshots.update(world.admin, "old", name="new", dialect_data={"b": 2})
        expected = replace(made, name="new", dialect_data={"a": 1, "b": 2}, updated_at=world.clock.now())
        assert changed == expected == await world.core.snapshots.get(world.admin, "new")
        with pytest.raises(SnapshotNotFound):
            await world.core.snapshots.get(world.admin, "old")

    async def test_refused(self, world: World) -> None:
        sandbox = await world.create()
        await capture(world, sandbox.id, name="one")
        await capture(world, sandbox.id, name="two")
        service = world.core.snapshots
        with pytest.raises(NameTaken):
            await service.update(world.admin, "two", name="one")
        with pytest.raises(InvalidInput):
            await service.update(world.admin, "two", name=" ")
        with pytest.raises(SnapshotNotFound):
            await service.update(STRANGER, "two", name="three")
        for general in ("minimal", "pcz35m"):
            with pytest.raises(Forbidden):
                await service.update(world.admin, general, name="mine")
            with pytest.raises(Forbidden):
                await service.delete(world.admin, general)
        with pytest.raises(SnapshotNotFound):
            await service.delete(STRANGER, "two")


class TestActivation:
    async def test_nothing_starts_from_an_inactive_one(self, world: World) -> None:
        made = await capture(world, (await world.create()).id, name="mine")
        child = await world.create(NewSandbox(snapshot="mine"))
        service = world.core.snapshots
        assert (await service.deactivate(world.admin, "mine")).state is SnapshotState.INACTIVE
        with pytest.raises(SnapshotNotReady, match="inactive") as refused:
            await world.create(NewSandbox(snapshot="mine"))
        assert refused.value.hint == "Activate it first."
        assert (await world.get(child)).state is S.RUNNING
        again = await world.restart()
        assert (await again.core.snapshots.get(again.admin, made.id)).state is SnapshotState.INACTIVE
        assert (await again.core.snapshots.activate(again.admin, "mine")).state is SnapshotState.ACTIVE
        assert (await again.create(NewSandbox(snapshot="mine"))).state is S.RUNNING
        assert [state for _, state in await told(again, made.id)] == ["building", "active", "inactive", "active"]
        await again.core.stop()

    async def test_refused(self, sqlite_world: World) -> None:
        service, admin = sqlite_world.core.snapshots, sqlite_world.admin
        await capture(sqlite_world, (await sqlite_world.create()).id, name="mine")
        with pytest.raises(InvalidState):
            await service.activate(admin, "mine")
        await service.deactivate(admin, "mine")
        with pytest.raises(InvalidState):
            await service.deactivate(admin, "mine")
        for change in (service.activate, service.deactivate):
            with pytest.raises(Forbidden):
                await change(admin, "minimal")
            with pytest.raises(SnapshotNotFound):
                await change(STRANGER, "mine")
        few = replace(admin, scopes=frozenset({Scope.SNAPSHOTS_READ}))
        with pytest.raises(Forbidden):
            await service.activate(few, "mine")


class TestDeletion:
    async def test_nothing_is_left_and_what_was_made_from_it_lives(self, world: World) -> None:
        made = await capture(world, (await world.create()).id, name="mine")
        child = await world.create(NewSandbox(snapshot="mine"))
        await world.core.snapshots.delete(world.admin, "mine")
        assert world.machines.kept == {}
        with pytest.raises(SnapshotNotFound):
            await world.create(NewSandbox(snapshot="mine"))
        assert [state for _, state in await told(world, made.id)][-2:] == ["removing", "removed"]
        gone = await world.core.snapshots.get(world.admin, made.id, include_removed=True)
        assert (gone.state, gone.name) == (SnapshotState.REMOVED, "mine")
        listed = await world.core.snapshots.list(world.admin, SnapshotQuery(include_removed=True))
        assert gone in listed.items
        assert gone not in (await world.core.snapshots.list(world.admin)).items
        for hidden in (made.id, "mine"):
            with pytest.raises(SnapshotNotFound):
                await world.core.snapshots.get(STRANGER, hidden, include_removed=True)
        await world.sandboxes.stop(world.admin, child.id)
        assert (await world.sandboxes.start(world.admin, child.id)).state is S.RUNNING
        assert (await capture(world, child.id, name="mine")).id != made.id

    async def test_one_that_fails_is_tried_again(self, sqlite_world: World) -> None:
        await capture(sqlite_world, (await sqlite_world.create()).id, name="mine")
        for _ in range(2):
            sqlite_world.machines.fail("forget", EngineError("busy"))
            with pytest.raises(EngineError):
                await sqlite_world.core.snapshots.delete(sqlite_world.admin, "mine")
        await sqlite_world.core.snapshots.delete(sqlite_world.admin, "mine")
        with pytest.raises(SnapshotNotFound):
            await sqlite_world.core.snapshots.get(sqlite_world.admin, "mine")


class TestRecords:
    async def test_they_are_kept_for_a_week(self, world: World) -> None:
        await capture(world, (await world.create()).id, id="mine")
        await world.core.snapshots.delete(world.admin, "mine")
        world.clock.advance(6 * 86400)
        await world.core.snapshots.prune()
        assert (await world.core.snapshots.get(world.admin, "mine", include_removed=True)).id == "mine"
        world.clock.advance(2 * 86400)
        await world.core.snapshots.prune()
        with pytest.raises(SnapshotNotFound):
            await world.core.snapshots.get(world.admin, "mine", include_removed=True)

    async def test_a_use_is_noted(self, world: World) -> None:
        await capture(world, (await world.create()).id, id="mine")
        world.clock.advance(60)
        await world.create(NewSandbox(snapshot="mine"))
        assert (await world.core.snapshots.get(world.admin, "mine")).last_used_at == world.clock.now()
        assert (await world.core.snapshots.list(world.admin)).items[0].id == "mine"
        again = await world.restart()
        assert (await again.core.snapshots.get(again.admin, "mine")).last_used_at == world.clock.now()
        await again.core.stop()


class TestInterrupted:
    async def test_a_capture_is_undone_at_the_next_start(self, world: World) -> None:
        sandbox = await world.create()
        gate = world.machines.hold("capture")
        capturing = asyncio.ensure_future(capture(world, sandbox.id, name="mine", id="mine"))
        await gate.reached.wait()
        capturing.cancel()
        world.machines.kept["mine"] = True
        again = await world.restart()
        assert again.machines.kept == {}
        failed = await again.core.snapshots.get(again.admin, "mine")
        assert (failed.state, failed.reason) == (SnapshotState.ERROR, "the server was interrupted")
        await again.core.stop()

    async def test_a_removal_is_finished_at_the_next_start(self, sqlite_world: World) -> None:
        await capture(sqlite_world, (await sqlite_world.create()).id, name="mine")
        sqlite_world.machines.fail("forget", EngineError("busy"))
        with pytest.raises(EngineError):
            await sqlite_world.core.snapshots.delete(sqlite_world.admin, "mine")
        again = await sqlite_world.restart()
        assert again.machines.kept == {}
        assert all(item.general for item in (await again.core.snapshots.list(again.admin)).items)
        await again.core.stop()

    async def test_what_no_row_knows_is_removed(self, sqlite_world: World) -> None:
        sqlite_world.machines.kept["stray"] = True
        again = await sqlite_world.restart()
        assert again.machines.kept == {}
        await again.core.stop()
