"""The Daytona application over the real core, on a database of its own and machines in memory."""

import asyncio
import copy
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import httpx
import jsonschema
import pytest
import uvicorn

from moonpool.access.model import ALL_SCOPES, Principal
from moonpool.access.repository import AccessRepository
from moonpool.access.service import AccessService
from moonpool.app import Core
from moonpool.clock import SystemClock
from moonpool.config import Settings
from moonpool.dialects.common.sockets import PatientWebSocketProtocol
from moonpool.dialects.daytona.app import create_app
from moonpool.errors import InvalidState
from moonpool.guest.client import AgentClient
from moonpool.hosts.model import (
    Captured,
    MachineExit,
    MachineSpec,
    MachineState,
    MachineUsage,
    NetworkPolicy,
    Readiness,
    Resources,
    snapshot_of,
)
from tests.agents import KnowsUsers
from tests.contract.documents import DAYTONA
from tests.contract.record import listening
from tests.databases import open_store
from tests.disks import MemoryDisks
from tests.layers import DisksInMemory
from tests.volumes import MemoryVolumes

KEY = "contract-test-key"
CONTRACT = Path(__file__).parents[1] / "daytona.contract.json"

# What the SDK's generation added to enumerations of the document.
LATER = {"SandboxState": ["pausing", "paused", "resuming"], "SandboxDesiredState": ["paused"]}


class MemoryMachines(MemoryVolumes, MemoryDisks):
    """Machines that are nothing but their state: no processes, no disks.

    Bringing one up waits for ``may_start``, and raises ``failure`` when there is one; ``agents`` are what a test has
    put inside.
    """

    def __init__(self) -> None:
        self.specs: dict[str, MachineSpec] = {}
        self.states: dict[str, MachineState] = {}
        self.kept: dict[str, bool] = {}  # snapshot -> whether it has memory
        self.layers = DisksInMemory(lambda snapshot_id: self.kept.setdefault(snapshot_id, False))
        self.agents: dict[str, Any] = {}
        self.may_start = asyncio.Event()
        self.may_start.set()
        self.failure: Exception | None = None
        self.capture_failure: Exception | None = None

    async def create(self, spec: MachineSpec) -> None:
        await self.start(spec)

    async def start(self, spec: MachineSpec) -> None:
        await self.may_start.wait()
        if self.failure is not None:
            raise self.failure
        self.specs[spec.id] = spec
        self.states[spec.id] = MachineState.RUNNING

    resume = start

    async def stop(self, machine_id: str) -> None:
        self.states[machine_id] = MachineState.STOPPED

    kill = stop

    async def pause(self, machine_id: str) -> None:
        self.states[machine_id] = MachineState.PAUSED

    async def fork(self, source_id: str, copies: Sequence[MachineSpec]) -> bool:
        memory = self._remembers(source_id)
        for spec in copies:
            self._copied(spec, memory)
        return memory

    async def capture(self, machine_id: str, snapshot_id: str, *, memory: bool) -> Captured:
        if self.capture_failure is not None:
            raise self.capture_failure
        self.kept[snapshot_id] = memory and self._remembers(machine_id)
        return Captured(self.kept[snapshot_id], size_bytes=1000)

    async def unpack(self, spec: MachineSpec) -> bool:
        return self._copied(spec, self.kept[snapshot_of(spec.image) or ""])

    def _remembers(self, machine_id: str) -> bool:
        return self.states[machine_id] is not MachineState.STOPPED

    def _copied(self, spec: MachineSpec, memory: bool) -> bool:
        self.states[spec.id] = MachineState.PAUSED if memory else MachineState.STOPPED
        return memory

    async def forget(self, snapshot_id: str) -> None:
        self.kept.pop(snapshot_id, None)

    async def snapshots(self) -> Collection[str]:
        return set(self.kept)

    async def destroy(self, machine_id: str) -> None:
        self.states.pop(machine_id, None)

    def session(self, machine_id: str) -> AbstractAsyncContextManager[AgentClient]:
        if machine_id in self.agents:
            return nullcontext(self.agents[machine_id])
        if self.states.get(machine_id) is not MachineState.RUNNING:
            raise InvalidState("Nothing runs here")
        return nullcontext(cast(AgentClient, KnowsUsers()))

    async def set_resources(self, machine_id: str, resources: Resources) -> None:
        pass

    async def set_network(self, machine_id: str, policy: NetworkPolicy) -> None:
        pass

    async def usage(self, machine_id: str) -> MachineUsage:
        return MachineUsage(0, 0, 0)

    async def machines(self) -> Mapping[str, MachineState]:
        return dict(self.states)

    def readiness(self) -> Readiness:
        return Readiness(True, 0, 0, len(self.states), 0)

    def on_scarce(self, callback: Callable[[], None]) -> None:
        """Nothing runs out here."""

    def on_exit(self, callback: Callable[[MachineExit], None]) -> None:
        pass

    async def close(self, *, keep: bool = False) -> None:
        pass


