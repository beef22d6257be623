"""Every operation of every document, with values that nobody means: each is answered in words, and none by an accident.

A field of a body, and a parameter of a path or query, gets one of the values, which one its name says: so each value
meets many operations, and each run asks the same.
"""

import json
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from importlib import import_module
from typing import Any, cast

import httpx
import pytest
import pytest_asyncio

from moonpool.errors import NotSupported
from moonpool.guest.client import AgentClient
from tests.agents import KnowsUsers
from tests.contract.daytona_documents import ENDPOINTS
from tests.contract.documents import DAYTONA, TOOLBOX, Document
from tests.security.test_walk import (
    CONTRACTS,
    DOCUMENTS,
    ENDLESS,
    LEAVING,
    NOT_OFFERED,
    WAITING,
    Machines,
    World,
    body_of,
    filled,
    opened_world,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEEP = 3000  # levels of JSON
LONG = 70_000  # characters
MOST = 3  # fields of one body
# As JSON has them, or what passes for it.
VALUES = (
    *("null", "true", "-1", "1e999", "NaN", "9" * 400, "-9223372036854775809", "[null]", "[" * DEEP + "]" * DEEP),
    *('"\\u0000"', '"\\ud800"', '"../../../etc/passwd"', f'"{"a" * LONG}"', '{"\\ud800": "\\u0000"}'),
    *('"0001-01-01T00:00:00+14:00"', '"9999-12-31T23:59:59.999999-14:00"', '"%00"'),
)
IN_ADDRESSES = (
    *("%00", "%ED%A0%80", "%FF", "..%2F..%2Fetc", "a" * 3000, "9" * 400, "%0d%0a", "NaN", "-1", "%5B%5D"),
    *("9223372036854775808", "0001-01-01T00:00:00%2B14:00"),
)
PARTS = {DAYTONA.key: ("api", "daytona_api_client"), TOOLBOX.key: ("toolbox", "daytona_toolbox_api_client")}


class NothingInside(KnowsUsers):
    """What is asked of it is not to be had, which is an answer."""

    def __getattr__(self, name: str) -> Any:
        raise NotSupported(f"There is nothing inside that could {name}")


class EmptyMachines(Machines):
    def session(self, machine_id: str) -> AbstractAsyncContextManager[AgentClient]:
        super().session(machine_id)
        return nullcontext(cast(AgentClient, NothingInside()))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with opened_world(tmp_path_factory.mktemp("values"), EmptyMachines()) as world:
        yield world


def one_of(values: tuple[str, ...], *names: str) -> str:
    return values[zlib.crc32(" ".join(names).encode()) % len(values)]


def fields_of(document: Document, operation: str) -> tuple[list[str], list[str]]:
    """The names in the body, and those in the query."""
    method, _, path = operation.partition(" ")
    if document.key in PARTS:
        part, sdk = PARTS[document.key]
        entry = next(one for one in ENDPOINTS[part] if (one["method"], one["path"]) == (method, path))
        fields = getattr(getattr(import_module(sdk), entry.get("body", ""), None), "model_fields", {})
        return [field.alias or name for name, field in fields.items()], entry.get("query", [])
    known = json.loads((CONTRACTS / f"{document.key}.contract.json").read_text())
    item = known["paths"][path][method.lower()]
    schema = item.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    query = [parameter["name"] for parameter in item.get("parameters", ()) if parameter.get("in") == "query"]
    return list(properties(schema, known)), query


def properties(schema: Mapping[str, Any], known: Mapping[str, Any]) -> Mapping[str, Any]:
    if reference := schema.get("$ref"):
        return properties(known["components"]["schemas"][reference.split("/")[-1]], known)
    found = dict(schema.get("properties", {}))
    for part in (*schema.get("allOf", ()), *schema.get("oneOf", ()), *schema.get("anyOf", ())):
        found |= properties(part, known)
    return found


def some(operation: str, names: list[str]) -> list[str]:
    """A few of them, always the same: to ask for all takes minutes and says little more."""
    return sorted(names, key=lambda name: zlib.crc32(f"{operation} {name}".encode()))[:MOST]


def requests(document: Document, operation: str, ids: Mapping[str, str]) -> Iterator[tuple[str, str, str | None]]:
    """Method, address and body of each."""
    method, _, path = operation.partition(" ")
    address = filled(document, path, ids)
    body, query = fields_of(document, operation)
    wanted = body_of(document, operation) if body and document.key not in PARTS else {}
    for name in some(operation, body):
        rest = [f"{json.dumps(other)}: {json.dumps(value)}" for other, value in (wanted or {}).items() if other != name]
        yield method, address, "{" + ", ".join([f"{json.dumps(name)}: {one_of(VALUES, operation, name)}", *rest]) + "}"
    if method != "GET":
        yield method, address, one_of(VALUES, operation)
    for name in some(operation, query)[:1]:
        yield method, f"{address}?{name}={one_of(IN_ADDRESSES, operation, name)}", None
    if "{" in path:
        here = filled(document, path, {kind: one_of(IN_ADDRESSES, operation) for kind in ids})
        yield method, here, None if method == "GET" else "{}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.key)
async def test_no_value_is_an_accident(world: World, document: Document) -> None:
    wrong = []
    async with world.client("owner") as client:
        for operation in document.operations:
            if operation in ENDLESS | WAITING | LEAVING:
                continue
            for method, address, body in requests(document, operation, world.ids):
                answer = await send(client, method, address, body)
                if answer.status_code >= 500 and answer.status_code != NOT_OFFERED:
                    wrong.append((method, address[:120], (body or "")[:120], answer.status_code, answer.text[:200]))
    assert not wrong, "\n".join(map(str, wrong))


async def send(client: httpx.AsyncClient, method: str, address: str, body: str | None) -> httpx.Response:
    headers = {} if body is None else {"Content-Type": "application/json"}
    return await client.request(method, address, content=body, headers=headers)


@pytest.mark.parametrize("number", [10**400, -(10**400), 2**63])
async def test_milliseconds_that_no_division_takes(world: World, number: int) -> None:
    body = f'{{"command": "true", "timeoutMs": {number}}}'
    async with world.client("owner") as client:
        answer = await send(client, "POST", f"/v1/vms/{world.ids['sandbox']}/exec-await", body)
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST")
