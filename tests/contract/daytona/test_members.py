"""Organizations with more than one person: members, roles, invitations, and what is set for all."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import daytona_api_client as sdk
import httpx
import pytest

from moonpool.access.people import Client
from moonpool.ids import new_uuid
from tests.contract.daytona.conftest import Running, asking

Conforms = Callable[[str, Any], Any]
EMAIL, PASSWORD = "bob@example.com", "correct horse battery"
DEVELOPER = "00000000-0000-0000-0000-000000000001"


@dataclass
class Colleague:
    """Somebody with an account; ``client`` has a key of their own team."""

    running: Running
    client: httpx.AsyncClient
    user_id: str

    async def key(self, team_id: str | None = None) -> str:
        """A new one, of one of their teams."""
        people = self.running.core.community
        signed = await people.accounts.login(EMAIL, PASSWORD, Client("192.0.2.7"))
        if team_id is not None:
            there = await people.sessions.authenticate(signed.token)
            signed = await people.sessions.switch(there, team_id)
        principal = await people.sessions.authenticate(signed.token)
        return (await self.running.core.access.create_key(principal, new_uuid(), principal.scopes)).secret


@pytest.fixture
async def bob(running: Running) -> AsyncIterator[Colleague]:
    operator = await running.core.access.local_principal()
    user = await running.core.community.administration.create_user(operator, EMAIL, "Bob", PASSWORD)
    made = Colleague(running, asking(running.app, ""), user.id)
    made.client.headers["Authorization"] = f"Bearer {await made.key()}"
    async with made.client:
        yield made


@pytest.fixture
async def path(client: httpx.AsyncClient) -> str:
    return f"/api/organizations/{(await client.get('/api/organizations')).json()[0]['id']}"


async def invited(client: httpx.AsyncClient, path: str, **more: Any) -> dict[str, Any]:
    body = {"email": EMAIL, "role": "member", "assignedRoleIds": [DEVELOPER], **more}
    answer = await client.post(f"{path}/invitations", json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def member(client: httpx.AsyncClient, path: str, bob: Colleague) -> str:
    """Where their access is changed, once they are a member."""
    made = await invited(client, path)
    assert (await bob.client.post(f"/api/organizations/invitations/{made['id']}/accept")).status_code == 200
    return f"{path}/users/{bob.user_id}"


async def test_an_organization_is_made(client: httpx.AsyncClient, conforms: Conforms, path: str) -> None:
    answer = await client.post("/api/organizations", json={"name": "Second", "defaultRegionId": "local"})
    assert answer.status_code == 201, answer.text
    made = sdk.Organization.from_dict({**answer.json()})
    assert made is not None
    assert (made.name, made.personal, made.id in path) == ("Second", False, False)
    assert (await client.get(f"/api/organizations/{made.id}")).status_code == 404  # The key is of the first one.
    assert (await client.post("/api/organizations", json={"name": "x", "defaultRegionId": "eu"})).status_code == 400
    assert (await client.post("/api/organizations", json={"name": "x"})).status_code == 400


async def test_an_organization_ends(bob: Colleague) -> None:
    (own,) = (await bob.client.get("/api/organizations")).json()
    assert own["personal"] is True
    assert (await bob.client.delete(f"/api/organizations/{own['id']}")).status_code == 204
    assert (await bob.client.get("/api/organizations")).status_code == 401


async def test_an_invitation_is_accepted(
    client: httpx.AsyncClient, bob: Colleague, path: str, conforms: Conforms
) -> None:
    made = conforms("OrganizationInvitation", await invited(client, path))
    assert (made["status"], made["assignedRoles"][0]["name"]) == ("pending", "Developer")
    assert [one["id"] for one in (await client.get(f"{path}/invitations")).json()] == [made["id"]]
    assert (await bob.client.get("/api/organizations/invitations/count")).json() == 1
    (mine,) = (await bob.client.get("/api/organizations/invitations")).json()
    assert mine["organizationName"] == made["organizationName"]
    accepted = await bob.client.post(f"/api/organizations/invitations/{made['id']}/accept")
    assert accepted.json()["status"] == "accepted"
    found = {one["userId"]: one for one in (await client.get(f"{path}/users")).json()}[bob.user_id]
    assert (conforms("OrganizationUser", found)["role"], found["assignedRoles"][0]["id"]) == ("member", DEVELOPER)
    again = await client.post(
        f"{path}/invitations", json={"email": EMAIL, "role": "member", "assignedRoleIds": [DEVELOPER]}
    )
    assert again.status_code == 409


async def test_invitations_are_changed_and_ended(client: httpx.AsyncClient, bob: Colleague, path: str) -> None:
    made = await invited(client, path)
    one = f"{path}/invitations/{made['id']}"
    changed = await client.put(one, json={"role": "owner", "assignedRoleIds": []})
    assert (changed.json()["role"], changed.json()["assignedRoles"]) == ("owner", [])
    assert (await client.post(f"{one}/cancel")).status_code == 204
    assert (await bob.client.post(f"/api/organizations/invitations/{made['id']}/accept")).status_code == 409
    other = await invited(client, path)
    assert (await bob.client.post(f"/api/organizations/invitations/{other['id']}/decline")).status_code == 200
    assert (await bob.client.get("/api/organizations/invitations")).json() == []
    assert (await client.post("/api/organizations/invitations/none/accept")).status_code == 404
    for wrong in ({"email": "nobody"}, {"role": "king"}, {"expiresAt": "2000-01-01T00:00:00Z"}):
        body = {"email": "a@example.com", "role": "member", "assignedRoleIds": [DEVELOPER], **wrong}
        assert (await client.post(f"{path}/invitations", json=body)).status_code == 400, wrong
    body = {"email": "a@example.com", "role": "member", "assignedRoleIds": ["none"]}
    assert (await client.post(f"{path}/invitations", json=body)).status_code == 404


async def test_what_a_member_may(client: httpx.AsyncClient, bob: Colleague, path: str) -> None:
    place = await member(client, path, bob)
    async with asking(bob.running.app, await bob.key(path.split("/")[-1])) as inside:
        assert (await inside.post("/api/sandbox", json={"name": "of-bob"})).status_code == 200
        assert (await inside.delete("/api/sandbox/of-bob")).status_code == 403
        assert (await inside.post(f"{path}/roles", json=ROLE)).status_code == 403
        body = {"role": "owner", "assignedRoleIds": []}
        changed = await client.post(f"{place}/access", json=body)
        assert (changed.status_code, changed.json()["role"]) == (200, "owner")
        as_owner = {"Authorization": f"Bearer {await bob.key(path.split('/')[-1])}"}
        assert (await inside.delete("/api/sandbox/of-bob", headers=as_owner)).status_code == 200
        assert (await client.delete(place)).status_code == 204
        assert (await inside.get("/api/sandbox")).status_code == 401
    assert (await client.delete(place)).status_code == 404


async def test_who_leaves(client: httpx.AsyncClient, bob: Colleague, path: str) -> None:
    place = await member(client, path, bob)
    await client.post(f"{place}/access", json={"role": "owner", "assignedRoleIds": []})
    async with asking(bob.running.app, await bob.key(path.split("/")[-1])) as inside:
        assert (await inside.post(f"{path}/leave")).status_code == 204
        assert (await inside.get("/api/organizations")).status_code == 401
    (own,) = (await bob.client.get("/api/organizations")).json()
    alone = await bob.client.post(f"/api/organizations/{own['id']}/leave")
    assert (alone.status_code, "owner" in alone.json()["message"]) == (403, True)


ROLE = {"name": "Reviewer", "description": "Looks", "permissions": ["read:volumes", "write:registries"]}


async def test_roles(client: httpx.AsyncClient, path: str, conforms: Conforms) -> None:
    answer = await client.post(f"{path}/roles", json=ROLE)
    assert answer.status_code == 201, answer.text
    made = conforms("OrganizationRole", answer.json())
    assert (sorted(made["permissions"]), made["isGlobal"]) == (ROLE["permissions"], False)
    assert (await client.post(f"{path}/roles", json=ROLE)).status_code == 409
    changed = await client.put(f"{path}/roles/{made['id']}", json={**ROLE, "permissions": []})
    assert changed.json()["permissions"] == []
    known = {role["name"]: role for role in (await client.get(f"{path}/roles")).json()}
    assert (known["Developer"]["isGlobal"], known["Reviewer"]["permissions"]) == (True, [])
    assert (await client.delete(f"{path}/roles/{DEVELOPER}")).status_code == 403
    assert (await client.delete(f"{path}/roles/{made['id']}")).status_code == 204
    assert (await client.put(f"{path}/roles/{made['id']}", json=ROLE)).status_code == 404
    assert (await client.post(f"{path}/roles", json={**ROLE, "permissions": ["rule:world"]})).status_code == 400


async def test_what_is_set_for_all(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.patch(f"{path}/default-region", json={"defaultRegionId": "local"})).status_code == 204
    assert (await client.patch(f"{path}/default-region", json={"defaultRegionId": "eu"})).status_code == 400
    assert (await client.patch(f"{path}/default-queue-timeout", json={"defaultQueueTimeout": 7})).status_code == 204
    assert (await client.patch(f"{path}/default-queue-timeout", json={"defaultQueueTimeout": 0})).status_code == 400
    assert (await client.post("/api/sandbox", json={})).json()["queueTimeout"] == 7
    assert (await client.put(f"{path}/experimental-config", json={"fast": True})).status_code == 200
    assert (await client.put(f"{path}/experimental-config", json={"x": "y" * 20_000})).status_code == 400
    known = (await client.get(path)).json()
    assert (known["defaultQueueTimeout"], known["experimentalConfig"]) == (7, {"fast": True})
    assert (await client.patch(f"{path}/default-queue-timeout", json={"defaultQueueTimeout": None})).status_code == 204
    assert (await client.get(path)).json()["defaultQueueTimeout"] is None


async def test_another_organization_is_none(client: httpx.AsyncClient, stranger: httpx.AsyncClient, path: str) -> None:
    made = (await client.post(f"{path}/roles", json=ROLE)).json()["id"]
    asked: list[tuple[str, str, Any]] = [
        ("DELETE", "", None),
        ("POST", "/leave", None),
        ("PATCH", "/default-region", {"defaultRegionId": "local"}),
        ("PATCH", "/default-queue-timeout", {"defaultQueueTimeout": 1}),
        ("PUT", "/experimental-config", {}),
        ("GET", "/users", None),
        ("DELETE", "/users/x", None),
        ("POST", "/users/x/access", {"role": "owner", "assignedRoleIds": []}),
        ("GET", "/roles", None),
        ("POST", "/roles", ROLE),
        ("PUT", f"/roles/{made}", ROLE),
        ("DELETE", f"/roles/{made}", None),
        ("GET", "/invitations", None),
        ("POST", "/invitations", {"email": EMAIL, "role": "owner", "assignedRoleIds": []}),
        ("PUT", "/invitations/x", {"role": "owner", "assignedRoleIds": []}),
        ("POST", "/invitations/x/cancel", None),
    ]
    for method, rest, body in asked:
        answer = await stranger.request(method, f"{path}{rest}", json=body)
        assert answer.status_code == 404, f"{method} {rest}: {answer.text}"
