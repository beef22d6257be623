"""A server without its HTTP, in a process of its own, that is killed at a chosen step of a change of volumes.

    python -m tests.faults.cut_off_volumes DATA [OPERATION CLASS.METHOD before|after]

It starts on DATA as any server does, prints what it finds as JSON, and then does the operation, to die at that step.
Without one it removes everything and ends.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from moonpool.app import Core
from moonpool.clock import SystemClock
from moonpool.config import Settings
from moonpool.guest.model import ProcessSpec
from moonpool.hosts.host import Host
from moonpool.sandboxes.model import NewSandbox
from moonpool.store.database import Store
from moonpool.volumes.model import WantedMount
from tests.faults.cut_off import WARM, arm

SANDBOX, VOLUME, OTHER = "box", "data", "other"
KEPT, LATE = "/kept", "/late"  # where VOLUME is mounted from the beginning, and for a while


class Server:
    def __init__(self, core: Core, host: Host) -> None:
        self._core, self._host = core, host

    async def find_or_make(self) -> None:
        self._who = await self._core.access.local_principal()
        if await self._core.volumes.list(self._who):
            return
        await self._core.volumes.create(self._who, VOLUME)
        mounts = (WantedMount(VOLUME, KEPT),)
        await self._core.sandboxes.create(self._who, NewSandbox(name=SANDBOX, mounts=mounts))

    async def report(self) -> dict[str, Any]:
        """Volumes as the database, and as the disk, has them; mounts as the row has them, and as they work inside."""
        volumes = await self._core.volumes.list(self._who)
        row = await self._core.sandboxes.get(self._who, SANDBOX)
        there = await self._host.volumes()
        return {
            "volumes": {volume.name: volume.state.value for volume in volumes},
            "on_disk": sorted(volume.name for volume in volumes if volume.id in there)
            + ["?"] * (len(there) > len(volumes)),
            "row": sorted(mount.path for mount in row.mounts),
            "inside": await self._shared(),
        }

    async def _shared(self) -> list[str]:
        """Where a file that was just written to the volume is seen."""
        command = (
            f"date +%s%N > {KEPT}/mark; for at in {KEPT} {LATE}; do cmp -s {KEPT}/mark $at/mark && echo $at; done; true"
        )
        async with self._core.sandboxes.session(self._who, SANDBOX) as session:
            return (await session.agent.run(ProcessSpec(shell=command))).stdout.decode().split()

    async def do(self, operation: str) -> None:
        if operation == "create":
            await self._core.volumes.create(self._who, OTHER)
        elif operation == "delete":
            await self._core.volumes.delete(self._who, OTHER)
        elif operation == "attach":
            await self._core.sandboxes.attach_volume(self._who, SANDBOX, WantedMount(VOLUME, LATE))
        else:
            await self._core.sandboxes.detach_volume(self._who, SANDBOX, LATE)

    async def clean(self) -> None:
        await self._core.sandboxes.destroy(self._who, SANDBOX)
        for volume in await self._core.volumes.list(self._who):
            await self._core.volumes.delete(self._who, volume.id)
        await self._core.stop()
        await self._host.close()


async def main(data: Path, operation: str = "", step: str = "", when: str = "") -> None:
    settings = Settings(data=data, on_exit="keep", pool_size=WARM)
    store = await Store.open(settings.database)
    host = await Host.open(settings.host())
    core = Core(settings, store, host, SystemClock())
    await core.start()
    server = Server(core, host)
    await server.find_or_make()
    print(json.dumps(await server.report()), flush=True)
    if operation:
        arm(step, when)
        await server.do(operation)
    else:
        await server.clean()
        await store.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
