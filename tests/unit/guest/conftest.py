"""A real agent on loopback, and clients connected to it.

The agent is the first process of namespaces of its own, as it is in a sandbox: what it mounts, kills and names stays
its own, and when it ends nothing of what it started is left.
"""

import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from moonpool.guest.client import AgentClient
from tests.guests import RunningAgent, start_agent

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
"""


@contextlib.asynccontextmanager
async def running_agent(*commands: Sequence[str]) -> AsyncIterator[RunningAgent]:
    """What the commands prepare is seen by the agent alone."""
    agent = await start_agent(("sh", "-c", DEVICES), *commands, is_first=True)
    try:
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
