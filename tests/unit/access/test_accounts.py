from datetime import timedelta

import pytest
from sqlalchemy import select

from moonpool.access.attempts import LONGEST_WAIT, OF_ACCOUNT, OF_ADDRESS
from moonpool.access.people import ACTIVATION_LIFETIME, DELETION_GRACE, RESET_LIFETIME, Client, UserStatus
from moonpool.access.settings import SmtpSettings
from moonpool.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    LastAdministrator,
    MailFailed,
    NameTaken,
    OwnsTeams,
    RateLimited,
    SessionRequired,
    SignUpClosed,
    TokenInvalid,
    Unauthorized,
    WrongPassword,
)
from moonpool.store.tables import account_tokens, browser_sessions, teams, users
from tests.unit.access.conftest import HERE, PASSWORD, World, make_world

ALICE = "alice@example.com"


def elsewhere(number: int) -> Client:
    return Client(f"198.51.100.{number}")


class TestSigningUp:
    async def test_the_mailed_link_activates_once_and_signs_in(self, worlds: World) -> None:
        accounts = worlds.people.accounts
        await accounts.sign_up("Alice@Example.com", PASSWORD, " Alice ", HERE)
        with pytest.raises(WrongPassword):
            await accounts.login(ALICE, PASSWORD, HERE)
        signed = await accounts.activate(worlds.outbox.token(), HERE)
        assert (signed.user.email, signed.user.name, signed.role) == (ALICE, "Alice", "owner")
        principal = await worlds.principal(signed)
        assert (principal.role, principal.platform_admin) == ("owner", False)
        with pytest.raises(TokenInvalid):
            await accounts.activate(worlds.outbox.token(), HERE)
        assert (await accounts.login(ALICE, PASSWORD, HERE)).user.id == signed.user.id

    async def test_an_old_link_is_good_for_nothing_and_the_account_ends(self, world: World) -> None:
        await world.people.accounts.sign_up(ALICE, PASSWORD, "Alice", HERE)
        world.clock.advance(ACTIVATION_LIFETIME.total_seconds())
        with pytest.raises(TokenInvalid):
            await world.people.accounts.activate(world.outbox.token(), HERE)
        await world.people.administration.prune()
        assert [one.handle for one in await world.people.administration.users(world.operator)] == ["admin"]

    async def test_the_last_to_sign_up_with_an_address_has_it(self, world: World) -> None:
        accounts = world.people.accounts
        await accounts.sign_up(ALICE, "the attacker's own", "Mallory", HERE)
        first = world.outbox.token()
        with pytest.raises(Conflict, match="a moment ago"):
            await accounts.sign_up(ALICE, PASSWORD, "Alice", HERE)
        world.clock.advance(61)
        await accounts.sign_up(ALICE, PASSWORD, "Alice", HERE)
        with pytest.raises(TokenInvalid):
            await accounts.activate(first, HERE)
        await accounts.activate(world.outbox.token(), HERE)
        with pytest.raises(WrongPassword):
            await accounts.login(ALICE, "the attacker's own", HERE)
        with pytest.raises(NameTaken):
            await accounts.sign_up(ALICE, PASSWORD, "Alice", HERE)

    async def test_a_mail_that_cannot_be_sent_can_be_sent_at_once_again(self, world: World) -> None:
        world.outbox.broken = True
        with pytest.raises(MailFailed):
            await world.people.accounts.sign_up(ALICE, PASSWORD, "Alice", HERE)
        world.outbox.broken = False
        await world.people.accounts.sign_up(ALICE, PASSWORD, "Alice", HERE)
        await world.people.accounts.activate(world.outbox.token(), HERE)

    @pytest.mark.parametrize(
        ("email", "password", "name"),
        [
            ("alice", PASSWORD, "Alice"),
            ("a@b@c", PASSWORD, "Alice"),
            ("alice@example.com\r\nBcc: x@example.com", PASSWORD, "Alice"),
            ("a\0@example.com", PASSWORD, "Alice"),
            ("x" * 300 + "@example.com", PASSWORD, "Alice"),
            (ALICE, "short", "Alice"),
            (ALICE, "x" * 1025, "Alice"),
            (ALICE, "\ud800" * 9, "Alice"),
            (ALICE, PASSWORD, " "),
            (ALICE, PASSWORD, "a\nb"),
            (ALICE, PASSWORD, "x" * 101),
        ],
    )
    async def test_nonsense_is_refused(self, world: World, email: str, password: str, name: str) -> None:
        with pytest.raises(InvalidInput):
            await world.people.accounts.sign_up(email, password, name, HERE)
        assert world.outbox.mails == []

    async def test_who_may_is_for_the_operator_to_say(self, world: World) -> None:
        closed = make_world(world.store, world.clock, "closed")
        with pytest.raises(SignUpClosed):
            await closed.people.accounts.sign_up(ALICE, PASSWORD, "Alice", HERE)
        invited = make_world(world.store, world.clock, "invited")
        with pytest.raises(SignUpClosed):
            await invited.people.accounts.sign_up(ALICE, PASSWORD, "Alice", HERE)
        await world.people.invitations.create(await world.signed_in("bob"), ALICE)
        await invited.people.accounts.sign_up(ALICE, PASSWORD, "Alice", HERE)
        await invited.people.accounts.activate(invited.outbox.token(), HERE)

    async def test_one_address_cannot_have_mails_sent_without_end(self, world: World) -> None:
        for number in range(OF_ADDRESS):
            await world.people.accounts.sign_up(f"{number}@example.com", PASSWORD, "Many", HERE)
        with pytest.raises(RateLimited):
            await world.people.accounts.sign_up("more@example.com", PASSWORD, "Many", HERE)


