"""Every operation of the document, asked by nobody, by expired and reading keys, and by another team."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import httpx
import pytest

from moonpool.access.model import Scope
from tests.contract.daytona.conftest import Running, ShiftedClock, asking
from tests.contract.daytona_documents import ENDPOINTS

OPERATIONS = [(entry["method"], entry["path"]) for entry in ENDPOINTS["api"]]
CHANGING = [(method, path) for method, path in OPERATIONS if method != "GET"]
PUBLIC = {"/health", "/health/ready"}
REFUSALS = {400, 403, 404, 409, 410, 422, 501}
# Of the user alone, whatever the key may do.
ONES_OWN = {"/users/me/logins", "/users/privacy-policies/accept"}


@pytest.fixture
async def places(client: httpx.AsyncClient, sandbox: dict[str, Any]) -> Mapping[str, str]:
    """Something of the first team for each parameter of a path."""
    team = sandbox["organizationId"]
    kept = await client.post(f"/api/sandbox/{sandbox['id']}/snapshot", json={"name": "kept"})
    assert kept.is_success, kept.text
    volume = (await client.post("/api/volumes", json={"name": "of-the-first-team"})).json()
    role = {"name": "Reviewer", "description": "", "permissions": []}
    return {
        "sandboxId": sandbox["id"],
        "sandboxIdOrName": sandbox["id"],
        "organizationId": team,
        "userId": (await client.get("/api/users/me")).json()["id"],
        "roleId": (await client.post(f"/api/organizations/{team}/roles", json=role)).json()["id"],
        "volumeId": volume["id"],
        "name": "bootstrap",
        "port": "3000",
        "interval": "5",
        "ttlMinutes": "5",
        "isPublic": "true",
        "token": "token",
        "signedPreviewToken": "token",
        "authToken": "token",
        "traceId": "f" * 32,
        "snapshotId": (await client.get("/api/snapshots/kept")).json()["id"],
    }


def address(path: str, places: Mapping[str, str]) -> str:
    """An ``id`` that is not the document's own kind of thing is one that nobody was ever given."""
    found = {**places, "id": places["snapshotId"] if path.startswith("/snapshots") else "never-given"}
    return "/api" + re.sub(r"{(\w+)}", lambda match: found.get(match[1], "never-given"), path)


async def ask(client: httpx.AsyncClient, method: str, url: str) -> httpx.Response:
    return await client.request(method, url, json=None if method in ("GET", "DELETE") else {})


async def test_nobody(client: httpx.AsyncClient, places: Mapping[str, str]) -> None:
    for method, path in OPERATIONS:
        for headers in ({"Authorization": ""}, {"Authorization": "Bearer mp_never-given"}):
            answer = await client.request(method, address(path, places), headers=headers)
            expected = 200 if path in PUBLIC else 401
            assert answer.status_code == expected, f"{method} {path}: {answer.status_code} {answer.text}"


async def test_a_key_that_has_expired(
    client: httpx.AsyncClient, running: Running, clock: ShiftedClock, places: Mapping[str, str]
) -> None:
    owner = await running.core.access.local_principal()
    ends = clock.now() + timedelta(hours=1)
    made = await running.core.access.create_key(owner, "short", expires_at=ends)
    clock.advance(3601)
    async with asking(running.app, made.secret) as late:
        for method, path in OPERATIONS:
            if path not in PUBLIC:
                answer = await ask(late, method, address(path, places))
                assert answer.status_code == 401, f"{method} {path}: {answer.status_code}"


async def test_a_key_that_may_only_read(client: httpx.AsyncClient, running: Running, places: Mapping[str, str]) -> None:
    owner = await running.core.access.local_principal()
    scopes = [Scope.SANDBOXES_READ, Scope.SNAPSHOTS_READ, Scope.VOLUMES_READ]
    made = await running.core.access.create_key(owner, "reader", scopes)
    before = await everything(client, places)
    async with asking(running.app, made.secret) as reader:
        for method, path in CHANGING:
            answer = await ask(reader, method, address(path, places))
            expected = {204} if path in ONES_OWN else REFUSALS
            assert answer.status_code in expected, f"{method} {path}: {answer.status_code} {answer.text}"
    assert await everything(client, places) == before


async def test_another_team(client: httpx.AsyncClient, stranger: httpx.AsyncClient, places: Mapping[str, str]) -> None:
    before = await everything(client, places)
    secret = {places[name] for name in ("sandboxId", "organizationId", "roleId", "volumeId", "snapshotId", "userId")}
    for method, path in OPERATIONS:
        answer = await ask(stranger, method, address(path, places))
        named = places.keys() & set(re.findall(r"{(\w+)}", path)) - {"name", "port", "token", "isPublic"}
        if named:
            assert answer.status_code in REFUSALS, f"{method} {path}: {answer.status_code} {answer.text}"
        assert answer.status_code < 500 or answer.status_code == 501, f"{method} {path}: {answer.text}"
        if answer.is_success:
            assert not [one for one in secret if one in answer.text], f"{method} {path}: {answer.text}"
    assert await everything(client, places) == before


async def everything(client: httpx.AsyncClient, places: Mapping[str, str]) -> list[Any]:
    """What the first team has, but for moments."""
    team = f"/organizations/{places['organizationId']}"
    kinds = ("/sandbox", "/snapshots", "/volumes", "/docker-registry", "/warm-pools", f"{team}/users", f"{team}/roles")
    found = [(await client.get(f"/api{kind}")).text for kind in kinds]
    return [re.sub(r'"\d{4}-\d\d-\d\dT[^"]*"', "moment", text) for text in found]
