"""Teams, their members and keys by Wrenn's API; and what administrators of the server do."""

from typing import Any

import pytest

from moonpool.app import Core
from tests.contract.wrenn.conftest import ProcessMachines
from tests.contract.wrenn.people.conftest import PASSWORD, Browser, NewUser, Person, SignIn

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def joined(owner: Person, person: Person, role: str = "member") -> None:
    """``person``'s session is in the owner's team then, with that role."""
    await owner.browser.call("addTeamMember", 201, owner.team, json={"email": person.email})
    if role != "member":
        await owner.browser.call("updateMemberRole", 204, {**owner.team, "uid": person.id}, json={"role": role})
    await person.browser.call("switchTeam", 200, json={"team_id": owner.team["id"]})


async def test_the_life_of_a_team(sign_in: SignIn) -> None:
    owner, bob = await sign_in("owner"), await sign_in("bob")
    browser = owner.browser
    await browser.call("renameTeam", 204, owner.team, json={"name": "Our team_1"})
    for name in ("", "x" * 129, "no/slash", "ünicode", "a\n"):
        assert (await browser.call("renameTeam", 400, owner.team, json={"name": name}))["code"] == "invalid_request"
    added = await browser.call("addTeamMember", 201, owner.team, json={"email": bob.email})
    assert (added["user_id"], added["role"]) == (bob.id, "member")
    again = await browser.call("addTeamMember", 400, owner.team, json={"email": bob.email})
    assert again["code"] == "invalid_request"
    nobody = await browser.call("addTeamMember", 404, owner.team, json={"email": "nobody@example.com"})
    assert nobody["code"] == "not_found"
    found = await browser.call("getTeam", 200, owner.team)
    assert found["team"]["name"] == "Our team_1"
    members = await browser.call("listTeamMembers", 200, owner.team)
    assert found["members"] == members
    assert {(one["email"], one["role"]) for one in members} == {(owner.email, "owner"), (bob.email, "member")}
    listed = await bob.browser.call("listTeams", 200)
    assert {one["role"] for one in listed} == {"owner", "member"}
    assert (await browser.call("searchUsers", 200, params={"email": bob.email[:-4]}))[0]["user_id"] == bob.id
    for prefix in ("bob", "", "@example.com"):
        assert (await browser.call("searchUsers", 400, params={"email": prefix}))["code"] == "invalid_request"
    await bob.browser.call("switchTeam", 200, json={"team_id": owner.team["id"]})
    await bob.browser.call("leaveTeam", 204, owner.team)
    await bob.browser.call("getMe", 401)  # The session was in that team.
    assert len(await browser.call("listTeamMembers", 200, owner.team)) == 1


async def test_by_role(sign_in: SignIn) -> None:
    owner, admin, member = await sign_in("owner"), await sign_in("admin"), await sign_in("member")
    await joined(owner, admin, "admin")
    await joined(owner, member)
    team = owner.team
    refused: tuple[tuple[Person, str, dict[str, str], Any], ...] = (
        (member, "renameTeam", team, {"name": "Mine"}),
        (member, "addTeamMember", team, {"email": "x@example.com"}),
        (member, "updateMemberRole", {**team, "uid": member.id}, {"role": "admin"}),
        (member, "removeTeamMember", {**team, "uid": admin.id}, None),
        (member, "deleteTeam", team, None),
        (admin, "deleteTeam", team, None),
        (admin, "updateMemberRole", {**team, "uid": owner.id}, {"role": "member"}),
        (admin, "removeTeamMember", {**team, "uid": owner.id}, None),
        (owner, "updateMemberRole", {**team, "uid": owner.id}, {"role": "member"}),
        (owner, "removeTeamMember", {**team, "uid": owner.id}, None),
        (owner, "leaveTeam", team, None),
    )
    for person, operation, path, body in refused:
        told = await person.browser.call(operation, 403, path, **({} if body is None else {"json": body}))
        assert told["code"] == "forbidden", operation
    await admin.browser.call("renameTeam", 204, team, json={"name": "Ours"})
    wrong = await owner.browser.call("updateMemberRole", 400, {**team, "uid": member.id}, json={"role": "owner"})
    assert wrong["code"] == "invalid_request"
    await admin.browser.call("removeTeamMember", 204, {**team, "uid": member.id})
    await member.browser.call("getMe", 401)
    gone = await admin.browser.call("removeTeamMember", 404, {**team, "uid": member.id})
    assert gone["code"] == "not_found"