class TestSigningIn:
    async def test_a_wrong_password_and_an_unknown_account_are_not_told_apart(self, world: World) -> None:
        alice = await world.user("alice")
        told = []
        for email, password in ((alice.email, "wrong"), ("nobody@example.com", PASSWORD), ("\0", ""), ("admin", "")):
            with pytest.raises(WrongPassword) as refused:
                await world.people.accounts.login(email, password, HERE)
            told.append((refused.value.message, refused.value.hint))
        assert len(set(told)) == 1

    async def test_guesses_at_one_account_slow_down_from_wherever_they_come(self, world: World) -> None:
        alice = await world.user("alice")
        for number in range(OF_ACCOUNT):
            with pytest.raises(WrongPassword):
                await world.people.accounts.login(alice.email, "wrong", elsewhere(number))
        with pytest.raises(RateLimited) as refused:
            await world.people.accounts.login(alice.email, PASSWORD, elsewhere(99))
        world.clock.advance(refused.value.details["retry_after"])
        with pytest.raises(WrongPassword):
            await world.people.accounts.login(alice.email, "wrong", HERE)
        with pytest.raises(RateLimited) as again:
            await world.people.accounts.login(alice.email, PASSWORD, HERE)
        assert again.value.details["retry_after"] > refused.value.details["retry_after"]
        world.clock.advance(LONGEST_WAIT)
        await world.people.accounts.login(alice.email, PASSWORD, HERE)
        with pytest.raises(WrongPassword):  # It begins anew.
            await world.people.accounts.login(alice.email, "wrong", HERE)

    async def test_spraying_one_password_over_accounts_slows_down_too(self, world: World) -> None:
        await world.user("alice")
        for number in range(OF_ADDRESS):
            with pytest.raises(WrongPassword):
                await world.people.accounts.login(f"{number}@example.com", PASSWORD, HERE)
        with pytest.raises(RateLimited):
            await world.people.accounts.login(ALICE, PASSWORD, HERE)
        await world.people.accounts.login(ALICE, PASSWORD, elsewhere(1))

    async def test_secrets_are_hashed_at_rest(self, world: World) -> None:
        signed = await world.login(await world.user("alice"))
        await world.people.accounts.request_reset(ALICE, HERE)
        await world.settled()
        async with world.store.reading() as connection:
            kept = [
                str(row)
                for table in (users, browser_sessions, account_tokens)
                for row in await connection.execute(select(table))
            ]
        for secret in (PASSWORD, signed.token, world.outbox.token()):
            assert secret not in "".join(kept)
        assert PASSWORD not in repr(await world.people.administration.users(world.operator))
        assert "hidden" not in repr(SmtpSettings("h", 25, "a@b", "none", "u", "hidden"))


class TestPasswords:
    async def test_a_change_ends_every_other_session(self, world: World) -> None:
        alice = await world.user("alice")
        kept, other = await world.login(alice), await world.login(alice)
        principal = await world.principal(kept)
        with pytest.raises(WrongPassword):
            await world.people.accounts.change_password(principal, "wrong", "a new password")
        await world.people.accounts.change_password(principal, PASSWORD, "a new password")
        assert await world.principal(kept) == principal
        with pytest.raises(SessionRequired):
            await world.principal(other)
        with pytest.raises(WrongPassword):
            await world.login(alice)

    async def test_whoever_has_a_session_cannot_guess_the_password_by_it(self, world: World) -> None:
        principal = await world.signed_in("alice")
        for _ in range(OF_ACCOUNT):
            with pytest.raises(WrongPassword):
                await world.people.accounts.change_password(principal, "wrong", "a new password")
        with pytest.raises(RateLimited):
            await world.people.accounts.change_password(principal, PASSWORD, "a new password")

    async def test_a_mailed_link_sets_a_new_one_and_ends_all_sessions(self, world: World) -> None:
        signed = await world.login(await world.user("alice"))
        await world.people.accounts.request_reset(" Alice@example.com".strip(), HERE)
        await world.settled()
        token = world.outbox.token()
        with pytest.raises(InvalidInput):
            await world.people.accounts.confirm_reset(token, "short")
        await world.people.accounts.confirm_reset(token, "a new password")
        with pytest.raises(SessionRequired):
            await world.principal(signed)
        with pytest.raises(TokenInvalid):
            await world.people.accounts.confirm_reset(token, "another password")
        await world.people.accounts.login(ALICE, "a new password", HERE)

    async def test_nobody_else_gets_a_mail(self, world: World) -> None:
        alice = await world.user("alice")
        await world.people.administration.set_active(world.operator, alice.id, False)
        for address in ("nobody@example.com", "no address", "admin@localhost", ALICE):
            await world.people.accounts.request_reset(address, HERE)
        await world.settled()
        assert world.outbox.mails == []

    async def test_links_end(self, world: World) -> None:
        await world.user("alice")
        await world.people.accounts.request_reset(ALICE, HERE)
        await world.settled()
        world.clock.advance(RESET_LIFETIME.total_seconds())
        with pytest.raises(TokenInvalid):
            await world.people.accounts.confirm_reset(world.outbox.token(), "a new password")


