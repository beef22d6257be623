"""An SSH server before a sandbox whose agent is a real one, and OpenSSH's clients."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from moonpool.sandboxes.model import Sandbox
from moonpool.ssh.server import SshServer
from tests.conftest import ManualClock
from tests.unit.inside import Inside, running_inside

LIMIT = 60.0  # seconds that a client may take
OPTIONS = (
    *("-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
    *("-o", "LogLevel=ERROR", "-o", "ControlMaster=no", "-o", "ConnectTimeout=30"),
)


@dataclass
class Result:
    code: int
    output: bytes
    errors: bytes


@dataclass
class Shells:
    inside: Inside
    server: SshServer
    port: int
    clock: ManualClock
    folder: Path

    @property
    def sandbox(self) -> Sandbox:
        return self.inside.sandbox

    async def token(self, minutes: float = 60) -> str:
        return (await self.inside.core.ssh.create(self.inside.owner, self.sandbox.id, minutes)).token

    async def start(
        self, token: str, *command: str, options: tuple[str, ...] = (), env: Mapping[str, str] | None = None
    ) -> asyncio.subprocess.Process:
        own = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LANG": "C.UTF-8", "TERM": "xterm"}
        return await asyncio.create_subprocess_exec(
            *("ssh", *OPTIONS, "-p", str(self.port), *options, f"{token}@127.0.0.1", *command),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**own, **(env or {})},
        )

    async def ssh(
        self,
        token: str,
        *command: str,
        given: bytes = b"",
        options: tuple[str, ...] = (),
        env: Mapping[str, str] | None = None,
    ) -> Result:
        return await finished(await self.start(token, *command, options=options, env=env), given)

    async def sftp(self, token: str, commands: str) -> Result:
        process = await asyncio.create_subprocess_exec(
            *("sftp", *OPTIONS, "-P", str(self.port), "-b", "-", f"{token}@127.0.0.1"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder)},
        )
        return await finished(process, commands.encode())


async def finished(process: asyncio.subprocess.Process, given: bytes) -> Result:
    try:
        async with asyncio.timeout(LIMIT):
            output, errors = await process.communicate(given)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Result(process.returncode, output, errors)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shells(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shells]:
    clock, folder = ManualClock(), tmp_path_factory.mktemp("ssh")
    async with running_inside(clock, folder) as inside:
        server = SshServer(inside.core.ssh, inside.core.sandboxes, clock, folder)
        port = await server.start("127.0.0.1", 0)
        yield Shells(inside, server, port, clock, folder)
        await server.close()
