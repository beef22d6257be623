"""A real agent on loopback, and clients connected to it.

The agent is the first process of namespaces of its own, as it is in a sandbox: what it mounts, kills and names stays
its own, and when it ends nothing of what it started is left.
"""

import asyncio
import contextlib
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import moonpool.guest.agent
from moonpool.guest.client import AgentClient

AGENT = Path(moonpool.guest.agent.__file__).parent
# A /dev of its own, since agents of other tests listen at /dev/log too; but for /dev/shm, which is seen from here.
# What root's shells do first on this machine, which may take a minute, is not a sandbox's.
DEVICES = """
set -e
for file in /root/.bash_profile /root/.bash_login /root/.profile /root/.bashrc; do
  if [ -e $file ]; then mount --bind /dev/null $file; fi
done
mount -t tmpfs -o mode=755,size=4m tmpfs /mnt
cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty /dev/fd /dev/stdin /dev/stdout /dev/stderr /mnt
mkdir /mnt/pts /mnt/shm
mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts /mnt/pts
mount --bind /dev/shm /mnt/shm
ln -s pts/ptmx /mnt/ptmx
mount --move /mnt /dev
exec "$@"
"""
ISOLATED = ("unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--mount-proc", "sh", "-c", DEVICES, "sh")


@dataclass
class RunningAgent:
    """An agent and the means to reach it."""

    process: asyncio.subprocess.Process
    port: int
    secret: bytes

    async def connect(self, secret: bytes | None = None) -> AgentClient:
        return await AgentClient.connect("127.0.0.1", self.port, secret or self.secret, timeout=10)

    @property
    def pid(self) -> int:
        """The agent's own process id, as this side sees it."""
        return int(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text())

    async def kill(self) -> None:
        """End it, and with it all that it has started."""
        with contextlib.suppress(OSError, ValueError):
            os.kill(self.pid, signal.SIGKILL)
        await self.process.wait()

    async def raw(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection that has said nothing yet."""
        return await asyncio.open_connection("127.0.0.1", self.port)


@contextlib.asynccontextmanager
async def running_agent(*prefix: str) -> AsyncIterator[RunningAgent]:
    """`prefix` is a command that starts the one after it."""
    secret = secrets.token_hex(16)
    process = await asyncio.create_subprocess_exec(
        *ISOLATED,
        *prefix,
        sys.executable,
        "-I",
        "-S",
        str(AGENT),
        env={"MOONPOOL_AGENT_SECRET": secret, "MOONPOOL_AGENT_LISTEN": "127.0.0.1:0", "PATH": os.environ["PATH"]},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    agent = RunningAgent(process, 0, secret.encode())
    try:
        line = await asyncio.wait_for(process.stdout.readline(), 20)
        agent.port = int(line.split()[-1])
        yield agent
    finally:
        await agent.kill()


@pytest.fixture
async def running() -> AsyncIterator[RunningAgent]:
    async with running_agent() as agent:
        yield agent


@pytest.fixture
async def agent(running: RunningAgent) -> AsyncIterator[AgentClient]:
    client = await running.connect()
    yield client
    await client.close()


@pytest.fixture
def everyones(tmp_path: Path) -> Path:
    """A folder that every user may look into and write to."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    tmp_path.chmod(0o1777)
    return tmp_path
