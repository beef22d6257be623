"""A team that was deleted when the server was not there, or was killed before it could do what follows."""

from pathlib import Path

from pydantic import SecretStr

from moonpool.access.community import open_community
from moonpool.access.model import ALL_SCOPES, Principal, TeamRole
from moonpool.app import Core
from moonpool.clock import SystemClock
from moonpool.config import Settings
from moonpool.sandboxes.model import NewSandbox
from tests.contract.daytona.conftest import MemoryMachines
from tests.databases import open_store

GRACE = 30.0  # seconds for what a start begins


class Machines(MemoryMachines):
    async def traffic(self) -> dict[str, int]:
        return {}


async def test_the_next_start_leaves_nothing_of_it(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, api_key=SecretStr("the-operators-key"), on_exit="keep")
    machines, store = Machines(), await open_store(tmp_path)
    core = Core(settings, store, machines, SystemClock())
    await core.start()
    operator = await core.access.local_principal()
    kept = await core.sandboxes.create(operator, NewSandbox(name="kept"))
    user = await core.community.administration.create_user(operator, "olga@example.com", "Olga", "a long password")
    theirs = Principal(user.team_id, user.id, None, ALL_SCOPES, role=TeamRole.OWNER)
    sandbox = await core.sandboxes.create(theirs, NewSandbox(name="gone"))
    await core.snapshots.capture(theirs, sandbox.id, name="gone")
    await core.volumes.create(theirs, "gone")
    await core.stop()
    await store.close()

    async with open_community(settings.database) as (_, people):
        await people.administration.delete_team(operator, user.team_id)

    store = await open_store(tmp_path)
    core = Core(settings, store, machines, SystemClock())
    await core.start()
    await core.background.close(GRACE)
    assert set(machines.states) == {kept.id}
    assert (machines.kept, machines.sizes) == ({}, {})
    assert await core.volumes.list(theirs) == ()
    await core.stop()
    await store.close()
