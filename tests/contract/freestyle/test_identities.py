"""Identities: let in to the VMs that they were given, as the users that they may be, and to nothing else."""

from typing import Any

import httpx
import pytest

from moonpool.access.model import ALL_SCOPES, Principal
from tests.contract.freestyle.conftest import Door

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOKEN = "X-Freestyle-Identity-Access-Token"
IDENTITIES = "/identity/v1/identities"


async def identity(owner: httpx.AsyncClient, vm: str | None = None, users: list[str] | None = None) -> tuple[str, str]:
    """Its id and a token, with a permission for that VM."""
    made = (await owner.post(IDENTITIES)).json()["id"]
    if vm is not None:
        body = {} if users is None else {"allowedUsers": users}
        (await owner.post(f"{IDENTITIES}/{made}/permissions/vm/{vm}", json=body)).raise_for_status()
    return made, (await owner.post(f"{IDENTITIES}/{made}/tokens")).json()["token"]


async def code(client: httpx.AsyncClient, method: str, path: str, status: int, **request: Any) -> str:
    answer = await client.request(method, path, **request)
    assert answer.status_code == status, answer.text
    return str(answer.json()["code"])


async def test_made_listed_and_deleted(owner: httpx.AsyncClient, door: Door) -> None:
    made, token = await identity(owner)
    listed = (await owner.get(IDENTITIES)).json()
    assert {"id": made, "managed": False} in listed["identities"]
    assert (await owner.get(IDENTITIES, params={"limit": 0})).json()["total"] == listed["total"]
    (known,) = (await owner.get(f"{IDENTITIES}/{made}/tokens")).json()["tokens"]
    assert set(known) == {"id"}
    async with door.client(**{TOKEN: token}) as guest:
        told = {"accountId": door.inside.owner.team_id, "identityId": made}
        assert (await guest.get("/auth/v1/whoami")).json() == told
        assert (await owner.delete(f"{IDENTITIES}/{made}")).json() == {}
        assert await code(guest, "GET", "/auth/v1/whoami", 401) == "UNAUTHORIZED"
    assert await code(owner, "DELETE", f"{IDENTITIES}/{made}", 404) == "IDENTITY_NOT_FOUND"
    assert (await owner.get("/auth/v1/whoami")).json()["identityId"] is None


async def test_permissions(owner: httpx.AsyncClient, door: Door) -> None:
    made, _ = await identity(owner)
    here = f"{IDENTITIES}/{made}/permissions/vm/{door.vm}"
    assert await code(owner, "GET", here, 404) == "VM_PERMISSION_NOT_FOUND"
    granted = (await owner.post(here, json={"allowedUsers": ["anna"]})).json()
    assert (granted["vmId"], granted["identityId"], granted["allowedUsers"]) == (door.vm, made, ["anna"])
    assert await code(owner, "POST", here, 409, json={}) == "PERMISSION_ALREADY_EXISTS"
    assert (await owner.put(here, json={"allowedUsers": None})).json()["allowedUsers"] is None
    assert (await owner.get(f"{IDENTITIES}/{made}/permissions/vm")).json()["total"] == 1
    assert (await owner.get(here)).json()["id"] == granted["id"]
    assert (await owner.delete(here)).json() == {}
    assert await code(owner, "DELETE", here, 404) == "VM_PERMISSION_NOT_FOUND"
    nowhere = f"{IDENTITIES}/{made}/permissions/vm/{'a' * 20}"
    assert await code(owner, "POST", nowhere, 404, json={}) == "VM_NOT_FOUND"


