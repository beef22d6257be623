"""Preview tokens and trusted hosts, on a database of each kind."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from moonpool.access.model import Principal, Scope
from moonpool.errors import Forbidden, InvalidInput, PreviewTokenNotFound, SandboxNotFound
from moonpool.previews.service import digest_of
from moonpool.store.tables import preview_tokens
from tests.unit.sandboxes.conftest import STRANGER, World, world

__all__ = ["world"]

READER_SCOPES = frozenset({Scope.SANDBOXES_READ})


def reader(world: World) -> Principal:
    return Principal(world.admin.team_id, world.admin.user_id, None, READER_SCOPES)


async def stored_digests(world: World) -> set[str]:
    async with world.store.reading() as connection:
        return {row.digest for row in await connection.execute(select(preview_tokens.c.digest))}


async def test_the_life_of_a_token(world: World) -> None:
    previews, sandbox = world.core.previews, (await world.create()).id
    soon = world.clock.now() + timedelta(seconds=60)
    made = await previews.create_token(world.admin, sandbox, soon)
    assert await stored_digests(world) == {digest_of(made.secret)}
    assert await previews.list_tokens(world.admin, sandbox) == [made.token]
    later = await previews.set_token_expiry(world.admin, sandbox, made.token.id, soon + timedelta(seconds=60))
    world.clock.advance(90)
    assert await previews.list_tokens(world.admin, sandbox) == [later]
    forever = await previews.set_token_expiry(world.admin, sandbox, made.token.id, None)
    world.clock.advance(10**6)
    assert await previews.list_tokens(world.admin, sandbox) == [forever]
    await previews.set_token_expiry(world.admin, sandbox, made.token.id, world.clock.now())
    assert await previews.list_tokens(world.admin, sandbox) == []
    with pytest.raises(PreviewTokenNotFound):
        await previews.set_token_expiry(world.admin, sandbox, made.token.id, None)


async def test_what_has_expired_is_swept_up(world: World) -> None:
    previews, sandbox = world.core.previews, (await world.create()).id
    await previews.create_token(world.admin, sandbox, world.clock.now() + timedelta(seconds=1))
    world.clock.advance(2)
    made = await previews.create_token(world.admin, sandbox, None)
    assert await stored_digests(world) == {digest_of(made.secret)}


async def test_tokens_go_with_their_sandbox(world: World) -> None:
    sandbox = (await world.create()).id
    await world.core.previews.create_token(world.admin, sandbox, None)
    await world.sandboxes.destroy(world.admin, sandbox)
    with pytest.raises(SandboxNotFound):
        await world.core.previews.list_tokens(world.admin, sandbox)
    world.clock.advance(25 * 3600)
    await world.core.records.prune()
    assert await stored_digests(world) == set()


async def test_who_may_not(world: World) -> None:
    previews, sandbox = world.core.previews, (await world.create()).id
    made = await previews.create_token(world.admin, sandbox, None)
    assert await previews.list_tokens(reader(world), sandbox) == [made.token]
    for who, refusal in ((reader(world), Forbidden), (STRANGER, SandboxNotFound)):
        with pytest.raises(refusal):
            await previews.create_token(who, sandbox, None)
        with pytest.raises(refusal):
            await previews.set_token_expiry(who, sandbox, made.token.id, None)
        with pytest.raises(refusal):
            await previews.revoke_tokens(who, sandbox)
    with pytest.raises(Forbidden):
        await previews.replace_hosts(reader(world), ["a.test"])
    with pytest.raises(InvalidInput):
        await previews.create_token(world.admin, sandbox, world.clock.now())


async def test_hosts_keep_their_order_and_dates(world: World) -> None:
    previews = world.core.previews
    first = await previews.replace_hosts(world.admin, ["b.test", "a.test", "b.test"])
    assert [host.host for host in first] == ["b.test", "a.test"]
    world.clock.advance(5)
    await previews.add_hosts(world.admin, ["c.test", "a.test"])
    listed = await previews.list_hosts(reader(world))
    assert [host.host for host in listed] == ["b.test", "a.test", "c.test"]
    assert [host.created_at for host in listed[:2]] == [host.created_at for host in first]
    assert listed[2].created_at == world.clock.now()
    await previews.replace_hosts(world.admin, [])
    assert await previews.list_hosts(world.admin) == []
