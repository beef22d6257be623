"""Every operation of every document, asked by who may not: nobody, a key that is over, another team's, a reader's.

Bodies are as the documents want them, so that who asks is what is refused, and not how.
"""

import json
import re
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from pydantic import SecretStr

from moonpool.access.model import ALL_SCOPES, Principal, Scope
from moonpool.access.people import Client
from moonpool.access.repository import AccessRepository
from moonpool.app import Core, serve
from moonpool.config import Settings
from moonpool.sandboxes.model import NewSandbox
from tests.contract.daytona.conftest import MemoryMachines, ShiftedClock
from tests.contract.documents import CODESANDBOX, DAYTONA, FREESTYLE, TOOLBOX, WRENN, Document
from tests.databases import open_store

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOCUMENTS = (DAYTONA, TOOLBOX, WRENN, FREESTYLE, CODESANDBOX)
CONTRACTS = Path(__file__).parents[1] / "contract"
KEY = "the-owners-own-key"
NOT_OFFERED = 501
REFUSED = frozenset({400, 401, 403, 404, 405, 409, 410, 412, 422, 426, NOT_OFFERED})

# Whoever comes may ask these: what the server is, and how one gets in.
PUBLIC = {
    "daytona": {"GET /config", "GET /health", "GET /health/ready"},
    "codesandbox": {"GET /meta/info"},
    "wrenn": {
        *("POST /v1/auth/signup", "POST /v1/auth/activate", "POST /v1/auth/login"),
        *("POST /v1/me/password/reset", "POST /v1/me/password/reset/confirm"),
        *("GET /auth/oauth/{provider}", "GET /auth/oauth/{provider}/callback"),
        *("POST /v1/hosts/register", "POST /v1/hosts/auth/refresh"),
    },
}
# Streams of one's own team's events, which go on until their reader goes; a wait for the end of one's own sandbox.
ENDLESS = {"GET /v1/events/stream", "GET /v1/admin/events/stream"}
WAITING = {"POST /v1/vms/{vm_id}/await"}
# What ends the session that asks.
LEAVING = {"POST /v1/auth/logout", "POST /v1/auth/logout-all"}
# Say the same of every sandbox, whether there is one or not.
SAME_OF_ALL = {"GET /version"}
# Paths of WebSockets say so to whoever comes without one; tests/security/test_access.py comes with one.
UPGRADE = 426
# Change nothing; a start of what runs gives a token that reads.
READERS_MAY: dict[str, set[str]] = {
    "daytona": {"POST /users/privacy-policies/accept", "POST /users/me/logins"},
    "codesandbox": {"POST /vm/{id}/start"},
}


class Machines(MemoryMachines):
    async def traffic(self) -> dict[str, int]:
        return {}


@dataclass(frozen=True)
class World:
    app: Any
    core: Core
    owner: Principal
    ids: Mapping[str, str]  # what the owner's team has: by kind
    keys: Mapping[str, str]
    secrets: tuple[str, ...]  # names that no question says

    def client(self, key: str | None) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        headers = {} if key is None else {"Authorization": f"Bearer {self.keys[key]}"}
        return httpx.AsyncClient(transport=transport, base_url="http://moonpool.test", headers=headers)

    async def all_there(self) -> None:
        """Nothing of the owner's was changed."""
        sandbox = await self.core.sandboxes.get(self.owner, self.ids["sandbox"])
        assert (sandbox.name, sandbox.state.value) == (self.secrets[0], "running")
        assert (await self.core.snapshots.get(self.owner, self.ids["snapshot"])).name == self.ids["snapshot"]
        assert [one.id for one in await self.core.volumes.list(self.owner)] == [self.ids["volume"]]
        assert len(await self.core.access.list_keys(self.owner)) == 3


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with opened_world(tmp_path_factory.mktemp("walk"), Machines()) as world:
        yield world


