"""Machines in memory whose agents are real: an agent is started at the first need, in a root of its own.

It is an ordinary process behind chroot, so this needs no image and no gVisor. The SDK's scenarios (tests/sdk) run on
real sandboxes.
"""

import asyncio
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import moonpool.guest
from moonpool.guest.client import AgentClient
from moonpool.guest.model import Identity
from tests.unit.sandboxes.machines import MemoryMachines

GUEST = Path(moonpool.guest.__file__).parent
START_TIMEOUT = 60  # seconds
SHOWN = ("/usr", "/dev", sys.base_prefix)  # of this machine, inside
PYTHON = f"{sys.base_prefix}/bin/python3"
# An agent ends with its test run, however that ends; so do its mounts.
NAMESPACES = (
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--mount", "--pid", "--fork", "--kill-child"),
)
ENTER = """
root=$1; shift
for folder in $SHOWN; do mkdir -p "$root$folder" && mount --rbind "$folder" "$root$folder" || exit 1; done
mount -t proc proc "$root/proc" || exit 1
chroot "$root" "$@" & wait
"""


@dataclass
class Inside:
    """A machine's agent and its root, as seen from here."""

    process: asyncio.subprocess.Process
    agent: AgentClient
    root: Path

    async def end(self) -> None:
        await self.agent.close()
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
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
    shutil.copytree(GUEST, root / "guest")  # compiled too: to compile it takes longer than all the rest
    return root


async def start_agent() -> Inside:
    root = new_root()
    secret = secrets.token_hex(16)
    variables = {"MOONPOOL_AGENT_SECRET": secret, "MOONPOOL_AGENT_LISTEN": "127.0.0.1:0", "SHOWN": " ".join(SHOWN)}
    reading, writing = os.pipe()
    with open(reading) as told:
        process = await asyncio.create_subprocess_exec(
            *NAMESPACES,
            *("sh", "-c", ENTER, "sh", str(root), PYTHON, "-I", "-S", "/guest/agent"),
            env={**variables, "PATH": os.environ["PATH"]},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=writing,
        )
        os.close(writing)
        port = int((await asyncio.to_thread(told.readline)).split()[-1])
    agent = await AgentClient.connect("127.0.0.1", port, secret.encode(), timeout=START_TIMEOUT)
    await agent.thaw(Identity(secret=secret.encode(), user="root"))
    return Inside(process, agent, root)


class AgentMachines(MemoryMachines):
    def __init__(self) -> None:
        super().__init__()
        self.inside: dict[str, Inside] = {}

    @asynccontextmanager
    async def session(self, machine_id: str) -> AsyncIterator[AgentClient]:
        async with super().session(machine_id):
            if machine_id not in self.inside:
                self.inside[machine_id] = await start_agent()
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
