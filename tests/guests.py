"""Real agents as processes of this machine, in namespaces of their own: no image is needed, nor gVisor.

They are forks of a process that has their modules (tests/guest_zygote.py); tests of real sandboxes start the program
itself.
"""

import asyncio
import contextlib
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from moonpool.guest.client import AgentClient
from tests.guest_zygote import Place
from tests.programs import AGENT, ROOT, Program, guest_zygote
from tests.zygote import Request

START_TIMEOUT, CONNECT_TIMEOUT = 60, 20  # seconds
ISOLATED = ("unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc")


@dataclass
class RunningAgent:
    """An agent and the means to reach it."""

    process: "Program | subprocess.Popen[bytes]"
    port: int
    secret: bytes

    async def connect(self, secret: bytes | None = None) -> AgentClient:
        return await AgentClient.connect("127.0.0.1", self.port, secret or self.secret, timeout=CONNECT_TIMEOUT)

    @property
    def pid(self) -> int:
        """The first process of its namespaces, as this side sees it."""
        return int(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text())

    async def kill(self) -> None:
        """End it, and with it all that it has started."""
        if self.process.poll() is None:
            with contextlib.suppress(OSError, ValueError):  # It ends just now.
                os.kill(self.pid, signal.SIGKILL)
        await asyncio.to_thread(self.process.wait)

    async def raw(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection that has said nothing yet."""
        return await asyncio.open_connection("127.0.0.1", self.port)


async def start_agent(
    *commands: Sequence[str], is_first: bool = False, root: Path = Path("/"), path: str = os.environ["PATH"]
) -> RunningAgent:
    """In a place that the commands have prepared (see ``Place``); who asked for it kills it."""
    place = Place(tuple(tuple(command) for command in commands), is_first, str(root))
    secret = secrets.token_hex(16)

    def begin(output: IO[bytes]) -> Program:
        request = Request(place.encoded(), [], agents_environment(secret, path), str(ROOT))
        assert sys.__stderr__ is not None
        return guest_zygote().begin(request, output, sys.__stderr__.buffer)

    return await listening(begin, secret)


async def execute_agent() -> RunningAgent:
    """The program itself, as the first process of namespaces of its own."""
    secret = secrets.token_hex(16)
    words = (*ISOLATED, sys.executable, "-I", "-S", str(AGENT))

    def begin(output: IO[bytes]) -> "subprocess.Popen[bytes]":
        environment = agents_environment(secret, os.environ["PATH"])
        return subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, stdout=output)

    return await listening(begin, secret)


def agents_environment(secret: str, path: str) -> dict[str, str]:
    return {"MOONPOOL_AGENT_SECRET": secret, "MOONPOOL_AGENT_LISTEN": "127.0.0.1:0", "PATH": path}


async def listening(begin: "Callable[[IO[bytes]], Program | subprocess.Popen[bytes]]", secret: str) -> RunningAgent:
    reading, writing = os.pipe()
    with open(reading) as told:
        with open(writing, "wb") as output:
            agent = RunningAgent(begin(output), 0, secret.encode())
        try:
            line = await asyncio.wait_for(asyncio.to_thread(told.readline), START_TIMEOUT)
            if not line:
                raise RuntimeError("The agent ended before it listened; the standard error output may say why")
            agent.port = int(line.split()[-1])
        except BaseException:
            agent.process.kill()
            raise
    return agent
