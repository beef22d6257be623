"""The user of the key and their organization."""

from collections.abc import Callable
from typing import Any

import daytona_api_client as sdk
import httpx
import pytest

Conforms = Callable[[str, Any], Any]


async def test_the_user_of_the_key(client: httpx.AsyncClient, conforms: Conforms) -> None:
    user = conforms("User", (await client.get("/api/users/me")).json())
    assert sdk.User.from_dict(user) is not None
    assert user["name"] == "admin"
    await client.post("/api/api-keys", json={"name": "mine", "permissions": []})
    assert (await client.get("/api/api-keys/mine")).json()["userId"] == user["id"]


async def test_the_one_organization(client: httpx.AsyncClient, conforms: Conforms) -> None:
    (organization,) = (await client.get("/api/organizations")).json()
    known = sdk.Organization.from_dict(conforms("Organization", organization))
    assert known is not None
    assert (known.suspended, known.default_region_id) == (False, "local")
    path = f"/api/organizations/{organization['id']}"
    assert (await client.get(path)).json() == organization
    sandbox = (await client.post("/api/sandbox", json={})).json()
    assert sandbox["organizationId"] == organization["id"]
    assert (await client.get(f"/api/sandbox/{sandbox['id']}/organization")).json() == organization
    assert (await client.get(f"/api/sandbox/{sandbox['name']}/organization")).json() == organization

    (member,) = (await client.get(f"{path}/users")).json()
    assert sdk.OrganizationUser.from_dict(conforms("OrganizationUser", member)) is not None
    assert (member["userId"], member["role"]) == (organization["createdBy"], "owner")


async def test_the_limits_are_those_that_hold(client: httpx.AsyncClient) -> None:
    (organization,) = (await client.get("/api/organizations")).json()
    most = int(organization["maxCpuPerSandbox"])
    assert (await client.post("/api/sandbox", json={"cpu": most + 1})).status_code == 400
    assert (await client.post("/api/sandbox", json={"cpu": most})).status_code == 200


async def test_what_there_is_none_of(client: httpx.AsyncClient) -> None:
    (organization,) = (await client.get("/api/organizations")).json()
    for path in (
        "organizations/invitations",
        *(f"organizations/{organization['id']}/{kind}" for kind in ("invitations", "identity-providers")),
        "users/me/pending-sso-links",
        "users/account-providers",
    ):
        answer = await client.get(f"/api/{path}")
        assert (answer.status_code, answer.json()) == (200, []), path
    assert (await client.get("/api/organizations/invitations/count")).json() == 0


@pytest.mark.parametrize("rest", ["", "/users", "/roles", "/invitations", "/identity-providers"])
async def test_another_organization_does_not_exist(client: httpx.AsyncClient, rest: str) -> None:
    answer = await client.get(f"/api/organizations/somebody-elses{rest}")
    assert (answer.status_code, answer.json()["statusCode"]) == (404, 404)


@pytest.mark.parametrize("path", ["users/me", "organizations", "organizations/invitations", "users/account-providers"])
async def test_without_a_key(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(f"/api/{path}", headers={"Authorization": ""})).status_code == 401
