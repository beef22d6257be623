"""The toolbox over the real core, a real HTTP server and real agents.

What is not real is the machine: an agent here is an ordinary process in mount and process namespaces of its own, with a
user "daytona", so that this needs no image and takes milliseconds. The SDK's scenarios (tests/sdk) run on real ones.
"""

import asyncio
import contextlib
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
import uvicorn
import websockets

from moonpool.access.model import Principal, Scope
from moonpool.app import Core
from moonpool.clock import SystemClock
from moonpool.config import Settings
from moonpool.dialects.common.protocol import BoundedHttpProtocol
from moonpool.dialects.daytona.app import create_app
from moonpool.errors import AgentUnavailable
from moonpool.guest.client import AgentClient
from moonpool.guest.model import Identity
from moonpool.hosts.model import (
    MachineExit,
    MachineSpec,
    MachineState,
    MachineUsage,
    NetworkPolicy,
    Readiness,
    Resources,
)
from moonpool.sandboxes.model import NewSandbox
from tests.contract.documents import TOOLBOX
from tests.contract.machines import WithoutCopies
from tests.contract.record import listening, opened
from tests.databases import open_store
from tests.guests import RunningAgent, start_agent

KEY = "a-key-of-these-tests"
USER, USER_ID = "daytona", 61235
# Every place outside the user's home that commands leave something in is the sandbox's own.
ENTER = """
for name in passwd group; do mount --bind "$1/$name" /etc/$name || exit 1; done
for name in home tmp lib; do mkdir -p "$1/$name"; done
chmod 1777 "$1/tmp"; chown 61235 "$1/home"
mkdir -p /var/lib/moonpool && mount --bind "$1/lib" /var/lib/moonpool && mount --bind "$1/home" /mnt
"""


@dataclass
class Machine:
    """``home`` is the user's home inside, as it is seen from here; inside it is /mnt."""

    process: RunningAgent
    root: Path
    agent: AgentClient | None = None

    @property
    def home(self) -> Path:
        return self.root / "home"

    async def connect(self) -> AgentClient:
        self.agent = await self.process.connect()
        return self.agent

    async def disconnect(self) -> None:
        if self.agent is not None:
            await self.agent.close()
        self.agent = None

    async def end(self) -> None:
        await self.disconnect()
        await self.process.kill()
        shutil.rmtree(self.root, ignore_errors=True)


async def start_machine(spec: MachineSpec) -> Machine:
    root = Path(tempfile.mkdtemp(prefix="moonpool-toolbox-"))
    root.chmod(0o755)
    (root / "passwd").write_text(f"root:x:0:0:root:/root:/bin/sh\n{USER}:x:{USER_ID}:{USER_ID}::/mnt:/bin/bash\n")
    (root / "group").write_text(f"root:x:0:\n{USER}:x:{USER_ID}:\n")
    machine = Machine(await start_agent(("sh", "-c", ENTER, "sh", str(root)), path="/usr/bin:/bin"), root)
    await (await machine.connect()).thaw(Identity(secret=machine.process.secret, env=spec.env, user=spec.user))
    return machine


class ProcessMachines(WithoutCopies):
    """``sandboxes.machines.Machines`` of ordinary processes. A pause drops the connection and keeps the processes."""

    def __init__(self) -> None:
        super().__init__()
        self.by_id: dict[str, Machine] = {}

    async def create(self, spec: MachineSpec) -> None:
        self.by_id[spec.id] = await start_machine(spec)

    async def start(self, spec: MachineSpec) -> None:
        await self.create(spec)

    async def stop(self, machine_id: str) -> None:
        await self.destroy(machine_id)

    async def pause(self, machine_id: str) -> None:
        await self.by_id[machine_id].disconnect()

    async def resume(self, spec: MachineSpec) -> None:
        await self.by_id[spec.id].connect()

    async def destroy(self, machine_id: str) -> None:
        if machine := self.by_id.pop(machine_id, None):
            await machine.end()

    @asynccontextmanager
    async def session(self, machine_id: str) -> AsyncIterator[AgentClient]:
        machine = self.by_id.get(machine_id)
        if machine is None or machine.agent is None:
            raise AgentUnavailable
        yield machine.agent

    async def set_resources(self, machine_id: str, resources: Resources) -> None: ...

    async def set_network(self, machine_id: str, policy: NetworkPolicy) -> None: ...

    async def usage(self, machine_id: str) -> MachineUsage:
        return MachineUsage(0, 0, 0)

    async def machines(self) -> Mapping[str, MachineState]:
        return dict.fromkeys(self.by_id, MachineState.RUNNING)

    def readiness(self) -> Readiness:
        return Readiness(True, 0, 0, len(self.by_id), 0)

    def on_exit(self, callback: Callable[[MachineExit], None]) -> None: ...

    async def close(self, *, keep: bool = False) -> None:
        for machine_id in list(self.by_id):
            await self.destroy(machine_id)


