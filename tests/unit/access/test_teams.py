from datetime import timedelta

import pytest

from moonpool.access.model import Principal, Scope, TeamRole
from moonpool.access.people import BUILT_IN_ROLES, DEVELOPER, USUAL_ROLES, InvitationStatus
from moonpool.access.teams import MAX_OWNED
from moonpool.errors import (
    AccountNotFound,
    AlreadyMember,
    Conflict,
    Forbidden,
    InvalidInput,
    InvitationNotFound,
    InvitationOver,
    LastOwner,
    LimitExceeded,
    MemberNotFound,
    NameTaken,
    NotPermitted,
    RoleNotFound,
    Unauthorized,
)
from tests.unit.access.conftest import World

OWNER, ADMIN, MEMBER = TeamRole.OWNER, TeamRole.ADMIN, TeamRole.MEMBER


async def in_team(world: World, owner: Principal, name: str, role: TeamRole) -> Principal:
    """A new user, signed in to the owner's team."""
    user = await world.user(name)
    await world.people.teams.add(owner, user.email, role)
    own = await world.principal(await world.login(user))
    return await world.principal(await world.people.sessions.switch(own, owner.team_id))


@pytest.fixture
async def alice(world: World) -> Principal:
    return await world.signed_in("alice")


class TestTeams:
    async def test_whoever_makes_one_owns_it(self, world: World, alice: Principal) -> None:
        made = await world.people.teams.create(alice, "  Second team ")
        assert (made.team.name, made.membership.role, made.team.personal) == ("Second team", OWNER, False)
        same = await world.people.teams.create(alice, "Second team")
        assert same.team.slug != made.team.slug
        assert len(await world.people.teams.of_user(alice)) == 3
        with pytest.raises(InvalidInput):
            await world.people.teams.create(alice, "\n")

    async def test_nobody_owns_without_end(self, world: World, alice: Principal) -> None:
        for number in range(MAX_OWNED - 1):
            await world.people.teams.create(alice, f"Team {number}")
        with pytest.raises(LimitExceeded):
            await world.people.teams.create(alice, "One more")

    async def test_a_deleted_one_lets_nobody_in(self, world: World, alice: Principal) -> None:
        key = await world.access.create_key(alice, "mine")
        assert (await world.access.authenticate(key.secret)).team_id == alice.team_id
        emptied: list[str] = []

        async def note(principal: Principal) -> None:
            emptied.append(principal.team_id)

        world.people.departures.add(note)
        await world.people.teams.delete(alice)
        await world.settled()
        assert emptied == [alice.team_id]
        with pytest.raises(Unauthorized):
            await world.access.authenticate(key.secret)
        again = await world.again(alice)  # They get a team anew.
        assert again.team_id != alice.team_id
        await world.people.departures.run()
        assert emptied == [alice.team_id]

    async def test_what_could_not_be_destroyed_is_destroyed_later(self, world: World, alice: Principal) -> None:
        failing, emptied = [True], []

        async def note(principal: Principal) -> None:
            if failing.pop() if failing else False:
                raise Conflict
            emptied.append(principal.team_id)

        world.people.departures.add(note)
        await world.people.teams.delete(alice)
        await world.settled()
        assert emptied == []
        await world.people.departures.run()
        assert emptied == [alice.team_id]