async def test_another_team_does_not_exist(sign_in: SignIn) -> None:
    owner, stranger = await sign_in("owner"), await sign_in("stranger")
    second = await owner.browser.call("createTeam", 201, json={"name": "Second"})
    calls: tuple[tuple[str, dict[str, str], Any], ...] = (
        ("getTeam", {}, None),
        ("renameTeam", {}, {"name": "Mine"}),
        ("deleteTeam", {}, None),
        ("listTeamMembers", {}, None),
        ("addTeamMember", {}, {"email": stranger.email}),
        ("updateMemberRole", {"uid": owner.id}, {"role": "member"}),
        ("removeTeamMember", {"uid": owner.id}, None),
        ("leaveTeam", {}, None),
    )
    for operation, more, body in calls:
        content = {} if body is None else {"json": body}
        for team_id in (owner.team["id"], "team-none", "%00"):
            told = await stranger.browser.call(operation, 404, {"id": team_id, **more}, **content)
            assert told["code"] == "not_found", operation
        # A team of one's own that the session does not see is another matter.
        await owner.browser.call(operation, 403, {"id": second["id"], **more}, **content)
    assert len(await owner.browser.call("listTeamMembers", 200, owner.team)) == 1
    uid = {**owner.team, "uid": stranger.id}
    await owner.browser.call("updateMemberRole", 404, uid, json={"role": "admin"})
    await owner.browser.call("removeTeamMember", 404, uid)


async def test_a_deleted_team_takes_its_capsules_with_it(
    core: Core, machines: ProcessMachines, sign_in: SignIn
) -> None:
    owner = await sign_in("owner")
    capsule = await owner.browser.capsule()
    assert capsule.removeprefix("cl-") in machines.by_id
    await owner.browser.call("deleteTeam", 204, owner.team)
    await core.community.departures.run()
    assert capsule.removeprefix("cl-") not in machines.by_id
    await owner.browser.call("getMe", 401)
    told = await owner.browser.login(owner.email)  # In a team that was made anew.
    assert told["team_id"] != owner.team["id"]


class TestKeys:
    async def test_they_are_the_teams(self, browser: Browser, sign_in: SignIn) -> None:
        owner, stranger = await sign_in("owner"), await sign_in("stranger")
        made = await owner.browser.call("createAPIKey", 201, json={"name": "laptop"})
        assert made["key"].startswith(made["key_prefix"].removesuffix("..."))
        key = {"X-API-Key": made["key"]}
        assert (await browser.http.get("/v1/capsules", headers=key)).status_code == 200
        (listed,) = await owner.browser.call("listAPIKeys", 200)
        assert (listed["id"], listed["name"]) == (made["id"], "laptop")
        assert "key" not in listed
        assert await stranger.browser.call("listAPIKeys", 200) == []
        assert (await stranger.browser.call("deleteAPIKey", 404, {"id": made["id"]}))["code"] == "not_found"
        await owner.browser.call("deleteAPIKey", 204, {"id": made["id"]})
        assert (await browser.http.get("/v1/capsules", headers=key)).status_code == 401

    async def test_names_need_not_differ(self, sign_in: SignIn) -> None:
        owner = await sign_in("owner")
        names = [(await owner.browser.call("createAPIKey", 201, json={}))["name"] for _ in range(3)]
        assert names == ["Unnamed API Key", "Unnamed API Key (2)", "Unnamed API Key (3)"]

    async def test_they_end_with_the_membership(self, browser: Browser, sign_in: SignIn) -> None:
        owner, member = await sign_in("owner"), await sign_in("member")
        await joined(owner, member)
        made = await member.browser.call("createAPIKey", 201, json={})
        key = {"X-API-Key": made["key"]}
        assert (await browser.http.get("/v1/capsules", headers=key)).status_code == 200
        theirs = await owner.browser.call("createAPIKey", 201, json={"name": "owner's"})
        await member.browser.call("deleteAPIKey", 403, {"id": theirs["id"]})
        await owner.browser.call("removeTeamMember", 204, {**owner.team, "uid": member.id})
        assert (await browser.http.get("/v1/capsules", headers=key)).status_code == 401


