"""A server without its HTTP, in a process of its own, that is killed at a chosen step of a fork or a capture.

    python -m tests.faults.cut_off DATA SOURCE [OPERATION CLASS.METHOD before|after]

It starts on DATA as any server does, prints what it finds as JSON, and then does the operation to the sandbox SOURCE
(made where there is none), to die at that step. Without a step it removes everything and ends.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from moonpool.app import Core
from moonpool.clock import SystemClock
from moonpool.config import Settings
from moonpool.engine.gvisor import Driver
from moonpool.engine.storage import Pool
from moonpool.guest.model import ProcessSpec
from moonpool.hosts.host import Host
from moonpool.hosts.memory import MemoryStore
from moonpool.sandboxes.model import Fork, NewSandbox
from moonpool.sandboxes.query import SandboxQuery
from moonpool.snapshots.model import SnapshotState
from moonpool.store.database import Store
from tests.faults.inventory import inventory

RESERVE = "reserve-pages.img"  # what copies were written to before
CLASSES: dict[str, type[Any]] = {"Driver": Driver, "Pool": Pool, "MemoryStore": MemoryStore}
WARM = 1
COUNTER = (
    "born=$(od -An -N8 -tx1 /dev/urandom | tr -d ' '); count=0; "
    "while :; do count=$((count+1)); echo $born $count > /root/told; sleep 0.1; done"
)


def arm(step: str, when: str) -> None:
    """This process dies before or after the next call of that method."""
    owner, _, name = step.partition(".")
    original: Callable[..., Any] = getattr(CLASSES[owner], name)

    def wrapper(*arguments: Any, **options: Any) -> Any:
        if when == "after":
            original(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(CLASSES[owner], name, wrapper)


class Server:
    def __init__(self, data: Path, core: Core, host: Host, source: str) -> None:
        self.data, self._core, self._host, self._source = data, core, host, source

    async def find_or_make(self) -> None:
        self._principal = await self._core.access.local_principal()
        if (await self._core.sandboxes.list(self._principal, SandboxQuery())).items:
            return
        await self._core.sandboxes.create(self._principal, NewSandbox(id=self._source))
        async with self._core.sandboxes.session(self._principal, self._source) as session:
            await session.agent.start(ProcessSpec(shell=COUNTER, tag="counter"))

    async def report(self) -> dict[str, Any]:
        await self._host.ready()
        counted = [await self._told(), await self._told()]
        rows = (await self._core.sandboxes.list(self._principal, SandboxQuery())).items
        snapshots = (await self._core.snapshots.list(self._principal)).items
        fast = self._host._memory.fast
        found = await asyncio.to_thread(inventory, self)
        return {
            "rows": {row.id: row.state.value for row in rows},
            "snapshots": [item.id for item in snapshots if not item.general and item.state is not SnapshotState.ERROR],
            "kept": sorted(await self._host.snapshots()),
            "counted": counted,
            "fast": sorted(set(os.listdir(fast)) - {RESERVE}) if fast is not None else [],
            "inventory": {name: sorted(v) if isinstance(v, frozenset) else v for name, v in asdict(found).items()},
        }

    async def _told(self) -> str:
        """The counter's next line."""
        command = (
            "old=$(cat /root/told); new=$old; "
            'while [ "${new:-$old}" = "$old" ]; do sleep 0.02; new=$(cat /root/told); done; echo $new'
        )
        async with self._core.sandboxes.session(self._principal, self._source) as session:
            return (await session.agent.run(ProcessSpec(shell=command))).stdout.decode().strip()

    async def do(self, operation: str) -> None:
        if operation == "fork":
            await self._core.sandboxes.fork(self._principal, self._source, (Fork(), Fork()))
        else:
            await self._core.snapshots.capture(self._principal, self._source)

    async def clean(self) -> None:
        await self._core.sandboxes.destroy(self._principal, self._source)
        await self._core.stop()
        await self._host.close()


async def main(data: Path, source: str, operation: str = "", step: str = "", when: str = "") -> None:
    settings = Settings(data=data, on_exit="keep", pool_size=WARM)
    store = await Store.open(settings.database)
    host = await Host.open(settings.host())
    core = Core(settings, store, host, SystemClock())
    await core.start()
    server = Server(data, core, host, source)
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
