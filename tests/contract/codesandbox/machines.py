"""Machines in memory whose agents are real: an agent is started at the first need, in a root of its own.

It is an ordinary process behind chroot, so this needs no image and no gVisor. The SDK's scenarios (tests/sdk) run on
real sandboxes.
"""

import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from moonpool.guest.client import AgentClient
from moonpool.guest.model import Identity
from tests.guests import RunningAgent, start_agent
from tests.unit.sandboxes.machines import MemoryMachines

SHOWN = ("/usr", "/dev", sys.base_prefix)  # of this machine, inside
ENTER = """
root=$1; shift
for folder; do mkdir -p "$root$folder" && mount --rbind "$folder" "$root$folder" || exit 1; done
mount -t proc proc "$root/proc" || exit 1
"""


@dataclass
class Inside:
    """A machine's agent and its root, as seen from here."""

    process: RunningAgent
    agent: AgentClient
    root: Path

    async def end(self) -> None:
        await self.agent.close()
        await self.process.kill()
        shutil.rmtree(self.root, ignore_errors=True)


def new_root() -> Path:
    root = Path(tempfile.mkdtemp(prefix="moonpool-csb-"))
    root.chmod(0o755)
    for folder in ("proc", "etc", "root", "home", "tmp", "project/workspace"):
        (root / folder).mkdir(parents=True)
    for name in ("bin", "lib", "lib64", "sbin"):
        if (source := Path("/", name)).is_symlink():
            (root / name).symlink_to(source.readlink())
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/bash\n")
    (root / "etc/group").write_text("root:x:0:\n")
    return root


async def start_inside() -> Inside:
    root = new_root()
    process = await start_agent(("sh", "-c", ENTER, "sh", str(root), *SHOWN), root=root)
    agent = await process.connect()
    await agent.thaw(Identity(secret=process.secret, user="root"))
    return Inside(process, agent, root)


class AgentMachines(MemoryMachines):
    def __init__(self) -> None:
        super().__init__()
        self.inside: dict[str, Inside] = {}

    @asynccontextmanager
    async def session(self, machine_id: str) -> AsyncIterator[AgentClient]:
        async with super().session(machine_id):
            if machine_id not in self.inside:
                self.inside[machine_id] = await start_inside()
            yield self.inside[machine_id].agent

    def root(self, machine_id: str) -> Path:
        return self.inside[machine_id].root

    async def destroy(self, machine_id: str) -> None:
        await super().destroy(machine_id)
        if inside := self.inside.pop(machine_id, None):
            await inside.end()

    async def close(self, *, keep: bool = False) -> None:
        await super().close(keep=keep)
        for machine_id in list(self.inside):
            await self.inside.pop(machine_id).end()
