"""A server without its HTTP, in a process of its own, that is killed at a chosen step of an archive or a restore.

    python -m tests.faults.cut_off_archive DATA SOURCE [OPERATION CLASS.METHOD before|after]

It starts on DATA as any server does and prints, as JSON, what it finds of the sandbox SOURCE (made where there is none)
and what becomes of it by itself; it brings it to where the operation begins, and dies in the middle of that. Without a
step it removes everything and ends.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from moonpool.app import Core
from moonpool.archives.folder import FolderStore
from moonpool.archives.model import BackupState
from moonpool.clock import SystemClock
from moonpool.config import Settings
from moonpool.errors import SandboxNotFound
from moonpool.guest.model import ProcessSpec
from moonpool.hosts.host import Host
from moonpool.sandboxes.model import NewSandbox, Sandbox, SandboxState
from moonpool.store.database import Store
from tests.faults import cut_off
from tests.faults.cut_off import WARM, arm

WRITTEN = "head -c 20000000 /dev/urandom > /root/random; echo kept > /root/kept; sha256sum /root/random > /root/sum"
CHECK = "cat /root/kept; sha256sum --check --quiet /root/sum"

cut_off.CLASSES["FolderStore"] = FolderStore


class Life:
    def __init__(self, data: Path, core: Core, source: str) -> None:
        self._data, self._core, self._source = data, core, source

    async def begin(self) -> dict[str, Any]:
        """What this server finds, and what it makes of it."""
        self._principal = await self._core.access.local_principal()
        try:
            found = (await self._row()).state.value
        except SandboxNotFound:
            await self._core.sandboxes.create(self._principal, NewSandbox(id=self._source))
            await self._run(WRITTEN)
            await self._core.sandboxes.stop(self._principal, self._source)
            found = "made"
        left = await self._settled()
        pool = self._data / "pool"
        names = [path.name for path in (self._data / "archives").rglob("*") if path.is_file()]
        return {
            "found": found,
            "left": left.state.value,
            "backup": left.backup.state.value,
            "disk": (pool / "sandboxes" / self._source).is_dir(),
            "staged": [path.name for path in (pool / "staging").iterdir()],
            "unfinished": [name for name in names if name.endswith("unfinished")],
            "manifests": sum(name.endswith(".json") for name in names),
        }

    async def check(self) -> str:
        """What it says of its files, from whatever state it is in; it is stopped afterwards."""
        await self._core.sandboxes.start(self._principal, self._source)
        said = await self._run(CHECK)
        await self._core.sandboxes.stop(self._principal, self._source)
        return said

    async def do(self, operation: str, step: str, when: str) -> None:
        if operation == "restore":
            await self._core.sandboxes.archive(self._principal, self._source)
        arm(step, when)
        if operation == "restore":
            await self._core.sandboxes.start(self._principal, self._source)
        else:
            await self._core.sandboxes.archive(self._principal, self._source)

    async def end(self) -> None:
        await self._core.sandboxes.destroy(self._principal, self._source)

    async def _row(self) -> Sandbox:
        return await self._core.sandboxes.get(self._principal, self._source)

    async def _run(self, command: str) -> str:
        async with self._core.sandboxes.session(self._principal, self._source) as session:
            return (await session.agent.run(ProcessSpec(shell=command, user="root"))).stdout.decode().strip()

    async def _settled(self) -> Sandbox:
        async with self._core.events.subscribe(None) as events, asyncio.timeout(60):
            while (row := await self._row()).backup.state is BackupState.IN_PROGRESS or (
                row.state is SandboxState.ARCHIVING
            ):
                await anext(events)
        return row


async def main(data: Path, source: str, operation: str = "", step: str = "", when: str = "") -> None:
    settings = Settings(data=data, on_exit="stop", pool_size=WARM)
    store = await Store.open(settings.database)
    host = await Host.open(settings.host())
    core = Core(settings, store, host, SystemClock())
    await core.start()
    life = Life(data, core, source)
    found = await life.begin()
    print(json.dumps({**found, "said": await life.check()}), flush=True)
    if operation:
        await host.ready()  # Nothing is made ahead any more that would meet the step first.
        await life.do(operation, step, when)
    await life.end()
    left = [str(path) for path in (data / "archives").rglob("*") if path.is_file()]
    print(json.dumps({"store": left, "bases": [path.name for path in (data / "pool" / "bases").iterdir()]}), flush=True)
    await core.stop()
    await host.close()
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
