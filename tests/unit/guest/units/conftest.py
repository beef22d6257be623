"""A real agent that has entered a root of its own: this machine's programs, and no unit but those of the test."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import moonpool.guest.agent.units.client as client_module
from moonpool.guest.client import AgentClient
from moonpool.guest.model import Identity, ProcessResult, ProcessSpec
from tests.unit.guest.conftest import RunningAgent, running_agent

# Mounts of the agent's own namespace: nothing of the machine can be written through them.
PREPARE = """
set -e
root=$1
mkdir -p $root/usr $root/etc/systemd/system $root/run $root/var/log $root/tmp $root/root $root/proc $root/dev $root/sys
mount --bind /usr $root/usr
mount -o remount,ro,bind $root/usr
mount -t tmpfs tmpfs $root/usr/local/bin
for folder in /usr/lib/systemd/system /usr/local/lib/systemd/system /usr/lib/tmpfiles.d; do
  [ ! -d $root$folder ] || mount -t tmpfs tmpfs $root$folder
done
for name in bin sbin lib lib64; do ln -sfn usr/$name $root/$name; done
cp /etc/passwd /etc/group $root/etc/
[ ! -d /etc/ld.so.conf.d ] || cp -r /etc/ld.so.cache /etc/ld.so.conf /etc/ld.so.conf.d $root/etc/
"""
CLIENT = "/client.py"


@dataclasses.dataclass
class Box:
    """The sandbox-like agent, and its root as this side sees it."""

    agent: AgentClient
    root: Path
    port: int

    async def run(self, *argv: str, user: str = "root") -> ProcessResult:
        spec = ProcessSpec(
            argv=argv, user=user, timeout=60, cwd="/", env={"SANDBOX_UNITS": f"sandbox-units-{self.port}"}
        )
        return await self.agent.run(spec)

    async def systemctl(self, *words: str, user: str = "root") -> ProcessResult:
        return await self.run("/usr/bin/python3", "-IS", CLIENT, "systemctl", *words, user=user)

    async def journalctl(self, *words: str, user: str = "root") -> ProcessResult:
        return await self.run("/usr/bin/python3", "-IS", CLIENT, "journalctl", *words, user=user)

    async def tmpfiles(self, *words: str, user: str = "root") -> ProcessResult:
        return await self.run("/usr/bin/python3", "-IS", CLIENT, "systemd-tmpfiles", *words, user=user)

    def write(self, name: str, text: str) -> None:
        path = self.root / "etc/systemd/system" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    async def state(self, name: str) -> str:
        unit = await self.agent.units.get(name)
        return f"{unit['active_state']}/{unit['sub_state']}"

    async def until(self, name: str, *states: str) -> dict[str, object]:
        """Waits until the unit is in one of the states; asks again where nothing tells."""
        async with asyncio.timeout(60):
            while True:
                unit = await self.agent.units.get(name)
                if f"{unit['active_state']}/{unit['sub_state']}" in states:
                    return unit
                await asyncio.sleep(0.05)


async def come_alive(agent: AgentClient, root: Path, *, at_leisure: bool = False) -> None:
    await agent.enter(str(root))
    await agent.thaw(Identity(secret=b"a secret of the test", at_leisure=at_leisure))


@pytest.fixture
async def entered(tmp_path: Path) -> AsyncIterator[tuple[RunningAgent, Path]]:
    root = tmp_path / "root"
    root.mkdir()
    for folder in (tmp_path, *tmp_path.parents):
        if str(folder).startswith("/tmp/pytest"):
            folder.chmod(folder.stat().st_mode | 0o055)
    async with running_agent(("sh", "-c", PREPARE, "sh", str(root))) as running:
        (root / CLIENT.lstrip("/")).write_text(Path(client_module.__file__).read_text())
        yield running, root


@pytest.fixture
async def box(entered: tuple[RunningAgent, Path]) -> AsyncIterator[Box]:
    running, root = entered
    agent = await running.connect()
    await come_alive(agent, root)
    yield Box(agent, root, running.port)
    await agent.close()
