from datetime import timedelta

import pytest

from moonpool.access.people import SESSION_IDLE, SESSION_LIFETIME, Client
from moonpool.errors import CsrfRefused, SessionNotFound, SessionRequired, TeamNotFound
from tests.unit.access.conftest import PASSWORD, World


async def test_each_login_is_a_session_of_its_own(world: World) -> None:
    alice = await world.user("alice")
    first, second = await world.login(alice), await world.login(alice)
    assert first.token != second.token
    assert {one.id for one in await world.people.sessions.list(await world.principal(first))} == {
        first.session.id,
        second.session.id,
    }


async def test_an_idle_one_ends_and_use_keeps_it(worlds: World) -> None:
    signed = await worlds.login(await worlds.user("alice"))
    idle = SESSION_IDLE - timedelta(minutes=1)
    for _ in range(3):
        worlds.clock.advance(idle.total_seconds())
        await worlds.principal(signed)
    worlds.clock.advance(SESSION_IDLE.total_seconds())
    with pytest.raises(SessionRequired):
        await worlds.principal(signed)


async def test_none_outlives_its_day(world: World) -> None:
    signed = await world.login(await world.user("alice"))
    hours = int(SESSION_LIFETIME.total_seconds()) // 3600
    for _ in range(hours - 1):
        world.clock.advance(3600)
        await world.principal(signed)
    world.clock.advance(3600)
    with pytest.raises(SessionRequired):
        await world.principal(signed)
    await world.people.sessions.prune()


async def test_revoked_ones_end_at_once_and_strangers_cannot(world: World) -> None:
    alice, bob = await world.user("alice"), await world.signed_in("bob")
    first, second = await world.login(alice), await world.login(alice)
    principal = await world.principal(first)
    for session_id in (second.session.id, "none", "\0"):
        with pytest.raises(SessionNotFound):
            await world.people.sessions.revoke(bob, session_id)
    await world.people.sessions.revoke(principal, second.session.id)
    with pytest.raises(SessionRequired):
        await world.principal(second)
    await world.people.sessions.end(principal)
    with pytest.raises(SessionRequired):
        await world.principal(first)


async def test_all_end_together(world: World) -> None:
    alice = await world.user("alice")
    signed = [await world.login(alice) for _ in range(3)]
    await world.people.sessions.end_all(await world.principal(signed[0]))
    for one in signed:
        with pytest.raises(SessionRequired):
            await world.principal(one)


async def test_another_team_has_a_new_token_and_the_old_one_is_none(world: World) -> None:
    signed = await world.login(await world.user("alice"))
    principal = await world.principal(signed)
    made = await world.people.teams.create(principal, "Second")
    switched = await world.people.sessions.switch(principal, made.team.id)
    with pytest.raises(SessionRequired):
        await world.principal(signed)
    now = await world.principal(switched)
    assert (now.team_id, now.session_id) == (made.team.id, principal.session_id)
    assert switched.session.expires_at == signed.session.expires_at
    stranger = await world.signed_in("bob")
    for team_id in (made.team.id, "none", "\0"):
        with pytest.raises(TeamNotFound):
            await world.people.sessions.switch(stranger, team_id)
    assert (await world.again(now)).team_id == made.team.id  # Where the user was last.


async def test_a_csrf_token_is_of_one_session(world: World) -> None:
    alice = await world.user("alice")
    sessions = world.people.sessions
    first, second = (await world.login(alice)).token, (await world.login(alice)).token
    sessions.check_csrf(first, sessions.csrf(first), sessions.csrf(first))
    for cookie, sent in (
        (sessions.csrf(first), ""),
        ("", sessions.csrf(first)),
        ("", ""),
        (sessions.csrf(second), sessions.csrf(second)),
        ("planted", "planted"),
        (sessions.csrf(first), "é\ud800"),
    ):
        with pytest.raises(CsrfRefused):
            sessions.check_csrf(first, cookie, sent)


async def test_what_is_no_token_is_refused(world: World) -> None:
    for token in ("", "x" * 5000, "\0", "\ud800", "mp_key"):
        with pytest.raises(SessionRequired):
            await world.people.sessions.authenticate(token)


async def test_what_a_browser_says_of_itself_is_cut(world: World) -> None:
    alice = await world.user("alice")
    agent = "x" * 10_000
    signed = await world.people.accounts.login(alice.email, PASSWORD, Client("::1", agent))
    assert len(signed.session.user_agent) < 1000
    assert (await world.people.accounts.login(alice.email, PASSWORD, Client("::1", "\0"))).session.user_agent == ""
