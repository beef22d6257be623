"""A server dies in every state, with every thing found afterwards; the next one puts it right."""

import itertools
from datetime import UTC, datetime

import pytest

from moonpool.app import Core
from moonpool.archives.model import Archive, Backup, BackupState
from moonpool.errors import EngineError
from moonpool.events.model import EventType
from moonpool.hosts.model import MachineState
from moonpool.sandboxes.model import DesiredState, Sandbox, SandboxState
from moonpool.sandboxes.outcomes import Found
from moonpool.sandboxes.recovery import REPAIRS
from tests.unit.sandboxes.conftest import World

S, M = SandboxState, MachineState
FOUND: list[Found] = [M.RUNNING, M.PAUSED, M.STOPPED, None]

ARCHIVED = Backup(BackupState.COMPLETED, Archive("d" * 64, datetime(2026, 1, 1, tzinfo=UTC), 1, 1, None))

# How a sandbox comes to each state from running, by the table of transitions.
WAYS: dict[SandboxState, list[SandboxState]] = {
    S.STARTING: [S.STOPPED, S.STARTING],
    S.RUNNING: [],
    S.PAUSING: [S.PAUSING],
    S.PAUSED: [S.PAUSING, S.PAUSED],
    S.RESUMING: [S.PAUSED, S.RESUMING],
    S.STOPPING: [S.STOPPING],
    S.STOPPED: [S.STOPPED],
    S.DESTROYING: [S.DESTROYING],
    S.ARCHIVING: [S.STOPPED, S.ARCHIVING],
    S.ARCHIVED: [S.STOPPED, S.ARCHIVING, S.ARCHIVED],
    S.RESTORING: [S.STOPPED, S.ARCHIVING, S.ARCHIVED, S.RESTORING],
    S.ERROR: [S.ERROR],
}


async def sandbox_in(world: World, state: SandboxState, found: Found) -> Sandbox:
    sandbox = await world.create()
    for step in WAYS[state]:
        desired = DesiredState.DESTROYED if step is S.DESTROYING else sandbox.desired
        backup = ARCHIVED if step is S.ARCHIVED or (step is S.ARCHIVING and found is None) else sandbox.backup
        sandbox = await world.core.records.move(sandbox, step, desired=desired, backup=backup)
    if found is None:
        del world.machines.states[sandbox.id]
    else:
        world.machines.states[sandbox.id] = found
    return sandbox


EXPECTED: dict[tuple[SandboxState, Found], tuple[SandboxState, Found]] = {
    (S.STARTING, M.RUNNING): (S.RUNNING, M.RUNNING),
    (S.STARTING, M.PAUSED): (S.STOPPED, M.STOPPED),
    (S.STARTING, M.STOPPED): (S.STOPPED, M.STOPPED),
    (S.STARTING, None): (S.ERROR, None),
    (S.RUNNING, M.RUNNING): (S.RUNNING, M.RUNNING),
    (S.RUNNING, M.PAUSED): (S.PAUSED, M.PAUSED),
    (S.RUNNING, M.STOPPED): (S.STOPPED, M.STOPPED),
    (S.RUNNING, None): (S.ERROR, None),
    (S.PAUSING, M.RUNNING): (S.RUNNING, M.RUNNING),
    (S.PAUSING, M.PAUSED): (S.PAUSED, M.PAUSED),
    (S.PAUSING, M.STOPPED): (S.STOPPED, M.STOPPED),
    (S.PAUSING, None): (S.ERROR, None),
    (S.PAUSED, M.RUNNING): (S.STOPPED, M.STOPPED),
    (S.PAUSED, M.PAUSED): (S.PAUSED, M.PAUSED),
    (S.PAUSED, M.STOPPED): (S.STOPPED, M.STOPPED),
    (S.PAUSED, None): (S.ERROR, None),
    (S.RESUMING, M.RUNNING): (S.RUNNING, M.RUNNING),
    (S.RESUMING, M.PAUSED): (S.PAUSED, M.PAUSED),
    (S.RESUMING, M.STOPPED): (S.STOPPED, M.STOPPED),
    (S.RESUMING, None): (S.ERROR, None),
    (S.STOPPING, M.RUNNING): (S.STOPPED, M.STOPPED),
    (S.STOPPING, M.PAUSED): (S.STOPPED, M.STOPPED),
    (S.STOPPING, M.STOPPED): (S.STOPPED, M.STOPPED),
    (S.STOPPING, None): (S.ERROR, None),
    (S.STOPPED, M.RUNNING): (S.STOPPED, M.STOPPED),
    (S.STOPPED, M.PAUSED): (S.STOPPED, M.STOPPED),
    (S.STOPPED, M.STOPPED): (S.STOPPED, M.STOPPED),
    (S.STOPPED, None): (S.ERROR, None),
    (S.ARCHIVING, M.RUNNING): (S.STOPPED, M.STOPPED),
    (S.ARCHIVING, M.PAUSED): (S.STOPPED, M.STOPPED),
    (S.ARCHIVING, M.STOPPED): (S.STOPPED, M.STOPPED),
    (S.ARCHIVING, None): (S.ARCHIVED, None),
    (S.ARCHIVED, M.RUNNING): (S.ARCHIVED, None),
    (S.ARCHIVED, M.PAUSED): (S.ARCHIVED, None),
    (S.ARCHIVED, M.STOPPED): (S.ARCHIVED, None),
    (S.ARCHIVED, None): (S.ARCHIVED, None),
    (S.RESTORING, M.RUNNING): (S.RUNNING, M.RUNNING),
    (S.RESTORING, M.PAUSED): (S.STOPPED, M.STOPPED),
    (S.RESTORING, M.STOPPED): (S.STOPPED, M.STOPPED),
    (S.RESTORING, None): (S.ARCHIVED, None),
    (S.DESTROYING, M.RUNNING): (S.DESTROYED, None),
    (S.DESTROYING, M.PAUSED): (S.DESTROYED, None),
    (S.DESTROYING, M.STOPPED): (S.DESTROYED, None),
    (S.DESTROYING, None): (S.DESTROYED, None),
    (S.ERROR, M.RUNNING): (S.ERROR, M.STOPPED),
    (S.ERROR, M.PAUSED): (S.ERROR, M.PAUSED),
    (S.ERROR, M.STOPPED): (S.ERROR, M.STOPPED),
    (S.ERROR, None): (S.ERROR, None),
}


