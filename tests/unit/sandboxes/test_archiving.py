"""Archives of sandboxes, in a folder: there and back, and what every failure and interruption leaves."""

import asyncio
import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from moonpool.access.model import Scope
from moonpool.archives.model import PART, BackupState
from moonpool.errors import (
    ArchiveCorrupt,
    ArchiveIncompatible,
    EngineError,
    Forbidden,
    InvalidState,
    MoonpoolError,
    NoCapacity,
    SandboxNotFound,
    StoreUnavailable,
)
from moonpool.hosts.model import MachineState
from moonpool.sandboxes.idle import RETRY_AFTER
from moonpool.sandboxes.model import DesiredState, NewSandbox, Sandbox, SandboxState, Timers
from tests.unit.sandboxes.conftest import STRANGER, World
from tests.unit.sandboxes.machines import Gate
from tests.unit.sandboxes.test_idle import pass_time

S = SandboxState


@pytest.fixture
def world(sqlite_world: World) -> World:
    """Nothing here depends on the database but what ``test_rows`` looks at."""
    return sqlite_world


def store(world: World) -> Path:
    return world.settings.data / "archives"


def files(world: World) -> dict[str, bytes]:
    return {
        str(path.relative_to(store(world))): path.read_bytes() for path in store(world).rglob("*") if path.is_file()
    }


async def stopped(world: World, content: bytes | None = None, **fields: object) -> Sandbox:
    sandbox = await world.create(NewSandbox(**fields))  # type: ignore[arg-type]
    if content is not None:
        world.machines.contents[sandbox.id] = content
    return await world.sandboxes.stop(world.admin, sandbox.id)


async def archived(world: World, content: bytes | None = None) -> Sandbox:
    sandbox = await stopped(world, content)
    return await world.sandboxes.archive(world.admin, sandbox.id)


def hold(world: World, operation: str) -> Gate:
    """The archives' store waits at its next ``operation``."""
    gate, target = Gate(), world.core.archiving._archives._store  # the one door to a store that is slow when told
    original = getattr(target, operation)

    async def slow(*arguments: object) -> object:
        await gate.wait()
        return await original(*arguments)

    setattr(target, operation, slow)
    return gate


def broken(world: World, operation: str, error: MoonpoolError, after: int = 0) -> None:
    """The archives' store fails at its ``operation`` number ``after`` from now on, until it is ``mended``."""
    target = world.core.archiving._archives._store
    original, count = getattr(target, operation), iter(range(after))

    async def fail(*arguments: object) -> object:
        if next(count, None) is None:
            raise error
        return await original(*arguments)

    setattr(target, operation, fail)


def mended(world: World) -> None:
    target = world.core.archiving._archives._store
    for operation in ("put", "get", "list", "delete"):
        target.__dict__.pop(operation, None)


