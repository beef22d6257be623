"""The dialect over the real core, a temporary SQLite database, a real HTTP server and real agents.

What is not real is the machine: an agent here is an ordinary process in namespaces of its own, so that this needs no
image and takes milliseconds. The SDK's scenarios (tests/sdk/wrenn) run on real sandboxes.
"""

import asyncio
import json
import secrets
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import pytest_asyncio
import uvicorn
import websockets
from pydantic import SecretStr

from moonpool.access.model import ALL_SCOPES, Principal, Scope
from moonpool.access.repository import AccessRepository
from moonpool.app import Core, serve
from moonpool.clock import SystemClock
from moonpool.config import Settings
from moonpool.errors import AgentUnavailable
from moonpool.guest.client import AgentClient
from moonpool.guest.model import Identity
from moonpool.hosts.model import (
    MEBIBYTE,
    MachineExit,
    MachineSample,
    MachineSpec,
    MachineState,
    MachineUsage,
    NetworkPolicy,
    Readiness,
    Resources,
)
from moonpool.store.database import Store
from tests.contract.documents import WRENN, nullable
from tests.contract.machines import WithoutCopies
from tests.contract.record import listening, opened
from tests.databases import open_store
from tests.guests import RunningAgent, start_agent

CONTRACT = json.loads((Path(__file__).parents[1] / "wrenn.contract.json").read_text())
COMPONENTS = nullable(CONTRACT["components"])
KEY = "a-key-of-these-tests"
ENTER = 'mount --bind "$1/passwd" /etc/passwd && mount --bind "$1/group" /etc/group'


@dataclass
class Machine:
    """``home`` is the home of wrenn-user inside; ``root`` holds it and what its namespaces see of users."""

    process: RunningAgent
    agent: AgentClient
    root: Path
    running: bool = True

    @property
    def home(self) -> Path:
        return self.root / "home"

    async def end(self) -> None:
        await self.agent.close()
        await self.process.kill()
        shutil.rmtree(self.root, ignore_errors=True)


async def start_machine(spec: MachineSpec) -> Machine:
    root = Path(tempfile.mkdtemp(prefix="moonpool-wrenn-"))
    root.chmod(0o755)
    (root / "home").mkdir()
    shutil.chown(root / "home", 61234, 61234)
    (root / "passwd").write_text(f"root:x:0:0:root:/root:/bin/sh\nwrenn-user:x:61234:61234::{root}/home:/bin/sh\n")
    (root / "group").write_text("root:x:0:\nwrenn-user:x:61234:\n")
    process = await start_agent(("sh", "-c", ENTER, "sh", str(root)))
    agent = await process.connect()
    await agent.thaw(Identity(secret=process.secret, env=spec.env, user=spec.user))
    return Machine(process, agent, root)


class ProcessMachines(WithoutCopies):
    """``sandboxes.machines.Machines`` of ordinary processes; a pause only says no until the resume."""

    def __init__(self) -> None:
        super().__init__()
        self.by_id: dict[str, Machine] = {}
        self.failing: Exception | None = None
        self._callbacks: list[Callable[[MachineExit], None]] = []

    async def create(self, spec: MachineSpec) -> None:
        if self.failing is not None:
            raise self.failing
        self.by_id[spec.id] = await start_machine(spec)

    async def start(self, spec: MachineSpec) -> None:
        await self.create(spec)

    async def stop(self, machine_id: str) -> None:
        await self.destroy(machine_id)

    async def pause(self, machine_id: str) -> None:
        self.by_id[machine_id].running = False

    async def resume(self, spec: MachineSpec) -> None:
        self.by_id[spec.id].running = True

    async def destroy(self, machine_id: str) -> None:
        if machine := self.by_id.pop(machine_id, None):
            await machine.end()

    @asynccontextmanager
    async def session(self, machine_id: str) -> AsyncIterator[AgentClient]:
        machine = self.by_id.get(machine_id)
        if machine is None or not machine.running:
            raise AgentUnavailable
        yield machine.agent

    async def set_resources(self, machine_id: str, resources: Resources) -> None: ...

    async def set_network(self, machine_id: str, policy: NetworkPolicy) -> None: ...

    async def usage(self, machine_id: str) -> MachineUsage:
        return MachineUsage(1_000_000, 20 * MEBIBYTE, 3 * MEBIBYTE)

    async def sample(self) -> Mapping[str, MachineSample]:
        """Always awake."""
        usages = {machine_id: await self.usage(machine_id) for machine_id in self.by_id}
        self.disk.update({machine_id: usage.disk_bytes for machine_id, usage in usages.items()})
        return {
            machine_id: MachineSample(usage.cpu_microseconds, usage.memory_bytes, 0, asleep=False)
            for machine_id, usage in usages.items()
        }

    async def machines(self) -> Mapping[str, MachineState]:
        return dict.fromkeys(self.by_id, MachineState.RUNNING)

    def readiness(self) -> Readiness:
        return Readiness(True, 0, 0, len(self.by_id), 0)

    async def close(self, *, keep: bool = False) -> None:
        for machine_id in list(self.by_id):
            await self.destroy(machine_id)

    def on_exit(self, callback: Callable[[MachineExit], None]) -> None:
        self._callbacks.append(callback)