def test_every_combination_is_thought_of() -> None:
    assert set(EXPECTED) == set(REPAIRS) == set(itertools.product(WAYS, FOUND))


async def test_every_row_and_what_is_there(world: World) -> None:
    sandboxes = {case: await sandbox_in(world, *case) for case in EXPECTED}
    again = await world.restart()
    for case, sandbox in sandboxes.items():
        repaired = await again.get(sandbox)
        assert (repaired.state, world.machines.states.get(sandbox.id)) == EXPECTED[case], case
        if repaired.state is not sandbox.state:
            assert (await again.states(sandbox))[-1] == repaired.state
        if repaired.state in (S.STOPPED, S.PAUSED):
            assert (await again.sandboxes.start(again.admin, sandbox.id)).state is S.RUNNING
    await again.core.stop()


async def test_creations_that_were_cut_off(world: World) -> None:
    """Finished when they had come to a running machine; else undone, and ``start`` makes them anew."""
    sandboxes = {found: await created_halfway(world) for found in FOUND}
    world.machines.states = {sandbox.id: found for found, sandbox in sandboxes.items() if found is not None}
    again = await (await world.restart()).restart()
    for found, sandbox in sandboxes.items():
        repaired = await again.get(sandbox)
        if found is M.RUNNING:
            assert (repaired.state, repaired.started_at) == (S.RUNNING, world.clock.now())
        else:
            assert (repaired.state, repaired.reason) == (S.STOPPED, "the server was interrupted")
            assert sandbox.id not in world.machines.states
            assert (await again.sandboxes.start(again.admin, sandbox.id)).state is S.RUNNING
    await again.core.stop()


async def created_halfway(world: World) -> Sandbox:
    gate = world.machines.hold("create")
    sandbox = await world.create(wait=False)
    await gate.reached.wait()
    return sandbox


async def test_a_machine_that_no_row_knows_is_destroyed(world: World) -> None:
    world.machines.states["stray"] = M.RUNNING
    again = await world.restart()
    assert world.machines.states == {}
    await again.core.stop()


async def test_a_destruction_that_had_failed_is_tried_again(world: World) -> None:
    sandbox = await world.create()
    world.machines.fail("destroy", EngineError())
    with pytest.raises(EngineError):
        await world.sandboxes.destroy(world.admin, sandbox.id)
    again = await world.restart()
    assert (await again.get(sandbox)).state is S.DESTROYED
    await again.core.stop()


async def test_one_repair_that_fails_does_not_keep_the_others_from_theirs(world: World) -> None:
    first, second = [await sandbox_in(world, S.STOPPING, M.RUNNING) for _ in range(2)]
    world.machines.fail("stop", EngineError("busy"))
    again = await world.restart()
    assert {(await again.get(sandbox)).state for sandbox in (first, second)} == {S.ERROR, S.STOPPED}
    await again.core.stop()


async def test_a_row_that_a_failed_write_left_behind_is_put_right_by_the_next_request(world: World) -> None:
    sandbox = await sandbox_in(world, S.PAUSING, M.RUNNING)
    assert (await world.sandboxes.stop(world.admin, sandbox.id)).state is S.STOPPED


async def test_events_that_were_not_handed_out_are_handed_out_at_the_next_start(world: World) -> None:
    sandbox = await world.create()
    heard: list[tuple[str, str]] = []
    core = Core(world.settings, world.store, world.machines, world.clock)
    core.events.listen(lambda event: heard.append((event.type, event.subject_id)))
    await core.start()
    assert (EventType.SANDBOX_CREATED, sandbox.id) in heard
    await core.stop()