@dataclass
class World:
    core: Core
    machines: ProcessMachines
    principal: Principal

    async def sandbox(self, **wanted: Any) -> str:
        new = NewSandbox(**{"user": USER, **wanted})
        return (await self.core.sandboxes.create(self.principal, new)).id


# One server for the tests of a file, and a sandbox for each of them.
shared = pytest_asyncio.fixture(scope="module", loop_scope="module")
each = pytest_asyncio.fixture(loop_scope="module")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(data=tmp_path_factory.mktemp("data"), api_key=KEY, on_exit="stop")


@shared
async def world(settings: Settings) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        store = await open_store(settings.data)
        stack.push_async_callback(store.close)
        machines = ProcessMachines()
        stack.push_async_callback(machines.close)
        core = Core(settings, store, machines, SystemClock())
        stack.push_async_callback(core.stop)
        await core.start()
        yield World(core, machines, await core.access.authenticate(KEY))


@shared
async def url(world: World) -> AsyncIterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            create_app(world.core.services),
            http=BoundedHttpProtocol,
            ws="websockets-sansio",
            log_level="warning",
            lifespan="off",
            timeout_graceful_shutdown=5,
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve([listener]))
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        await serving


@each
async def sandbox(world: World) -> AsyncIterator[str]:
    made = await world.sandbox(env={"FROM_SANDBOX": "yes"})
    yield made
    await world.core.sandboxes.destroy(world.principal, made)


@pytest.fixture
def home(world: World, sandbox: str) -> Path:
    """The user's home in ``sandbox``, as seen from here."""
    return world.machines.by_id[sandbox].home


@each
async def client(url: str, sandbox: str) -> AsyncIterator[httpx.AsyncClient]:
    """Talks to the toolbox of ``sandbox``."""
    headers = {"Authorization": f"Bearer {KEY}"}
    base = f"{url}/toolbox/{sandbox}"
    async with httpx.AsyncClient(
        base_url=base, headers=headers, trust_env=False, verify=False, timeout=60, event_hooks=listening(TOOLBOX)
    ) as client:
        yield client


class Connect(websockets.connect):
    """What opens at a path of the toolbox is recorded."""

    path = ""

    async def __aenter__(self) -> websockets.ClientConnection:
        connection = await super().__aenter__()
        opened(TOOLBOX, self.path)
        return connection


@dataclass
class Sockets:
    base: str

    def __call__(self, path: str, key: str = KEY, **options: Any) -> websockets.connect:
        headers = {"Authorization": f"Bearer {key}", **options.pop("headers", {})}
        connect = Connect(self.base + path, additional_headers=headers, proxy=None, **options)
        connect.path = path
        return connect

    @staticmethod
    async def rest(socket: websockets.ClientConnection) -> list[str | bytes]:
        """What still comes, up to the close, whatever its code."""
        found = []
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                found.append(await socket.recv())
        return found


@pytest.fixture
def socket_to(url: str, sandbox: str) -> Sockets:
    return Sockets(f"{url.replace('http', 'ws', 1)}/toolbox/{sandbox}")


@shared
async def reader_key(world: World) -> str:
    """A key that may look at sandboxes and nothing else."""
    made = await world.core.access.create_key(world.principal, "reader", {Scope.SANDBOXES_READ})
    return made.secret
