"""The one place where real time passes: the rules wake by themselves when something is due."""

from pathlib import Path

from moonpool.app import Core
from moonpool.clock import SystemClock
from moonpool.config import Settings
from moonpool.sandboxes.model import NewSandbox, SandboxState, Timers
from moonpool.store.database import Store
from tests.unit.sandboxes.machines import MemoryMachines


async def test_a_deadline_wakes_the_rules(store: Store, tmp_path: Path) -> None:
    core = Core(Settings(data=tmp_path), store, MemoryMachines(), SystemClock())
    await core.start()
    admin = await core.access.local_principal()
    async with core.events.subscribe(admin.team_id) as events:
        await core.sandboxes.create(admin, NewSandbox(timers=Timers(ttl=3600)))
        sandbox = await core.sandboxes.create(admin, NewSandbox(timers=Timers(ttl=0.05)))
        async for event in events:
            if event.subject_id == sandbox.id and event.data["new_state"] == SandboxState.DESTROYED:
                break
    await core.stop()