class TestAdministration:
    async def test_users(self, browser: Browser, sign_in: SignIn) -> None:
        root, alice = await sign_in("root", admin=True), await sign_in("alice")
        key = (await alice.browser.call("createAPIKey", 201, json={}))["key"]
        listed = {one["id"]: one for one in await root.browser.call("adminListUsers", 200)}
        assert (listed[root.id]["is_admin"], listed[alice.id]["is_admin"]) == (True, False)
        path = {"id": alice.id}
        await root.browser.call("adminSetUserActive", 204, path, json={"active": False})
        await alice.browser.call("getMe", 401)
        await browser.call("login", 401, json={"email": alice.email, "password": PASSWORD})
        assert (await browser.http.get("/v1/capsules", headers={"X-API-Key": key})).status_code == 401
        await root.browser.call("adminSetUserActive", 204, path, json={"active": True})
        await alice.browser.login(alice.email)
        await root.browser.call("setUserAdmin", 204, path, json={"admin": True})
        await alice.browser.call("adminListUsers", 200)  # At the next request.
        await alice.browser.call("setUserAdmin", 204, {"id": root.id}, json={"admin": False})
        await root.browser.call("adminListUsers", 403)
        for body in ({}, {"admin": "yes"}, {"admin": 1}):
            assert (await alice.browser.call("setUserAdmin", 400, path, json=body))["code"] == "invalid_request"
        await alice.browser.call("setUserAdmin", 404, {"id": "usr-none"}, json={"admin": True})
        await alice.browser.call("adminSetUserActive", 404, {"id": "usr-none"}, json={"active": True})

    async def test_teams(self, core: Core, sign_in: SignIn) -> None:
        root, alice = await sign_in("root", admin=True), await sign_in("alice")
        listed = {one["id"]: one for one in await root.browser.call("adminListTeams", 200)}
        assert listed[alice.team["id"]]["member_count"] == 1
        await root.browser.call("adminSetTeamBYOC", 204, alice.team, json={"byoc": False})
        assert (await root.browser.call("adminSetTeamBYOC", 501, alice.team, json={"byoc": True}))["code"]
        await root.browser.call("adminSetTeamBYOC", 404, {"id": "team-none"}, json={"byoc": False})
        await root.browser.call("adminDeleteTeam", 204, alice.team)
        await alice.browser.call("getMe", 401)
        await root.browser.call("adminDeleteTeam", 404, alice.team)
        own = await core.access.team_named("default")
        assert (await root.browser.call("adminDeleteTeam", 403, {"id": f"team-{own.id}"}))["code"] == "forbidden"

    async def test_nobody_else_administers(self, sign_in: SignIn) -> None:
        owner, other = await sign_in("owner"), await sign_in("other")
        calls: tuple[tuple[str, dict[str, str], Any], ...] = (
            ("adminListUsers", {}, None),
            ("adminListTeams", {}, None),
            ("adminDeleteTeam", other.team, None),
            ("adminSetTeamBYOC", other.team, {"byoc": False}),
            ("adminSetUserActive", {"id": other.id}, {"active": False}),
            ("setUserAdmin", {"id": owner.id}, {"admin": True}),
        )
        for operation, path, body in calls:
            told = await owner.browser.call(operation, 403, path, **({} if body is None else {"json": body}))
            assert told["code"] == "forbidden"

    async def test_one_stays(self, core: Core, new_user: NewUser, browser: Browser) -> None:
        operator, administration = await core.access.local_principal(), core.community.administration
        only = await new_user("only", admin=True)
        for user in await administration.users(operator):
            if user.platform_admin and not user.built_in and user.email != only:
                await administration.set_admin(operator, user.id, False)
        told = await browser.login(only)
        for operation, body in (("setUserAdmin", {"admin": False}), ("adminSetUserActive", {"active": False})):
            refused = await browser.call(operation, 400, {"id": told["user_id"]}, json=body)
            assert refused["code"] == "invalid_request"