async def test_a_guest_uses_the_vm_that_it_was_given(owner: httpx.AsyncClient, door: Door) -> None:
    other = (await owner.post("/v1/vms", json={})).json()["id"]
    made, token = await identity(owner, door.vm)
    async with door.client(**{TOKEN: token}) as guest:
        run = (await guest.post(f"/v1/vms/{door.vm}/exec-await", json={"command": "echo in"})).json()
        assert run["stdout"] == "in\n"
        assert [vm["id"] for vm in (await guest.get("/v1/vms")).json()["vms"]] == [door.vm]
        for vm in (other, "a" * 20):
            assert await code(guest, "GET", f"/v1/vms/{vm}", 403) == "VM_ACCESS_DENIED"
        await owner.delete(f"{IDENTITIES}/{made}/permissions/vm/{door.vm}")
        assert await code(guest, "GET", f"/v1/vms/{door.vm}", 403) == "VM_ACCESS_DENIED"
        assert (await guest.get("/v1/vms")).json()["vms"] == []
    await owner.delete(f"/v1/vms/{other}")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/vms"),
        ("POST", "/v1/vms/snapshots"),
        ("GET", "/v1/vms/snapshots"),
        ("DELETE", "/v1/vms/{vm}"),
        ("POST", "/v1/vms/{vm}/fork"),
        ("POST", "/v1/vms/{vm}/snapshot"),
        ("POST", "/v1/vms/{vm}/resize"),
        ("POST", "/domains/v1/mappings/example.com"),
        ("GET", "/domains/v1/mappings"),
        ("POST", IDENTITIES),
        ("GET", IDENTITIES),
    ],
)
async def test_what_a_guest_may_never(owner: httpx.AsyncClient, door: Door, method: str, path: str) -> None:
    _, token = await identity(owner, door.vm)
    async with door.client(**{TOKEN: token}) as guest:
        assert await code(guest, method, path.format(vm=door.vm), 403, json={}) == "ACCESS_DENIED"


async def test_other_apis_know_no_such_token(owner: httpx.AsyncClient, door: Door) -> None:
    _, token = await identity(owner, door.vm)
    async with door.client(**{TOKEN: token, "Authorization": f"Bearer {token}"}) as guest:
        for path in ("/api/sandbox", "/v1/capsules", "/sandbox", "/v1/vms"):
            assert (await guest.get(path)).status_code == 401


async def test_a_guest_acts_as_its_users_alone(owner: httpx.AsyncClient, door: Door) -> None:
    _, token = await identity(owner, door.vm, ["nobody"])
    run = {"command": "id -un"}
    async with door.client(**{TOKEN: token}) as guest:
        as_nobody = {"X-Freestyle-Vm-Linux-User-Id": "nobody"}
        answer = await guest.post(f"/v1/vms/{door.vm}/exec-await", json=run, headers=as_nobody)
        assert answer.json()["stdout"] == "nobody\n"
        for headers in ({}, {"X-Freestyle-Vm-Linux-User-Id": "root"}):
            path = f"/v1/vms/{door.vm}/exec-await"
            assert await code(guest, "POST", path, 403, json=run, headers=headers) == "VM_ACCESS_DENIED"
        for path in (f"/v1/vms/{door.vm}/stop", f"/v1/vms/{door.vm}/systemd/start"):
            assert await code(guest, "POST", path, 403, json={}, headers=as_nobody) == "VM_ACCESS_DENIED"


async def test_another_teams_identities_are_not_there(owner: httpx.AsyncClient, door: Door) -> None:
    made, _ = await identity(owner)
    core = door.inside.core
    async with core.access._store.transaction() as transaction:
        user = await core.access._repository.ensure_admin(transaction, "other", "somebody", core.services.clock.now())
    key = (await core.access.create_key(Principal(user.team_id, user.id, None, ALL_SCOPES), "stranger")).secret
    async with door.client(Authorization=f"Bearer {key}") as stranger:
        assert (await stranger.get(IDENTITIES)).json()["total"] == 0
        for method, path in (("DELETE", ""), ("GET", "/tokens"), ("POST", "/tokens"), ("GET", "/permissions/vm")):
            assert await code(stranger, method, f"{IDENTITIES}/{made}{path}", 404) == "IDENTITY_NOT_FOUND"


async def test_a_team_that_is_no_more_leaves_none(owner: httpx.AsyncClient, door: Door) -> None:
    _, token = await identity(owner, door.vm)
    await door.inside.core.identities.delete_all(door.inside.owner)
    assert (await owner.get(IDENTITIES)).json()["total"] == 0
    async with door.client(**{TOKEN: token}) as guest:
        assert await code(guest, "GET", "/auth/v1/whoami", 401) == "UNAUTHORIZED"