class TestEnds:
    async def test_a_deleted_account_is_shut_at_once_and_ends_after_a_while(self, worlds: World) -> None:
        alice = await worlds.signed_in("alice")
        key = await worlds.access.create_key(alice, "mine")
        ended = worlds.people.administration
        with pytest.raises(InvalidInput):
            await ended.delete_account(alice, "bob@example.com")
        await ended.delete_account(alice, "ALICE@example.com")
        with pytest.raises(Unauthorized):
            await worlds.access.authenticate(key.secret)
        with pytest.raises(WrongPassword):
            await worlds.people.accounts.login(ALICE, PASSWORD, HERE)
        worlds.clock.advance((DELETION_GRACE - timedelta(seconds=1)).total_seconds())
        await ended.prune()
        assert {one.status for one in await ended.users(worlds.operator)} == {UserStatus.ACTIVE, UserStatus.DELETED}
        worlds.clock.advance(1)
        await ended.prune()
        await worlds.settled()
        assert [one.handle for one in await ended.users(worlds.operator)] == ["admin"]
        async with worlds.store.reading() as connection:
            left = (await connection.execute(select(teams.c.emptied_at).where(teams.c.deleted_at.is_not(None)))).all()
        assert [row.emptied_at is not None for row in left] == [True]

    async def test_within_the_grace_an_administrator_brings_it_back(self, world: World) -> None:
        alice = await world.signed_in("alice")
        await world.people.administration.delete_account(alice, ALICE)
        await world.people.administration.set_active(world.operator, alice.user_id, True)
        world.clock.advance(DELETION_GRACE.total_seconds())
        await world.people.administration.prune()
        assert (await world.people.accounts.login(ALICE, PASSWORD, HERE)).session.team_id == alice.team_id

    async def test_teams_of_others_are_not_left_without_an_owner(self, world: World) -> None:
        alice = await world.signed_in("alice")
        bob = await world.user("bob")
        await world.people.teams.add(alice, bob.email)
        with pytest.raises(OwnsTeams):
            await world.people.administration.delete_account(alice, ALICE)
        await world.people.teams.change(alice, bob.id, world.operator.role)  # type: ignore[arg-type]
        await world.people.administration.delete_account(alice, ALICE)
        assert [one.user.id for one in await world.people.teams.members(alice)] == [bob.id]

    async def test_a_deactivated_user_is_out_at_once(self, world: World) -> None:
        alice = await world.user("alice")
        signed = await world.login(alice)
        key = await world.access.create_key(await world.principal(signed), "mine")
        assert (await world.access.authenticate(key.secret)).user_id == alice.id
        await world.people.administration.set_active(world.operator, alice.id, False)
        with pytest.raises(SessionRequired):
            await world.principal(signed)
        with pytest.raises(Unauthorized):
            await world.access.authenticate(key.secret)
        with pytest.raises(WrongPassword):
            await world.login(alice)
        await world.people.administration.set_active(world.operator, alice.id, True)
        assert (await world.access.authenticate(key.secret)).user_id == alice.id

    async def test_one_administrator_stays(self, world: World) -> None:
        root = await world.signed_in("root", admin=True)
        admin = world.people.administration
        for shut in (admin.set_admin, admin.set_active):
            with pytest.raises(LastAdministrator):
                await shut(root, root.user_id, False)
        with pytest.raises(LastAdministrator):
            await admin.delete_account(root, "root@example.com")
        other = await world.user("other")
        await admin.set_admin(root, other.id, True)
        await admin.set_admin(root, root.user_id, False)
        with pytest.raises(Forbidden):
            await admin.users(await world.again(root))

    async def test_the_servers_own_user_stays_as_it_is(self, world: World) -> None:
        admin = world.people.administration
        with pytest.raises(Forbidden):
            await admin.set_active(world.operator, world.operator.user_id, False)
        with pytest.raises(Forbidden):
            await admin.delete_team(world.operator, world.operator.team_id)
        with pytest.raises(SessionRequired):
            await admin.delete_account(world.operator, "admin@localhost")

    async def test_nobody_else_administers(self, world: World) -> None:
        alice = await world.signed_in("alice")
        admin = world.people.administration
        for asked in (
            admin.users(alice),
            admin.teams(alice),
            admin.set_admin(alice, alice.user_id, True),
            admin.set_active(alice, world.operator.user_id, False),
            admin.delete_team(alice, world.operator.team_id),
            admin.set_password(alice, alice.user_id, "a new password"),
        ):
            with pytest.raises(Forbidden):
                await asked