class TestThereAndBack:
    async def test_the_disk_leaves_and_comes_back_as_it_was(self, world: World) -> None:
        content = random.Random(1).randbytes(PART // 4) * 9
        sandbox = await stopped(world, content)
        moved = await world.sandboxes.archive(world.admin, sandbox.id)
        assert (moved.state, moved.desired, moved.reason) == (S.ARCHIVED, DesiredState.ARCHIVED, None)
        assert sandbox.id not in world.machines.states
        archive = moved.backup.archive
        assert archive is not None
        assert (archive.disk_bytes, moved.backup.state) == (len(content), BackupState.COMPLETED)
        assert archive.stored_bytes == sum(len(data) for name, data in files(world).items() if "/parts/" in name)
        running = await world.sandboxes.start(world.admin, sandbox.id)
        assert (running.state, world.machines.contents[sandbox.id]) == (S.RUNNING, content)
        assert running.preview_token != sandbox.preview_token
        assert await world.states(sandbox) == [
            *("starting", "running", "stopping", "stopped"),
            *("archiving", "archiving", "archived", "restoring", "running"),
        ]
        assert world.machines.open == 0

    async def test_an_empty_disk(self, world: World) -> None:
        sandbox = await archived(world, b"")
        assert (await world.sandboxes.start(world.admin, sandbox.id)).state is S.RUNNING

    async def test_an_archived_one_is_left_alone(self, world: World) -> None:
        sandbox = await archived(world)
        assert await world.sandboxes.archive(world.admin, sandbox.id) == sandbox

    async def test_the_second_archive_writes_what_is_new_and_removes_what_is_not_needed(self, world: World) -> None:
        first = await archived(world, b"a" * PART + b"b" * PART)
        before = files(world)
        await world.sandboxes.start(world.admin, first.id)
        world.machines.contents[first.id] = b"a" * PART + b"c" * PART
        await world.sandboxes.stop(world.admin, first.id)
        written: list[str] = []
        target = world.core.archiving._archives._store
        put = target.put

        async def counting(name: str, data: bytes) -> None:
            written.append(name)
            await put(name, data)

        target.put = counting  # type: ignore[method-assign]
        await world.sandboxes.archive(world.admin, first.id)
        assert (len(before), len(files(world)), len(written)) == (3, 3, 2)
        assert len(set(before) & set(files(world))) == 1

    async def test_destruction_removes_the_archive(self, world: World) -> None:
        sandbox = await archived(world)
        other = await archived(world)
        await world.sandboxes.destroy(world.admin, sandbox.id)
        assert all(other.id in name for name in files(world))
        assert world.machines.bases
        await world.sandboxes.destroy(world.admin, other.id)
        assert (files(world), world.machines.bases) == ({}, set())

    async def test_it_outlives_the_server(self, world: World) -> None:
        sandbox = await archived(world, b"content")
        again = await world.restart()
        assert (await again.get(sandbox)) == sandbox
        assert again.machines.bases
        assert (await again.sandboxes.start(again.admin, sandbox.id)).state is S.RUNNING
        assert again.machines.contents[sandbox.id] == b"content"
        await again.core.stop()


class TestRefused:
    @pytest.mark.parametrize("verb", ["start", "pause"])
    async def test_only_a_stopped_one(self, world: World, verb: str) -> None:
        sandbox = await world.create()
        if verb == "pause":
            await world.sandboxes.pause(world.admin, sandbox.id)
        with pytest.raises(InvalidState):
            await world.sandboxes.archive(world.admin, sandbox.id)

    async def test_one_that_never_ran(self, world: World) -> None:
        world.machines.fail("create", NoCapacity())
        with pytest.raises(NoCapacity):
            await world.create(NewSandbox(name="failed"))
        await world.sandboxes.stop(world.admin, "failed")
        with pytest.raises(InvalidState, match="never ran"):
            await world.sandboxes.archive(world.admin, "failed")

    async def test_who_may(self, world: World) -> None:
        sandbox = await stopped(world)
        reader = replace(world.admin, scopes=frozenset({Scope.SANDBOXES_READ}))
        for change in (world.sandboxes.archive, world.sandboxes.back_up):
            with pytest.raises(SandboxNotFound):
                await change(STRANGER, sandbox.id)
            with pytest.raises(Forbidden):
                await change(reader, sandbox.id)

    async def test_what_cannot_be_done_with_an_archived_one(self, world: World) -> None:
        sandbox = await archived(world)
        for change in ("stop", "pause", "resume"):
            with pytest.raises(InvalidState):
                await getattr(world.sandboxes, change)(world.admin, sandbox.id)
        with pytest.raises(InvalidState):
            await world.core.snapshots.capture(world.admin, sandbox.id)


FAILURES = [
    ("list", StoreUnavailable("down"), 0),
    ("put", StoreUnavailable("down"), 0),
    ("put", StoreUnavailable("down"), 2),
    ("put", NoCapacity("full"), 1),
    ("list", StoreUnavailable("down"), 1),
    ("list", ArchiveCorrupt("lost"), 1),
]


class TestFailures:
    @pytest.mark.parametrize(("operation", "error", "after"), FAILURES)
    async def test_a_failed_archive_leaves_it_stopped_with_its_disk(
        self, world: World, operation: str, error: MoonpoolError, after: int
    ) -> None:
        sandbox = await stopped(world, b"x" * PART + b"y" * PART)
        broken(world, operation, error, after)
        with pytest.raises(type(error)):
            await world.sandboxes.archive(world.admin, sandbox.id)
        left = await world.get(sandbox)
        assert (left.state, left.desired, left.reason) == (S.STOPPED, DesiredState.STOPPED, error.message)
        assert (left.backup.state, left.backup.reason) == (BackupState.FAILED, error.message)
        assert (left.stopped_at, world.machines.states[sandbox.id]) == (sandbox.stopped_at, MachineState.STOPPED)
        mended(world)
        assert (await world.sandboxes.archive(world.admin, sandbox.id)).state is S.ARCHIVED
        assert (len(files(world)), world.machines.open) == (3, 0)

    async def test_a_sender_that_is_killed_leaves_nothing_in_the_store(self, world: World) -> None:
        sandbox = await stopped(world, b"x" * PART * 3)
        world.machines.send_fails_at = PART
        with pytest.raises(EngineError):
            await world.sandboxes.archive(world.admin, sandbox.id)
        assert ((await world.get(sandbox)).state, files(world)) == (S.STOPPED, {})

    async def test_a_failed_attempt_leaves_the_archive_before_it(self, world: World) -> None:
        sandbox = await archived(world, b"old")
        await world.sandboxes.start(world.admin, sandbox.id)
        await world.sandboxes.stop(world.admin, sandbox.id)
        world.machines.contents[sandbox.id] = b"x" * PART * 3
        world.machines.send_fails_at = PART
        with pytest.raises(EngineError):
            await world.sandboxes.archive(world.admin, sandbox.id)
        left = await world.get(sandbox)
        assert (left.state, left.backup.archive, len(files(world))) == (S.STOPPED, sandbox.backup.archive, 2)

    async def test_a_disk_that_cannot_be_removed_is_still_there(self, world: World) -> None:
        sandbox = await stopped(world)
        world.machines.fail("destroy", EngineError("busy"))
        with pytest.raises(EngineError):
            await world.sandboxes.archive(world.admin, sandbox.id)
        assert (await world.get(sandbox)).state is S.STOPPED
        assert (await world.sandboxes.archive(world.admin, sandbox.id)).state is S.ARCHIVED

    @pytest.mark.parametrize("damage", ["truncated", "changed", "lost part", "lost manifest", "manifest", "foreign"])
    async def test_a_damaged_archive_is_refused_and_stays(self, world: World, damage: str) -> None:
        sandbox, other = await archived(world, b"mine" * 1000), await archived(world, b"other" * 1000)
        (part,) = (store(world) / "sandboxes" / sandbox.id / "parts").iterdir()
        (manifest,) = (store(world) / "sandboxes" / sandbox.id / "manifests").iterdir()
        (foreign,) = (store(world) / "sandboxes" / other.id / "manifests").iterdir()
        whole = {path: path.read_bytes() for path in (part, manifest)}
        document = json.loads(whole[manifest])
        match damage:
            case "truncated":
                part.write_bytes(whole[part][:-1])
            case "changed":
                part.write_bytes(whole[part][:-1] + bytes([whole[part][-1] ^ 1]))
            case "lost part":
                part.unlink()
            case "lost manifest":
                manifest.unlink()
            case "manifest":
                manifest.write_text(json.dumps({**document, "parts": []}))
            case "foreign":
                manifest.write_bytes(foreign.read_bytes())
        with pytest.raises(ArchiveCorrupt) as refused:
            await world.sandboxes.start(world.admin, sandbox.id)
        left = await world.get(sandbox)
        assert (left.state, left.reason) == (S.ARCHIVED, refused.value.message)
        assert (sandbox.id in world.machines.states, world.machines.open) == (False, 0)
        for path, data in whole.items():
            path.write_bytes(data)
        assert (await world.sandboxes.start(world.admin, sandbox.id)).state is S.RUNNING

    async def test_another_state_of_the_image_is_refused(self, world: World) -> None:
        sandbox = await archived(world)
        world.machines.bases.clear()
        with pytest.raises(ArchiveIncompatible):
            await world.sandboxes.start(world.admin, sandbox.id)
        assert (await world.get(sandbox)).state is S.ARCHIVED

    async def test_a_receiver_that_is_killed(self, world: World) -> None:
        sandbox = await archived(world)
        world.machines.receive_fails = EngineError("btrfs receive was killed")
        with pytest.raises(EngineError):
            await world.sandboxes.start(world.admin, sandbox.id)
        assert (await world.get(sandbox)).reason == "btrfs receive was killed"
        world.machines.receive_fails = None
        assert (await world.sandboxes.start(world.admin, sandbox.id)).state is S.RUNNING

    async def test_a_start_that_fails_after_the_disk_is_back(self, world: World) -> None:
        sandbox = await archived(world)
        world.machines.fail("start", NoCapacity("full"))
        with pytest.raises(NoCapacity):
            await world.sandboxes.start(world.admin, sandbox.id)
        assert (await world.get(sandbox)).state is S.STOPPED
        assert (await world.sandboxes.start(world.admin, sandbox.id)).state is S.RUNNING

    async def test_a_destruction_while_the_store_is_down_is_done_later(self, world: World) -> None:
        sandbox = await archived(world)
        broken(world, "list", StoreUnavailable("down"))
        with pytest.raises(StoreUnavailable):
            await world.sandboxes.destroy(world.admin, sandbox.id)
        assert (await world.get(sandbox)).state is S.ERROR
        mended(world)
        await pass_time(world, RETRY_AFTER)
        await world.reaches(sandbox, S.DESTROYED)
        assert files(world) == {}


class TestEndedByAnotherRequest:
    async def test_a_start_calls_the_archiving_off(self, world: World) -> None:
        sandbox = await stopped(world, b"x" * PART * 3)
        gate = hold(world, "put")
        await world.sandboxes.archive(world.admin, sandbox.id, wait=False)
        await gate.reached.wait()
        starting = asyncio.ensure_future(world.sandboxes.start(world.admin, sandbox.id))
        assert (await starting).state is S.RUNNING
        left = await world.get(sandbox)
        assert (left.backup.state, files(world), world.machines.open) == (BackupState.NONE, {}, 0)

    @pytest.mark.parametrize("operation", ["put", "list"])
    async def test_a_destruction_ends_the_archiving(self, world: World, operation: str) -> None:
        sandbox = await stopped(world, b"x" * PART * 3)
        gate = hold(world, operation)
        await world.sandboxes.archive(world.admin, sandbox.id, wait=False)
        await gate.reached.wait()
        mended(world)
        assert (await world.sandboxes.destroy(world.admin, sandbox.id)).state is S.DESTROYED
        assert (files(world), world.machines.states, world.machines.open) == ({}, {}, 0)

    async def test_a_destruction_ends_the_restoring(self, world: World) -> None:
        sandbox = await archived(world)
        gate = hold(world, "get")
        await world.sandboxes.start(world.admin, sandbox.id, wait=False)
        await gate.reached.wait()
        assert (await world.get(sandbox)).state is S.RESTORING
        assert (await world.sandboxes.destroy(world.admin, sandbox.id)).state is S.DESTROYED
        assert (files(world), world.machines.states, world.machines.open) == ({}, {}, 0)

    async def test_other_changes_wait(self, world: World) -> None:
        sandbox = await stopped(world)
        gate = hold(world, "put")
        await world.sandboxes.archive(world.admin, sandbox.id, wait=False)
        await gate.reached.wait()
        assert world.sandboxes.progress(sandbox) == 0
        with pytest.raises(InvalidState):
            await world.sandboxes.stop(world.admin, sandbox.id)
        gate.open()
        await world.reaches(sandbox, S.ARCHIVED)
        assert world.sandboxes.progress(sandbox) is None


class TestTheServerEnds:
    async def test_an_archive_that_was_cut_off_goes_on(self, world: World) -> None:
        sandbox = await stopped(world, b"x" * PART + b"y" * PART)
        hold(world, "list")  # the first
        await world.sandboxes.archive(world.admin, sandbox.id, wait=False)
        await world.reaches(sandbox, S.ARCHIVING)
        again = await world.restart()
        assert (await again.reaches(sandbox, S.ARCHIVED)).backup.state is BackupState.COMPLETED
        assert len(files(again)) == 3
        await again.core.stop()

    async def test_one_that_stops_in_order_leaves_it_for_the_next(self, world: World) -> None:
        sandbox = await stopped(world)
        gate = hold(world, "put")
        await world.sandboxes.archive(world.admin, sandbox.id, wait=False)
        await gate.reached.wait()
        await world.core.archiving.close()
        left = await world.reaches(sandbox, S.STOPPED)
        assert (left.desired, left.backup.state) == (DesiredState.ARCHIVED, BackupState.IN_PROGRESS)
        again = await world.restart()
        await again.reaches(sandbox, S.ARCHIVED)
        await again.core.stop()

    async def test_a_backup_that_was_cut_off_goes_on(self, world: World) -> None:
        sandbox = await world.create()
        gate = hold(world, "put")
        await world.sandboxes.back_up(world.admin, sandbox.id)
        await gate.reached.wait()
        again = await world.restart()
        await backed_up(again, sandbox, BackupState.COMPLETED)
        await again.core.stop()

    async def test_a_restore_that_was_cut_off_is_undone(self, world: World) -> None:
        sandbox = await archived(world)
        gate = hold(world, "get")
        await world.sandboxes.start(world.admin, sandbox.id, wait=False)
        await gate.reached.wait()
        again = await world.restart()
        assert (await again.get(sandbox)).state is S.ARCHIVED
        assert (await again.sandboxes.start(again.admin, sandbox.id)).state is S.RUNNING
        await again.core.stop()


async def backed_up(world: World, sandbox: Sandbox, state: BackupState) -> Sandbox:
    async with world.core.events.subscribe(world.admin.team_id) as events:
        while (current := await world.get(sandbox)).backup.state is not state:
            await anext(events)
        return current


class TestBackups:
    @pytest.mark.parametrize("verb", [None, "pause", "stop"])
    async def test_a_sandbox_whose_disk_is_lost_is_brought_back(self, world: World, verb: str | None) -> None:
        sandbox = await world.create()
        world.machines.contents[sandbox.id] = b"precious"
        if verb is not None:
            await getattr(world.sandboxes, verb)(world.admin, sandbox.id)
        begun = await world.sandboxes.back_up(world.admin, sandbox.id)
        assert begun.backup.state is BackupState.IN_PROGRESS
        kept = await backed_up(world, sandbox, BackupState.COMPLETED)
        assert kept.state is (await world.get(sandbox)).state
        world.machines.states.clear()
        world.machines.contents.clear()
        again = await world.restart()
        lost = await again.get(sandbox)
        assert (lost.state, lost.recoverable) == (S.ERROR, True)
        with pytest.raises(InvalidState):
            await again.sandboxes.stop(again.admin, sandbox.id)
        assert (await again.sandboxes.start(again.admin, sandbox.id)).state is S.RUNNING
        assert again.machines.contents[sandbox.id] == b"precious"
        await again.core.stop()

    async def test_one_that_fails_says_why(self, world: World) -> None:
        sandbox = await world.create()
        broken(world, "put", StoreUnavailable("down"))
        await world.sandboxes.back_up(world.admin, sandbox.id)
        failed = await backed_up(world, sandbox, BackupState.FAILED)
        assert (failed.state, failed.backup.reason, failed.reason) == (S.RUNNING, "down", None)

    async def test_a_second_joins_the_first_and_a_destruction_ends_it(self, world: World) -> None:
        sandbox = await world.create()
        gate = hold(world, "put")
        await world.sandboxes.back_up(world.admin, sandbox.id)
        await gate.reached.wait()
        assert (await world.sandboxes.back_up(world.admin, sandbox.id)).backup.state is BackupState.IN_PROGRESS
        assert (await world.sandboxes.destroy(world.admin, sandbox.id)).state is S.DESTROYED
        assert (files(world), world.machines.open) == ({}, 0)

    async def test_archiving_takes_over(self, world: World) -> None:
        sandbox = await stopped(world)
        gate = hold(world, "put")
        await world.sandboxes.back_up(world.admin, sandbox.id)
        await gate.reached.wait()
        mended(world)
        assert (await world.sandboxes.archive(world.admin, sandbox.id)).backup.state is BackupState.COMPLETED

    async def test_an_archived_one_cannot_be_backed_up(self, world: World) -> None:
        sandbox = await archived(world)
        with pytest.raises(InvalidState):
            await world.sandboxes.back_up(world.admin, sandbox.id)


class TestByTheClock:
    async def test_after_its_time_and_then_deleted_after_that(self, world: World) -> None:
        sandbox = await stopped(world, timers=Timers(auto_archive=60, auto_delete=600))
        await pass_time(world, 59)
        assert (await world.get(sandbox)).state is S.STOPPED
        await pass_time(world, 1)
        await world.reaches(sandbox, S.ARCHIVED)
        await pass_time(world, 540)
        await world.reaches(sandbox, S.DESTROYED)
        assert files(world) == {}

    async def test_one_that_fails_is_tried_again(self, world: World) -> None:
        sandbox = await stopped(world, timers=Timers(auto_archive=60))
        broken(world, "put", StoreUnavailable("down"))
        await pass_time(world, 60)
        await world.reaches(sandbox, S.ARCHIVING)
        await world.reaches(sandbox, S.STOPPED)
        mended(world)
        await world.core.lifecycle.flights.settled(sandbox.id)
        await pass_time(world, RETRY_AFTER)
        await world.reaches(sandbox, S.ARCHIVED)


async def test_rows(store: object, clock: object, tmp_path: Path) -> None:
    """What is kept of a backup is the same in each kind of database."""
    from tests.unit.sandboxes.conftest import new_world

    async with new_world(store, clock, tmp_path) as world:  # type: ignore[arg-type]
        sandbox = await archived(world)
        again = await world.restart()
        assert await again.get(sandbox) == sandbox
        await again.core.stop()
