"""Preview tokens and trusted hosts."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

pytestmark = pytest.mark.asyncio(loop_scope="module")


def soon(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


async def test_a_token_is_shown_once_and_kept_hashed(api: Any, core: Any, sandbox: str) -> None:
    here = {"id": sandbox}
    made = await api.call("preview_token/create", 201, path=here, json={"expires_at": "2090-01-01T00:00:00Z"})
    token = made["token"]
    assert made["sandbox_id"] == sandbox
    assert token["token"].startswith("prv_v1_")
    assert len(token["token"]) > 40
    assert token["token"].startswith(token["token_prefix"])
    assert token["token_id"].startswith("prv_")
    assert (token["expires_at"], token["last_used_at"]) == ("2090-01-01T00:00:00.000Z", None)
    (listed,) = (await api.call("preview_token/list", 201, path=here))["tokens"]
    assert listed == {name: value for name, value in token.items() if name != "token"}
    async with core.access._store.reading() as connection:
        rows = (await connection.execute(text("SELECT * FROM preview_tokens"))).all()
    assert rows
    assert token["token"] not in str(rows)


async def test_tokens_without_end(api: Any, sandbox: str) -> None:
    here = {"id": sandbox}
    for body in ({}, {"expires_at": None}):
        made = (await api.call("preview_token/create", 201, path=here, json=body))["token"]
        assert made["expires_at"] is None
    assert len((await api.call("preview_token/list", 201, path=here))["tokens"]) == 2


async def test_expiry_is_changed_and_taken_away(api: Any, clock: Any, sandbox: str) -> None:
    here = {"id": sandbox}
    made = (await api.call("preview_token/create", 201, path=here, json={"expires_at": soon(60)}))["token"]
    one = {**here, "token_id": made["token_id"]}
    later = await api.call("preview_token/update", 201, path=one, json={"expires_at": "2091-01-01T00:00:00Z"})
    assert later["token"]["expires_at"] == "2091-01-01T00:00:00.000Z"
    # The SDK sends nothing at all where its user says null.
    assert (await api.call("preview_token/update", 201, path=one, json={}))["token"]["expires_at"] is None
    (listed,) = (await api.call("preview_token/list", 201, path=here))["tokens"]
    assert listed["expires_at"] is None


async def test_a_revoked_token_is_gone_for_good(api: Any, sandbox: str) -> None:
    here = {"id": sandbox}
    made = [(await api.call("preview_token/create", 201, path=here, json={}))["token"] for _ in range(3)]
    one = {**here, "token_id": made[0]["token_id"]}
    await api.call("preview_token/update", 201, path=one, json={"expires_at": soon(-1)})
    left = (await api.call("preview_token/list", 201, path=here))["tokens"]
    assert {token["token_id"] for token in left} == {token["token_id"] for token in made[1:]}
    await api.call("preview_token/update", 404, path=one, json={"expires_at": soon(60)})
    assert await api.call("preview_token/revoke_all", path=here) == {}
    assert (await api.call("preview_token/list", 201, path=here))["tokens"] == []


async def test_an_expired_token_is_gone(api: Any, clock: Any, sandbox: str) -> None:
    here = {"id": sandbox}
    await api.call("preview_token/create", 201, path=here, json={"expires_at": soon(3600)})
    clock.shift += 4000
    assert (await api.call("preview_token/list", 201, path=here))["tokens"] == []
    clock.shift -= 4000


async def test_who_may_not(api: Any, stranger: Any, sandbox: str) -> None:
    here = {"id": sandbox}
    made = (await api.call("preview_token/create", 201, path=here, json={}))["token"]
    await stranger.call("preview_token/list", 404, path=here)
    await stranger.call("preview_token/create", 404, path=here, json={})
    await stranger.call("preview_token/revoke_all", 404, path=here)
    other = {"id": await stranger.fork(), "token_id": made["token_id"]}
    await stranger.call("preview_token/update", 404, path=other, json={})
    assert len((await api.call("preview_token/list", 201, path=here))["tokens"]) == 1
    await stranger.call("vm/delete", path={"id": other["id"]})


async def test_bad_tokens(api: Any, sandbox: str) -> None:
    here = {"id": sandbox}
    for body in ({"expires_at": soon(-1)}, {"expires_at": "tomorrow"}, {"expires_at": 5}):
        await api.call("preview_token/create", 422, path=here, json=body)
    for token_id in ("prv_nowhere", "%00", "x" * 3000):
        await api.call("preview_token/update", 404, path={**here, "token_id": token_id}, json={})


async def test_hosts(api: Any, stranger: Any) -> None:
    first = await api.call("preview_host/update", 201, json={"hosts": ["https://b.test", " a.test "]})
    assert [host["host"] for host in first["preview_hosts"]] == ["https://b.test", "a.test"]
    added = await api.call("preview_host/create", 201, json={"hosts": ["a.test", "c.test:8080"]})
    assert [host["host"] for host in added["preview_hosts"]] == ["https://b.test", "a.test", "c.test:8080"]
    replaced = await api.call("preview_host/update", 201, json={"hosts": ["c.test:8080", "a.test"]})
    dates = {host["host"]: host["inserted_at"] for host in added["preview_hosts"]}
    assert {host["host"]: host["inserted_at"] for host in replaced["preview_hosts"]}.items() <= dates.items()
    assert (await api.call("preview_host/list", 201)) == replaced
    assert (await stranger.call("preview_host/list", 201))["preview_hosts"] == []
    await api.call("preview_host/update", 201, json={"hosts": []})


async def test_bad_hosts(api: Any) -> None:
    for hosts in (
        [""],
        ["a b"],
        ["x" * 256],
        ["a\nb"],
        ["a\u0000b"],
        [5],
        "a.test",
        [f"h{n}.test" for n in range(101)],
    ):
        await api.call("preview_host/update", 422, json={"hosts": hosts})
    await api.call("preview_host/create", 422, json={})
    assert (await api.call("preview_host/list", 201))["preview_hosts"] == []
