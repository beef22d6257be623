"""Rate limits: counted, told and enforced; what the API says of itself; and workspaces' tokens."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.contract.codesandbox.conftest import KEY, Api, client

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOUR = 3600


def remaining(answer: Any, name: str) -> int:
    return int(answer.headers[f"x-csb-{name}-remaining"])


async def test_meta_needs_no_key(nobody: Api, app: Any) -> None:
    assert await nobody.call("meta/info") == {
        "api": {"name": "CodeSandbox API, by Moonpool", "latest_version": "2023-07-01"}
    }
    async with client(app, "no-key-of-ours") as http:
        assert set(await Api(http).call("meta/info")) == {"api"}


@asynccontextmanager
async def limited(core: Any, key: str = KEY, **figures: int) -> AsyncIterator[None]:
    """The team of this key has these limits meanwhile."""
    team = (await core.access.authenticate(key)).team_id
    await core.access.limits.change(team, figures)
    yield
    await core.access.limits.change(team, {}, drop=frozenset(figures))


async def test_meta_with_a_key(api: Api, core: Any, sandbox: str) -> None:
    async with limited(core, requests_hourly=36, creates_hourly=10):
        info = await api.call("meta/info")
        principal = await core.access.authenticate(KEY)
        assert info["auth"]["team"] == principal.team_id
        assert "vm_manage" in info["auth"]["scopes"]
        limits = info["rate_limits"]
        assert limits["concurrent_vms"] == {"limit": 40, "remaining": 39}
        assert limits["sandboxes_hourly"]["limit"] == 10
        await api.fork()
        again = (await api.call("meta/info"))["rate_limits"]
        assert again["sandboxes_hourly"]["remaining"] == limits["sandboxes_hourly"]["remaining"] - 1
        assert again["requests_hourly"]["remaining"] < limits["requests_hourly"]["remaining"]


async def test_without_limits(api: Api, core: Any) -> None:
    """Clients expect numbers all the same."""
    team = (await core.access.authenticate(KEY)).team_id
    lifted = {"requests_hourly": None, "creates_hourly": None, "sandboxes": None}
    await core.access.limits.change(team, lifted)
    limits = (await api.call("meta/info"))["rate_limits"]
    assert limits["requests_hourly"]["remaining"] == limits["requests_hourly"]["limit"] > 1_000_000
    assert limits["concurrent_vms"] == {"limit": 8190, "remaining": 8190}
    await core.access.limits.change(team, {}, drop=frozenset(lifted))


async def test_requests_of_an_hour(app: Any, core: Any, clock: Any) -> None:
    async with limited(core, requests_hourly=3), client(app, KEY) as http:
        left = [remaining(await http.get("/sandbox"), "rate-hourly") for _ in range(3)]
        assert left == [2, 1, 0]
        refused = await http.get("/sandbox")
        assert refused.status_code == 429
        assert "All 3 requests of an hour are used" in refused.json()["errors"][0]
        assert 0 < int(refused.headers["retry-after"]) <= HOUR / 3
        assert remaining(refused, "rate-hourly") == 0
        assert refused.headers["x-csb-rate-hourly-used"] == "3"
        reset = int(refused.headers["x-csb-rate-hourly-reset"])
        assert 0 < reset - clock.now().timestamp() <= HOUR + 1
        clock.shift += HOUR
        assert (await http.get("/sandbox")).status_code == 200
    clock.shift += HOUR


async def test_limits_are_each_teams_own(app: Any, core: Any, stranger_key: str, clock: Any) -> None:
    async with limited(core, requests_hourly=1), client(app, KEY) as http, client(app, stranger_key) as other:
        assert [(await http.get("/sandbox")).status_code for _ in range(2)] == [200, 429]
        assert (await other.get("/sandbox")).status_code == 200
    clock.shift += HOUR


async def test_sandboxes_of_an_hour(api: Api, app: Any, core: Any, clock: Any) -> None:
    async with limited(core, creates_hourly=1), client(app, KEY) as http:
        for status in (201, 429):
            answer = await http.post("/sandbox/pcz35m/fork", json={})
            assert answer.status_code == status
            assert remaining(answer, "sandbox-hourly") == 0
        answer = await http.post("/sandbox", json={"files": {}})
        assert answer.status_code == 429
    clock.shift += HOUR


async def test_running_ones(api: Api, core: Any, sandbox: str) -> None:
    """Those that hibernate hold no place."""
    async with limited(core, running=1):
        refused = await api.send("sandbox/fork", path={"id": "pcz35m"}, json={})
        assert (refused.status_code, refused.headers["x-csb-vms-limit"]) == (429, "1")
        assert remaining(refused, "vms") == 0
        await api.call("vm/hibernate", path={"id": sandbox})
        await api.fork()
        await api.call("vm/start", 429, path={"id": sandbox}, json={})


async def test_as_many_as_the_server_allows(api: Api) -> None:
    """The SDK makes a message of these headers: "0 of 40 concurrently running vms remaining"."""
    for _ in range(40):
        await api.fork()
    refused = await api.send("sandbox/fork", path={"id": "pcz35m"}, json={})
    assert refused.status_code == 429
    assert "40 sandboxes" in refused.json()["errors"][0]
    assert (remaining(refused, "vms"), refused.headers["x-csb-vms-used"]) == (0, "40")
    info = await api.call("meta/info")
    assert info["rate_limits"]["concurrent_vms"] == {"limit": 40, "remaining": 0}


async def test_tokens_of_the_workspace(api: Api, app: Any, sandbox: str) -> None:
    team = {"team_id": (await api.call("meta/info"))["auth"]["team"]}
    body = {"description": "reads", "scopes": ["sandbox_read"], "expires_at": "2090-01-01T00:00:00Z"}
    made = await api.call("token/create", 201, path=team, json={**body, "default_version": "2023-07-01"})
    assert (made["description"], made["scopes"], made["team_id"]) == ("reads", ["sandbox_read"], team["team_id"])
    assert made["expires_at"] == "2090-01-01T00:00:00.000Z"
    one = {**team, "token_id": made["token_id"]}
    async with client(app, made["token"]) as http:
        reader = Api(http)
        await reader.call("sandbox/get", path={"id": sandbox})
        await reader.call("vm/hibernate", 403, path={"id": sandbox})
        changed = await api.call("token/update", 201, path=one, json={"scopes": ["vm_manage"], "expires_at": None})
        assert changed["expires_at"] is None
        assert changed["description"] == "reads"
        assert "vm_manage" in changed["scopes"]
        await reader.call("vm/hibernate", path={"id": sandbox})
        await reader.call("token/create", 403, path=team, json={})
        ended = await api.call("token/update", 201, path=one, json={"expires_at": "2020-01-01T00:00:00Z"})
        assert ended["expires_at"] == "2020-01-01T00:00:00.000Z"
        await reader.call("sandbox/get", 401, path={"id": sandbox})


async def test_tokens_without_a_description(api: Api) -> None:
    team = {"team_id": (await api.call("meta/info"))["auth"]["team"]}
    made = [await api.call("token/create", 201, path=team) for _ in range(2)]
    assert made[0]["description"] != made[1]["description"]
    assert made[0]["scopes"] == ["sandbox_create", "sandbox_edit_code", "sandbox_read", "vm_manage"]


async def test_bad_tokens(api: Api, stranger: Api) -> None:
    team = {"team_id": (await api.call("meta/info"))["auth"]["team"]}
    await api.call("token/create", 201, path=team, json={"description": "taken"})
    await api.call("token/create", 409, path=team, json={"description": "taken"})
    for body in (
        {"scopes": ["all"]},
        {"scopes": "sandbox_read"},
        {"expires_at": "2020-01-01T00:00:00Z"},
        {"expires_at": "soon"},
        {"default_version": "2020-01-01"},
        {"description": "x" * 256},
    ):
        await api.call("token/create", 422, path=team, json=body)
    await stranger.call("token/create", 404, path=team, json={})
    await api.call("token/update", 404, path={**team, "token_id": "nowhere"}, json={})
    await api.call("token/update", 404, path={"team_id": "ws_1", "token_id": "nowhere"}, json={})