# One server for the tests of a file; each test leaves it as it found it (see ``api``).
shared = pytest_asyncio.fixture(scope="module", loop_scope="module")
each = pytest_asyncio.fixture(loop_scope="module")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(data=tmp_path_factory.mktemp("data"), api_key=SecretStr(KEY), on_exit="keep", max_memory_mib=16384)


@shared
async def machines() -> AsyncIterator[ProcessMachines]:
    machines = ProcessMachines()
    yield machines
    await machines.close()


@shared
async def core(settings: Settings, machines: ProcessMachines) -> AsyncIterator[Core]:
    async with AsyncExitStack() as stack:
        store = await open_store(settings.data)
        stack.push_async_callback(store.close)
        core = Core(settings, store, machines, SystemClock())
        stack.push_async_callback(core.stop)
        await core.start()
        yield core


@shared
async def url(core: Core, machines: ProcessMachines) -> AsyncIterator[str]:
    """A real server: uploads break off, clients vanish and WebSockets are refused as they would be."""
    # The protocol must be named, else asyncio leaves Nagle's algorithm on for its connections.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            serve(core, machines),
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


@dataclass
class Api:
    """Calls operations by the contract's ids, and holds every answer against the contract."""

    url: str
    http: httpx.AsyncClient

    async def call(self, operation: str, status: int, path: Mapping[str, str] | None = None, **request: Any) -> Any:
        """The parsed body, or the raw bytes of a file; the answer must have ``status`` and conform."""
        method, template = OPERATIONS[operation]
        answer = await self.http.request(method, template.format(**(path or {})), **request)
        assert answer.status_code == status, answer.text
        return conforming(operation, answer)

    async def connect(self, operation: str, path: Mapping[str, str], key: str = KEY) -> websockets.ClientConnection:
        address = self.url.replace("http", "ws", 1) + OPERATIONS[operation][1].format(**path)
        socket = await websockets.connect(address, additional_headers={"X-API-Key": key}, proxy=None)
        opened(WRENN, address.removeprefix(self.url.replace("http", "ws", 1)))
        return socket

    async def capsule(self, **wanted: Any) -> str:
        return (await self.call("createCapsule", 202, json=wanted))["id"]


OPERATIONS = {
    operation["operationId"]: (method.upper(), path)
    for path, item in CONTRACT["paths"].items()
    for method, operation in item.items()
    if "operationId" in operation
}
ERROR = {"$ref": "#/components/schemas/Error"}


def conforming(operation: str, answer: httpx.Response) -> Any:
    method, path = OPERATIONS[operation]
    declared = CONTRACT["paths"][path][method.lower()]["responses"].get(str(answer.status_code))
    if answer.status_code >= 400:
        body = answer.json()
        validate(ERROR, body)
        assert set(body) == {"error"}
        assert set(body["error"]) == {"code", "message"}
        return body["error"]
    assert declared is not None, f"{operation} does not answer {answer.status_code}"
    content = declared.get("content")
    if content is None:
        assert answer.content == b""
        return None
    media_type = answer.headers["content-type"].partition(";")[0]
    schema = content[media_type]["schema"]
    if media_type != "application/json":
        return answer.content
    validate(schema, answer.json())
    return answer.json()


def validate(schema: Mapping[str, Any], value: Any) -> None:
    jsonschema.Draft202012Validator({**nullable(schema), "components": COMPONENTS}).validate(value)


@each
async def api(url: str) -> AsyncIterator[Api]:
    async with httpx.AsyncClient(
        base_url=url,
        headers={"X-API-Key": KEY},
        trust_env=False,
        verify=False,
        timeout=60,
        event_hooks=listening(WRENN),
    ) as http:
        yield Api(url, http)
        for left in (await http.get("/v1/capsules")).json():
            await http.delete(f"/v1/capsules/{left['id']}")


@each
async def capsule(api: Api) -> str:
    return await api.capsule()


@pytest.fixture
def home(machines: ProcessMachines, capsule: str) -> Path:
    """wrenn-user's home in ``capsule``, as seen from here."""
    return machines.by_id[capsule.removeprefix("cl-")].home


@pytest.fixture
def contract() -> Mapping[str, Any]:
    return CONTRACT


@each
async def stranger_key(core: Core, settings: Settings) -> str:
    """A key of another team, which may do all there."""
    store, name = await Store.open(settings.database), f"other {secrets.token_hex(4)}"
    async with store.transaction() as transaction:
        other = await AccessRepository().ensure_admin(transaction, name, name, core.clock.now())
    await store.close()
    return (await core.access.create_key(Principal(other.team_id, other.id, None, ALL_SCOPES), "k")).secret


@each
async def reader_key(core: Core) -> str:
    """A key that may look at sandboxes and nothing else."""
    admin = await core.access.local_principal()
    return (await core.access.create_key(admin, f"reader {secrets.token_hex(4)}", {Scope.SANDBOXES_READ})).secret