class TestMembers:
    async def test_by_role(self, world: World, alice: Principal) -> None:
        admin = await in_team(world, alice, "bob", ADMIN)
        member = await in_team(world, alice, "carol", MEMBER)
        teams = world.people.teams
        carol, bob = member.user_id, admin.user_id
        for act in (
            teams.rename(member, "Mine"),
            teams.add(member, "alice@example.com"),
            teams.change(member, carol, ADMIN),
            teams.expel(member, bob),
            teams.delete(member),
            teams.delete(admin),
            teams.change(admin, bob, OWNER),
            teams.change(admin, alice.user_id, MEMBER),
            teams.expel(admin, alice.user_id),
            teams.add(admin, "bob@example.com", OWNER),
        ):
            with pytest.raises(NotPermitted):
                await act
        await teams.rename(admin, "Ours")
        await teams.change(admin, carol, ADMIN)
        await teams.change(admin, carol, MEMBER)
        await teams.expel(admin, carol)
        assert {one.user.id for one in await teams.members(alice)} == {alice.user_id, bob}

    async def test_one_owner_stays(self, world: World, alice: Principal) -> None:
        teams = world.people.teams
        bob = await in_team(world, alice, "bob", MEMBER)
        with pytest.raises(LastOwner):
            await teams.leave(alice)
        with pytest.raises(LastOwner):
            await teams.change(alice, alice.user_id, MEMBER)
        with pytest.raises(LastOwner):
            await teams.expel(alice, alice.user_id)
        await teams.change(alice, bob.user_id, OWNER)
        await teams.leave(alice)
        with pytest.raises(LastOwner):
            await teams.leave(await world.again(bob))

    async def test_wrong_ones(self, world: World, alice: Principal) -> None:
        teams = world.people.teams
        await in_team(world, alice, "bob", MEMBER)
        with pytest.raises(AlreadyMember):
            await teams.add(alice, "bob@example.com")
        with pytest.raises(AccountNotFound):
            await teams.add(alice, "nobody@example.com")
        stranger = await world.signed_in("mallory")
        for user_id in (stranger.user_id, "none", "\0"):
            for act in (
                teams.change(alice, user_id, MEMBER),
                teams.expel(alice, user_id),
                teams.member(alice, user_id),
            ):
                with pytest.raises(MemberNotFound):
                    await act
        with pytest.raises(RoleNotFound):
            await teams.add(alice, "mallory@example.com", MEMBER, ["none"])

    async def test_keys_end_with_the_membership(self, world: World, alice: Principal) -> None:
        bob = await in_team(world, alice, "bob", MEMBER)
        key = await world.access.create_key(bob, "bob's", {Scope.SANDBOXES_READ})
        assert (await world.access.authenticate(key.secret)).user_id == bob.user_id
        await world.people.teams.expel(alice, bob.user_id)
        with pytest.raises(Unauthorized):
            await world.access.authenticate(key.secret)
        assert (await world.again(bob)).team_id != alice.team_id

    async def test_keys_never_allow_more_than_their_maker_may_now(self, world: World, alice: Principal) -> None:
        bob = await in_team(world, alice, "bob", ADMIN)
        key = await world.access.create_key(bob, "bob's")
        assert (await world.access.authenticate(key.secret)).allows(Scope.ADMIN)
        await world.people.teams.change(alice, bob.user_id, MEMBER, [DEVELOPER])
        now = await world.access.authenticate(key.secret)
        assert (now.allows(Scope.SANDBOXES_WRITE), now.allows(Scope.SANDBOXES_DELETE)) == (True, False)
        assert now.role is MEMBER
        again = await world.again(bob, alice.team_id)
        with pytest.raises(Forbidden):
            await world.access.create_key(again, "more", {Scope.SANDBOXES_DELETE})

    async def test_members_change_their_own_keys_alone(self, world: World, alice: Principal) -> None:
        theirs = await world.access.create_key(alice, "alice's")
        bob = await in_team(world, alice, "bob", MEMBER)
        with pytest.raises(Forbidden):
            await world.access.revoke_key(bob, theirs.key.id)
        assert (await world.access.authenticate(theirs.secret)).user_id == alice.user_id
        own = await world.access.create_key(bob, "bob's", {Scope.SANDBOXES_READ})
        await world.access.revoke_key(bob, own.key.id)
        await world.access.revoke_key(alice, theirs.key.id)

    async def test_a_key_with_few_scopes_changes_nobody(self, world: World, alice: Principal) -> None:
        made = await world.access.create_key(alice, "few", {Scope.SANDBOXES_WRITE, Scope.KEYS_WRITE})
        key = await world.access.authenticate(made.secret)
        bob = await world.user("bob")
        for act in (
            world.people.teams.add(key, bob.email),
            world.people.teams.delete(key),
            world.people.teams.leave(key),
            world.people.teams.create(key, "More"),
            world.people.roles.create(key, "Mine", "", {Scope.SANDBOXES_WRITE}),
            world.people.invitations.create(key, "x@example.com"),
        ):
            with pytest.raises(Forbidden):
                await act


