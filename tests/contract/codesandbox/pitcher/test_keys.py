"""What a key's end means to clients whom it let in."""

import secrets
from contextlib import AsyncExitStack

import httpx
import pytest
import websockets

from moonpool.access.model import ALL_SCOPES, KeyChange, Principal, Scope
from moonpool.access.service import AccessService
from tests.contract.codesandbox.pitcher.conftest import Refused, World, each, shared

pytestmark = pytest.mark.asyncio(loop_scope="module")

NO_ACCESS = 2
POLICY_VIOLATION = 1008


@shared
async def sandbox(world: World) -> str:
    return await world.sandbox()


@each
async def key_id(world: World) -> str:
    name = f"key {secrets.token_hex(4)}"
    return (await world.core.access.create_key(world.principal, name, ALL_SCOPES)).key.id


async def refusal(world: World, sandbox: str, token: str) -> int:
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with world.connected(sandbox, token):
            pass
    return refused.value.response.status_code


async def test_a_revoked_key_lets_nobody_in(world: World, sandbox: str, key_id: str) -> None:
    token = world.token(sandbox, key_id=key_id)
    async with world.connected(sandbox, token) as peer:
        await peer.call("fs/writeFile", path="kept.txt", content=b"x", create=True)
        offered = (await peer.call("fs/download", path="kept.txt"))["downloadUrl"]
        await world.core.access.revoke_key(world.principal, key_id)
        await peer.heard("closed")
        assert peer.socket.close_code == POLICY_VIOLATION
    assert await refusal(world, sandbox, token) == 401
    async with httpx.AsyncClient(trust_env=False) as http:
        assert (await http.get(offered)).status_code == 403


async def test_a_key_named_like_a_revoked_one_does_not_stand_in_for_it(world: World, sandbox: str, key_id: str) -> None:
    await world.core.access.revoke_key(world.principal, key_id)
    await world.core.access.create_key(world.principal, key_id)
    assert await refusal(world, sandbox, world.token(sandbox, key_id=key_id)) == 401


async def test_a_key_that_may_only_read_from_now_on(world: World, sandbox: str, key_id: str) -> None:
    token = world.token(sandbox, key_id=key_id)
    async with world.connected(sandbox, token) as peer:
        await world.core.access.update_key(world.principal, key_id, KeyChange(scopes=frozenset({Scope.SANDBOXES_READ})))
        await peer.heard("closed")
    async with world.connected(sandbox, token) as peer:
        await peer.call("fs/readdir", path="/")
        with pytest.raises(Refused) as refused:
            await peer.call("fs/mkdir", path="made")
        assert refused.value.code == NO_ACCESS
    await world.core.access.update_key(world.principal, key_id, KeyChange(scopes=frozenset({Scope.KEYS_READ})))
    assert await refusal(world, sandbox, token) == 403


async def test_an_expired_key(world: World, sandbox: str, key_id: str) -> None:
    past = world.core.services.clock.now()
    await world.core.access.update_key(world.principal, key_id, KeyChange(expires_at=past, set_expiry=True))
    assert await refusal(world, sandbox, world.token(sandbox, key_id=key_id)) == 401


async def test_a_new_name_changes_nothing(world: World, sandbox: str, key_id: str) -> None:
    async with world.connected(sandbox, world.token(sandbox, key_id=key_id)) as peer:
        await world.core.access.update_key(world.principal, key_id, KeyChange(name=f"new {key_id}"))
        assert await peer.call("shell/list") == {"shells": []}


async def test_a_key_is_asked_about_once_for_all_who_came_with_it(
    world: World, sandbox: str, key_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, asked = world.token(sandbox, key_id=key_id), []
    still = AccessService.still

    async def counted(self: AccessService, team_id: str, key: str) -> Principal:
        asked.append(key)
        return await still(self, team_id, key)

    monkeypatch.setattr(AccessService, "still", counted)
    async with AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(world.connected(sandbox, token)) for _ in range(5)]
        for peer in peers:
            await peer.call("shell/list")
        at_the_door = len(asked)
        await world.core.access.update_key(world.principal, key_id, KeyChange(name=f"new {key_id}"))
        for peer in peers:
            assert await peer.call("shell/list") == {"shells": []}
        assert 5 < at_the_door < 5 + 5, "each once when it came, and then one for all"
        assert 0 < len(asked) - at_the_door < 5
        await world.core.access.revoke_key(world.principal, key_id)
        for peer in peers:
            await peer.heard("closed")
            assert peer.socket.close_code == POLICY_VIOLATION
