"""The CodeSandbox application over the real core, on a database of its own; machines in memory, agents real."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from pydantic import SecretStr

from moonpool.access.model import ALL_SCOPES, Principal
from moonpool.access.repository import AccessRepository
from moonpool.app import Core
from moonpool.clock import SystemClock
from moonpool.config import Settings
from moonpool.dialects import codesandbox
from tests.contract.codesandbox.machines import AgentMachines
from tests.contract.documents import CODESANDBOX
from tests.contract.record import listening
from tests.databases import open_store

KEY = "a-key-of-these-tests"
CONTRACT = json.loads((Path(__file__).parents[1] / "codesandbox.contract.json").read_text())
OPERATIONS = {
    operation["operationId"]: (method.upper(), path)
    for path, item in CONTRACT["paths"].items()
    for method, operation in item.items()
}


class ShiftedClock(SystemClock):
    """The real time, and whatever a test adds to it."""

    shift = 0.0  # seconds

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.shift)

    def monotonic(self) -> float:
        return super().monotonic() + self.shift


# One server for the tests of a file; each test leaves it as it found it (see ``api``).
shared = pytest_asyncio.fixture(scope="module", loop_scope="module")
each = pytest_asyncio.fixture(loop_scope="module")


@pytest.fixture(scope="module")
def clock() -> ShiftedClock:
    return ShiftedClock()


@shared
async def machines() -> AsyncIterator[AgentMachines]:
    machines = AgentMachines()
    yield machines
    await machines.close()


@shared
async def core(
    tmp_path_factory: pytest.TempPathFactory, machines: AgentMachines, clock: ShiftedClock
) -> AsyncIterator[Core]:
    settings = Settings(
        data=tmp_path_factory.mktemp("data"),
        api_key=SecretStr(KEY),
        on_exit="keep",
        public_url="http://csb.test",
        max_memory_mib=64 * 1024,
        max_sandboxes=40,
    )
    async with AsyncExitStack() as stack:
        store = await open_store(settings.data)
        stack.push_async_callback(store.close)
        core = Core(settings, store, machines, clock)
        stack.push_async_callback(core.stop)
        await core.start()
        async with store.transaction() as transaction:
            await AccessRepository().ensure_admin(transaction, "other", "somebody", clock.now())
        yield core


@shared
async def stranger_key(core: Core) -> str:
    """A key of another team."""
    async with core.access._store.transaction() as transaction:
        user = await AccessRepository().ensure_admin(transaction, "other", "somebody", core.services.clock.now())
    principal = Principal(user.team_id, user.id, None, ALL_SCOPES)
    return (await core.access.create_key(principal, "stranger")).secret


@dataclass
class Api:
    """Calls operations by the contract's ids; every answer is held against the contract (see ``listening``)."""

    http: httpx.AsyncClient

    async def call(self, operation: str, status: int = 200, **request: Any) -> Any:
        """The ``data`` of a success, the texts of a failure. ``path`` holds the parts of the path."""
        answer = await self.send(operation, **request)
        assert answer.status_code == status, (operation, answer.status_code, answer.text)
        return conforming(operation, answer)

    async def send(self, operation: str, path: Mapping[str, str] | None = None, **request: Any) -> httpx.Response:
        method, template = OPERATIONS[operation]
        return await self.http.request(method, template.format(**(path or {})), **request)

    async def fork(self, source: str = "pcz35m", **body: Any) -> str:
        answer = await self.call("sandbox/fork", 201, path={"id": source}, json=body)
        return str(answer["id"])

    async def start(self, sandbox: str, **body: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await self.call("vm/start", path={"id": sandbox}, json=body)
        return answer


def conforming(operation: str, answer: httpx.Response) -> Any:
    body = answer.json()
    assert answer.headers["content-type"] == "application/json"
    if answer.is_error:
        return body["errors"][0]
    if operation == "meta/info":
        return body
    assert body["success"] is True
    assert body["data"] is not None
    return body["data"]


def client(app: Any, key: str, *, listen: bool = True) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    hooks = listening(CODESANDBOX) if listen else {}
    return httpx.AsyncClient(transport=transport, base_url="http://csb.test", headers=headers, event_hooks=hooks)


@shared
async def app(core: Core) -> Any:
    return codesandbox.create_app(core.services)


@each
async def api(app: Any, core: Core) -> AsyncIterator[Api]:
    async with client(app, KEY) as http:
        yield Api(http)
    principal = await core.access.authenticate(KEY)
    for sandbox in core.records.all():
        if sandbox.team_id == principal.team_id:
            await core.sandboxes.destroy(principal, sandbox.id)


@each
async def stranger(app: Any, stranger_key: str) -> AsyncIterator[Api]:
    """Somebody of another team."""
    async with client(app, stranger_key) as http:
        yield Api(http)


@each
async def nobody(app: Any) -> AsyncIterator[Api]:
    """Somebody without a key."""
    async with client(app, "") as http:
        yield Api(http)


@each
async def sandbox(api: Api) -> str:
    return await api.fork(title="given")