class TestRoles:
    async def test_they_count_at_once_and_end_for_everybody(self, world: World, alice: Principal) -> None:
        roles = world.people.roles
        made = await roles.create(alice, "Snapshots", "of ours", {Scope.SNAPSHOTS_WRITE})
        bob = await in_team(world, alice, "bob", MEMBER)
        await world.people.teams.change(alice, bob.user_id, MEMBER, [made.id])

        async def may(scope: Scope) -> bool:
            return (await world.again(bob, alice.team_id)).allows(scope)

        assert [await may(Scope.SNAPSHOTS_WRITE), await may(Scope.SANDBOXES_WRITE)] == [True, False]
        await roles.update(alice, made.id, "Volumes", "", {Scope.VOLUMES_READ})
        assert [await may(Scope.SNAPSHOTS_WRITE), await may(Scope.VOLUMES_READ)] == [False, True]
        await roles.delete(alice, made.id)
        assert not await may(Scope.VOLUMES_READ)
        assert (await world.people.teams.member(alice, bob.user_id)).membership.role_ids == ()
        assert await roles.list(alice) == list(BUILT_IN_ROLES)

    async def test_wrong_ones(self, world: World, alice: Principal) -> None:
        roles = world.people.roles
        made = await roles.create(alice, "One", "", ())
        stranger = await world.signed_in("mallory")
        with pytest.raises(NameTaken):
            await roles.create(alice, "One", "", ())
        with pytest.raises(InvalidInput):
            await roles.create(alice, "Everything", "", {Scope.ADMIN})
        with pytest.raises(NotPermitted):
            await roles.delete(alice, DEVELOPER)
        for role_id in (made.id, "none"):
            with pytest.raises(RoleNotFound):
                await roles.delete(stranger, role_id)
        assert made not in await roles.list(stranger)


class TestInvitations:
    async def test_whoever_has_the_address_answers(self, worlds: World) -> None:
        alice, bob = await worlds.signed_in("alice"), await worlds.signed_in("bob")
        mallory = await worlds.signed_in("mallory")
        invitations = worlds.people.invitations
        told = await invitations.create(alice, "Bob@example.com", MEMBER, USUAL_ROLES)
        assert worlds.outbox.mails[-1].to == "bob@example.com"
        assert (told.team.id, told.inviter and told.inviter.id) == (alice.team_id, alice.user_id)
        assert await invitations.mine(mallory) == []
        for act in (invitations.accept(mallory, told.invitation.id), invitations.decline(mallory, told.invitation.id)):
            with pytest.raises(InvitationNotFound):
                await act
        with pytest.raises(NotPermitted):
            await invitations.of_team(await self.plain(worlds, alice))
        assert [one.invitation.id for one in await invitations.mine(bob)] == [told.invitation.id]
        accepted = await invitations.accept(bob, told.invitation.id)
        assert accepted.invitation.status is InvitationStatus.ACCEPTED
        assert (await worlds.again(bob, alice.team_id)).role is MEMBER
        with pytest.raises(InvitationOver):
            await invitations.accept(bob, told.invitation.id)
        assert await invitations.of_team(alice) == []

    async def plain(self, world: World, owner: Principal) -> Principal:
        return await in_team(world, owner, "plain", MEMBER)

    async def test_over_is_over(self, world: World, alice: Principal) -> None:
        invitations = world.people.invitations
        bob = await world.signed_in("bob")
        soon = world.clock.now() + timedelta(minutes=5)
        expired = await invitations.create(alice, "bob@example.com", expires_at=soon)
        with pytest.raises(Conflict):
            await invitations.create(alice, "bob@example.com")
        world.clock.advance(300)
        with pytest.raises(InvitationOver):
            await invitations.accept(bob, expired.invitation.id)
        assert await invitations.mine(bob) == []
        cancelled = await invitations.create(alice, "bob@example.com")
        await invitations.cancel(alice, cancelled.invitation.id)
        declined = await invitations.create(alice, "bob@example.com")
        await invitations.decline(bob, declined.invitation.id)
        for one in (cancelled, declined):
            with pytest.raises(InvitationOver):
                await invitations.accept(bob, one.invitation.id)
            with pytest.raises(InvitationOver):
                await invitations.cancel(alice, one.invitation.id)
        with pytest.raises(InvitationNotFound):
            await invitations.cancel(bob, expired.invitation.id)

    async def test_one_of_somebody_who_left_is_over(self, world: World, alice: Principal) -> None:
        admin = await in_team(world, alice, "carol", ADMIN)
        bob = await world.signed_in("bob")
        told = await world.people.invitations.create(admin, "bob@example.com")
        await world.people.teams.expel(alice, admin.user_id)
        with pytest.raises(InvitationOver):
            await world.people.invitations.accept(bob, told.invitation.id)

    async def test_an_admin_invites_no_owner(self, world: World, alice: Principal) -> None:
        admin = await in_team(world, alice, "carol", ADMIN)
        with pytest.raises(NotPermitted):
            await world.people.invitations.create(admin, "bob@example.com", OWNER)
        bob = await world.signed_in("bob")
        told = await world.people.invitations.create(alice, "bob@example.com", OWNER)
        await world.people.invitations.accept(bob, told.invitation.id)
        assert (await world.again(bob, alice.team_id)).role is OWNER
        with pytest.raises(AlreadyMember):
            await world.people.invitations.create(alice, "bob@example.com")
