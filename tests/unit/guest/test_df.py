"""`df` inside: what the host says of the disks, and all else as coreutils' own would tell it."""

import asyncio
import sys

import pytest

from moonpool.guest.agent import df, disks
from moonpool.guest.client import AgentClient
from moonpool.guest.model import DiskSize, ProcessSpec
from moonpool.guest.protocol import DISKS
from tests.unit.guest.conftest import RunningAgent

MEBIBYTE = 1024 * 1024
ROOT = DiskSize(size=3072 * MEBIBYTE, used=100 * MEBIBYTE + 1, free=2000 * MEBIBYTE)


async def run(agent: AgentClient, running: RunningAgent, *words: str) -> tuple[int, str, str]:
    program = (sys.executable, "-I", "-S", df.__file__, f"{disks.SERVICE}-{running.port}")
    done = await agent.run(ProcessSpec(argv=(*program, *words), user="root", env={"LC_ALL": "C"}))
    return done.exit_code, done.stdout.decode(), done.stderr.decode()


async def own(agent: AgentClient, *words: str) -> str:
    done = await agent.run(ProcessSpec(argv=("df", *words), user="root", env={"LC_ALL": "C"}))
    return done.stdout.decode()


@pytest.fixture
def asked(agent: AgentClient) -> list[bytes]:
    """Each question of the agent's, which is answered with ``ROOT``."""
    questions: list[bytes] = []
    tasks = []

    def answer(about: bytes) -> None:
        questions.append(about)
        tasks.append(asyncio.ensure_future(agent.show_disks({"/": ROOT})))

    agent.on_notice(answer)
    return questions


async def test_the_hosts_figures(agent: AgentClient, running: RunningAgent, asked: list[bytes]) -> None:
    _, text, _ = await run(agent, running, "/")
    assert text.splitlines() == [
        "Filesystem     1K-blocks   Used Available Use% Mounted on",
        "sandbox          3145728 102401   2048000   5% /",
    ]
    _, text, _ = await run(agent, running, "-h", "--output=size,used,avail,pcent,file", "/proc/../")
    assert text.splitlines() == [" Size  Used Avail Use% File", " 3.0G  101M  2.0G   5% /proc/../"]
    assert asked == [DISKS], "what was told a moment ago holds"


@pytest.mark.parametrize(
    "words", ["", "-h", "-H -T", "-P", "-m", "-B 1", "-BM", "-BKB", "-k --total", "-i", "--output"]
)
async def test_all_else_as_coreutils(agent: AgentClient, running: RunningAgent, asked: list[bytes], words: str) -> None:
    places = ("/dev", "/dev/pts")
    assert await run(agent, running, *words.split(), *places) == (0, await own(agent, *words.split(), *places), "")


async def test_what_is_not_there(agent: AgentClient, running: RunningAgent, asked: list[bytes]) -> None:
    code, text, errors = await run(agent, running, "/nowhere", "/")
    assert (code, errors) == (1, "df: /nowhere: No such file or directory\n")
    assert text.splitlines()[1].startswith("sandbox ")


async def test_what_it_does_not_know_is_asked_of_the_images_own(agent: AgentClient, running: RunningAgent) -> None:
    assert "coreutils" in (await run(agent, running, "--version"))[1]