@asynccontextmanager
async def opened_world(data: Path, machines: Machines) -> AsyncIterator[World]:
    clock = ShiftedClock()
    store = await open_store(data)
    core = Core(Settings(data=data, api_key=SecretStr(KEY), on_exit="stop"), store, machines, clock)
    await core.start()
    owner = await core.access.authenticate(KEY)
    name = f"walked-{secrets.token_hex(8)}"
    sandbox = await core.sandboxes.create(owner, NewSandbox(name=name))
    snapshot = await core.snapshots.capture(owner, sandbox.id, name=f"snap-{secrets.token_hex(8)}")
    volume = await core.volumes.create(owner, f"volume-{secrets.token_hex(8)}")
    reading = {Scope.SANDBOXES_READ, Scope.SNAPSHOTS_READ}
    reader = await core.access.create_key(owner, "reader", reading)
    over = await core.access.create_key(owner, "over", ALL_SCOPES, clock.now() + timedelta(minutes=1))
    clock.advance(61)
    async with store.transaction() as transaction:
        other = await AccessRepository().ensure_admin(transaction, "strangers", "stranger", clock.now())
    stranger = await core.access.create_key(Principal(other.team_id, other.id, None, ALL_SCOPES), "stranger")
    ids = {
        "sandbox": sandbox.id,
        "snapshot": snapshot.name,
        "volume": volume.id,
        "team": owner.team_id,
        "user": owner.user_id,
        "key": reader.key.id,
    }
    keys = {"reader": reader.secret, "over": over.secret, "stranger": stranger.secret, "owner": KEY}
    yield World(serve(core, machines), core, owner, ids, keys, (name, volume.name))
    await core.stop()
    await store.close()


# -- requests ----------------------------------------------------------------------------------------------------------

KINDS = {  # by the segment before a parameter
    **dict.fromkeys(("organizations", "teams", "workspace", "org"), "team"),
    **dict.fromkeys(("users", "members"), "user"),
    **dict.fromkeys(("snapshots", "templates"), "snapshot"),
    "volumes": "volume",
    **dict.fromkeys(("api-keys", "tokens", "keys"), "key"),
}


def filled(document: Document, path: str, ids: Mapping[str, str]) -> str:
    """The path with what the owner's team has, or with its sandbox's id where nothing else fits."""
    parts = (document.prefix + path).split("/")
    for index, part in enumerate(parts):
        if "{" in part:
            parts[index] = re.sub(r"{[^}]*}", ids[KINDS.get(parts[index - 1], "sandbox")], part)
    return "/".join(parts)


def body_of(document: Document, operation: str) -> Any:
    """What the document wants, where it says; else an object."""
    known = json.loads((CONTRACTS / f"{document.key}.contract.json").read_text()) if document is not TOOLBOX else {}
    method, _, path = operation.partition(" ")
    item = known.get("paths", {}).get(path) or known.get("paths", {}).get(f"/api{path}") or {}
    content = item.get(method.lower(), {}).get("requestBody", {}).get("content", {})
    return sample(content.get("application/json", {}).get("schema", {}), known)


def sample(schema: Mapping[str, Any], document: Mapping[str, Any]) -> Any:
    """The least that a schema allows."""
    if reference := schema.get("$ref"):
        return sample(document["components"]["schemas"][reference.split("/")[-1]], document)
    for choice in (*schema.get("oneOf", ()), *schema.get("anyOf", ())):
        return sample(choice, document)
    if "enum" in schema or "const" in schema:
        return schema["const"] if "const" in schema else schema["enum"][0]
    if parts := schema.get("allOf"):
        return {name: value for part in parts for name, value in (sample(part, document) or {}).items()}
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: sample(properties.get(name, {"type": "string"}), document) for name in schema.get("required", ())}
    text = {"date-time": "2030-01-01T00:00:00Z", "email": "somebody@example.com", "uuid": "0" * 8}
    least = {"string": text.get(schema.get("format", ""), "x" * max(8, schema.get("minLength", 0)))}
    return {**least, "integer": 1, "number": 1, "boolean": True, "array": [], "null": None}[kind]


async def ask(client: httpx.AsyncClient, document: Document, operation: str, ids: Mapping[str, str]) -> httpx.Response:
    method, _, path = operation.partition(" ")
    content = {} if method == "GET" else {"json": body_of(document, operation)}
    return await client.request(method, filled(document, path, ids), **content)