class ShiftedClock(SystemClock):
    """The real time, and whatever a test adds to it."""

    shift = 0.0  # seconds

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.shift)

    def monotonic(self) -> float:
        return super().monotonic() + self.shift

    def advance(self, seconds: float) -> None:
        self.shift += seconds


@dataclass(frozen=True)
class Running:
    core: Core
    machines: MemoryMachines
    app: Any
    stranger_key: str


@pytest.fixture
def clock() -> ShiftedClock:
    return ShiftedClock()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path, api_key=KEY, public_url="http://public.test:8080", on_exit="stop")


@pytest.fixture
async def running(tmp_path: Path, clock: ShiftedClock, settings: Settings) -> AsyncIterator[Running]:
    store = await open_store(tmp_path)
    machines = MemoryMachines()
    core = Core(settings, store, machines, clock)
    await core.start()
    async with store.transaction() as transaction:
        other = await AccessRepository().ensure_admin(transaction, "other", "somebody", clock.now())
    made = await core.access.create_key(Principal(other.team_id, other.id, None, ALL_SCOPES), "stranger")
    yield Running(core, machines, create_app(core.services), made.secret)
    await core.stop()
    await store.close()


@pytest.fixture
def api_key() -> str:
    return KEY


@pytest.fixture
def stranger_key(running: Running) -> str:
    return running.stranger_key


@pytest.fixture
def access(running: Running) -> AccessService:
    return running.core.access


def asking(app: Any, key: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {key}"}
    hooks = listening(DAYTONA)
    return httpx.AsyncClient(transport=transport, base_url="http://daytona.test", headers=headers, event_hooks=hooks)


@pytest.fixture
async def client(running: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with asking(running.app, KEY) as asker:
        yield asker


@pytest.fixture
async def stranger(running: Running) -> AsyncIterator[httpx.AsyncClient]:
    """A client of another team."""
    async with asking(running.app, running.stranger_key) as asker:
        yield asker


@pytest.fixture
async def sandbox(client: httpx.AsyncClient) -> dict[str, Any]:
    body: dict[str, Any] = (await client.post("/api/sandbox", json={"name": "given"})).json()
    return body


@pytest.fixture
def machines(running: Running) -> MemoryMachines:
    return running.machines


@pytest.fixture
def environment_of(running: Running) -> Callable[[str], Mapping[str, str]]:
    return lambda sandbox: running.machines.specs[sandbox].env


@pytest.fixture
def settled(running: Running) -> Callable[[str], Awaitable[None]]:
    async def settle(sandbox: str) -> None:
        principal = await running.core.access.authenticate(KEY)
        await running.core.sandboxes.settled(principal, sandbox)

    return settle


@pytest.fixture
async def live_url(running: Running) -> AsyncIterator[str]:
    """The application behind a real socket."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        running.app, lifespan="off", log_config=None, ws=PatientWebSocketProtocol, timeout_graceful_shutdown=5
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve([listener]))
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    await serving


@pytest.fixture(scope="session")
def conforms() -> Callable[[str, Any], Any]:
    """``conforms(name, value)``: ``value``, once the contract's schema of that name has accepted it."""
    schemas = nullable(json.loads(CONTRACT.read_text())["components"]["schemas"])
    for name, values in LATER.items():
        schemas[name]["enum"] += values
    components = {"components": {"schemas": schemas}}

    def check(name: str, value: Any) -> Any:
        checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
        schema = {"$ref": f"#/components/schemas/{name}", **components}
        jsonschema.Draft202012Validator(schema, format_checker=checker).validate(value)
        return copy.deepcopy(value)

    return check


def nullable(schema: Any) -> Any:
    """The document's ``nullable: true`` in today's JSON Schema."""
    if isinstance(schema, list):
        return [nullable(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    translated = {name: nullable(part) for name, part in schema.items() if name != "nullable"}
    return {"anyOf": [translated, {"type": "null"}]} if schema.get("nullable") is True else translated