def in_its_words(document: Document, operation: str, answer: httpx.Response) -> None:
    """A refusal is as the document says."""
    document.check(operation, answer)


# -- who may not -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [None, "over"], ids=["no key", "a key that is over"])
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.key)
async def test_nobody(world: World, document: Document, key: str | None) -> None:
    wrong = []
    async with world.client(key) as client:
        for operation in document.operations:
            if operation in PUBLIC.get(document.key, ()):
                continue
            answer = await ask(client, document, operation, world.ids)
            if answer.status_code not in (401, UPGRADE) or told(world, answer):
                wrong.append((operation, answer.status_code, answer.text[:200]))
            else:
                in_its_words(document, operation, answer)
    assert not wrong, "\n".join(map(str, wrong))
    await world.all_there()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.key)
async def test_another_team(world: World, document: Document) -> None:
    wrong = []
    async with world.client("stranger") as client:
        for operation in document.operations:
            if operation in ENDLESS | SAME_OF_ALL | PUBLIC.get(document.key, set()):
                continue
            answer = await ask(client, document, operation, world.ids)
            refused = answer.status_code in REFUSED
            own = answer.is_success and "{" not in document.prefix + operation
            if not (refused or own) or (answer.is_success and told(world, answer)):
                wrong.append((operation, answer.status_code, answer.text[:200]))
            elif refused:
                in_its_words(document, operation, answer)
    assert not wrong, "\n".join(map(str, wrong))
    await world.all_there()


async def test_a_browser_of_another_team(world: World) -> None:
    """Which may ask for more than any key: accounts, teams, and what is the administrators' alone."""
    people, operator = world.core.community, await world.core.access.local_principal()
    await people.administration.create_user(operator, "mallory@example.com", "Mallory", "a password of hers")
    signed = await people.accounts.login("mallory@example.com", "a password of hers", Client("192.0.2.1"))
    csrf, wrong = people.sessions.csrf(signed.token), []
    async with world.client(None) as client:
        client.cookies.update({"wrenn_sid": signed.token, "wrenn_csrf": csrf})
        client.headers["X-CSRF-Token"] = csrf
        for operation in WRENN.operations:
            if operation in ENDLESS | LEAVING | PUBLIC["wrenn"]:
                continue
            answer = await ask(client, WRENN, operation, world.ids)
            refused = answer.status_code in REFUSED
            own = answer.is_success and "{" not in operation and "/admin/" not in operation
            if not (refused or own) or (answer.is_success and told(world, answer)):
                wrong.append((operation, answer.status_code, answer.text[:200]))
        assert (await client.get("/v1/me")).status_code == 200
    assert not wrong, "\n".join(map(str, wrong))
    await world.all_there()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.key)
async def test_a_reader_changes_nothing(world: World, document: Document) -> None:
    wrong = []
    async with world.client("reader") as client:
        for operation in document.operations:
            if operation.startswith("GET ") or operation in WAITING | PUBLIC.get(document.key, set()):
                continue
            answer = await ask(client, document, operation, world.ids)
            if answer.status_code in REFUSED:
                in_its_words(document, operation, answer)
            elif operation not in READERS_MAY.get(document.key, ()):
                wrong.append((operation, answer.status_code, answer.text[:200]))
    assert not wrong, "\n".join(map(str, wrong))
    await world.all_there()


def told(world: World, answer: httpx.Response) -> bool:
    """Whether the answer holds anything that the owner alone knows, and that the question did not say."""
    return any(secret in answer.text for secret in world.secrets)


async def test_a_reading_key_may_not_even_ask_for_what_is_so_already(world: World) -> None:
    """An operation that has nothing left to do is refused all the same."""
    stopped = await world.core.sandboxes.create(world.owner, NewSandbox())
    await world.core.sandboxes.stop(world.owner, stopped.id)
    for verb in ("kill", "optimize"):
        for key, status in (("reader", 403), ("owner", 200)):
            async with world.client(key) as client:
                answer = await client.post(f"/v1/vms/{stopped.id}/{verb}")
            assert answer.status_code == status, (verb, answer.text)
    await world.core.sandboxes.destroy(world.owner, stopped.id)
