"""What must not be answered with success: in this API's envelope, whatever goes wrong."""

import secrets
from typing import Any

import pytest

from moonpool.access.model import Scope
from moonpool.dialects.codesandbox.pitcher.tokens import Tokens
from moonpool.sandboxes.model import NewSandbox
from tests.contract.codesandbox.conftest import KEY, OPERATIONS, Api, client

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATH = {
    "id": "x" * 20,
    "team_id": "t",
    "token_id": "k",
    "namespace": "n",
    "alias": "a",
}
PUBLIC = {"meta/info"}
OF_ONE_SANDBOX = [name for name, (_, path) in OPERATIONS.items() if "{id}" in path]
BODIES = {
    "vm/update_specs": {"tier": "Pico"},
    "vm/update_hibernation_timeout": {"hibernation_timeout_seconds": 5},
    "vm/create_session": {"session_id": "a", "permission": "read"},
}


def with_body(operation: str) -> dict[str, Any]:
    method, _ = OPERATIONS[operation]
    return {} if method in ("GET", "DELETE") else {"json": BODIES.get(operation, {})}


def check(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"success", "errors"}
    assert body["success"] is False
    text: str = body["errors"][0]
    assert isinstance(text, str)
    return text


async def test_without_a_key(nobody: Api, app: Any) -> None:
    for operation in OPERATIONS.keys() - PUBLIC:
        answer = await nobody.send(operation, path=PATH)
        check(answer, 401)
        assert "x-csb-rate-hourly-limit" not in answer.headers
    async with client(app, "wrong-key-of-somebody") as http:
        check(await http.get("/sandbox"), 401)


@pytest.mark.parametrize("operation", OF_ONE_SANDBOX)
async def test_unknown_and_others_sandboxes(api: Api, stranger: Api, sandbox: str, operation: str) -> None:
    request = with_body(operation)
    for unknown in (PATH["id"], "%00", "x" * 5000, "ä"):
        check(await api.send(operation, path={**PATH, "id": unknown}, **request), 404)
    check(await stranger.send(operation, path={**PATH, "id": sandbox}, **request), 404)
    assert (await api.call("sandbox/get", path={"id": sandbox}))["id"] == sandbox


async def test_unknown_paths_and_methods(api: Api) -> None:
    for method, path, status in (
        ("GET", "/sandbox/a/b/c", 404),
        ("GET", "/vm", 404),
        ("GET", "/vm/nowhere", 405),
        ("DELETE", "/templates", 405),
        ("PUT", "/sandbox", 405),
        ("GET", "/sandbox/", 404),
        ("POST", "/workspace/other", 404),
        ("POST", "/vm/a/hibernated", 404),
    ):
        assert path in check(await api.http.request(method, path), status)


BAD_BODIES = [
    b"{",
    b"[]",
    b"null",
    b"\xff",
    b"[" * 100_000,
    b'{"title": 5}',
    b'{"title": "' + b"x" * 256 + b'"}',
    b'{"description": "' + b"x" * 256 + b'"}',
    b'{"privacy": "2"}',
    b'{"privacy": 3}',
    b'{"privacy": -1}',
    b'{"privacy": 1e99}',
    b'{"tags": "sdk"}',
    b'{"tags": [""]}',
    b'{"tags": ["' + b"x" * 257 + b'"]}',
    b'{"title": "a\\u0000b"}',
    b'{"title": "\\ud800"}',
    b'{"start_options": {"tier": "Huge"}}',
    b'{"start_options": {"hibernation_timeout_seconds": 0}}',
    b'{"start_options": {"hibernation_timeout_seconds": 86401}}',
    b'{"start_options": {"ipcountry": "nl"}}',
    b'{"start_options": {"automatic_wakeup_config": {"http": "yes"}}}',
    b'{"start_options": {"tier": "XLarge"}}',
]


async def test_bad_forks_make_nothing(api: Api) -> None:
    for body in BAD_BODIES:
        check(await api.http.post("/sandbox/pcz35m/fork", content=body), 422)
    assert (await api.call("sandbox/list"))["sandboxes"] == []


async def test_bad_starts_change_nothing(api: Api, core: Any, sandbox: str) -> None:
    before = core.sandboxes.peek(sandbox)
    for body in (
        {"tier": "huge"},
        {"tier": 5},
        {"hibernation_timeout_seconds": 0},
        {"hibernation_timeout_seconds": "60"},
        {"hibernation_timeout_seconds": 86401},
        {"ipcountry": "NLD"},
        {"automatic_wakeup_config": []},
    ):
        await api.call("vm/start", 422, path={"id": sandbox}, json=body)
    for body in ({}, {"tier": None}, {"tier": "pico"}):
        await api.call("vm/update_specs", 422, path={"id": sandbox}, json=body)
    for body in ({}, {"hibernation_timeout_seconds": 0}, {"hibernation_timeout_seconds": 1.5}):
        await api.call("vm/update_hibernation_timeout", 422, path={"id": sandbox}, json=body)
    assert core.sandboxes.peek(sandbox) == before


async def test_bad_lists(api: Api) -> None:
    for query in (
        "page=0",
        "page=x",
        "page=99999999999999999999",
        "page_size=0",
        "page_size=51",
        "order_by=name",
        "direction=up",
        "status=stopped",
        "tags=%00",
    ):
        check(await api.http.get(f"/sandbox?{query}"), 422)


async def test_bad_templates(api: Api, sandbox: str) -> None:
    for body in ({}, {"forkOf": 5}, {"forkOf": "pcz35m", "title": "x" * 256}):
        await api.call("templates/create", 422, json=body)
    await api.call("templates/create", 404, json={"forkOf": "nowhere"})
    for body, status in (({}, 422), ({"vm_ids": []}, 422), ({"vm_ids": ["nowhere"]}, 404)):
        await api.call("vm/create_tag", status, json=body)
    await api.call("vm/create_tag", 422, json={"vm_ids": [sandbox] * 101})
    tag = (await api.call("vm/create_tag", json={"vm_ids": [sandbox, sandbox]}))["tag_id"]
    for namespace, alias in (("a b", "c"), ("a", "x" * 65), ("a.b", "c")):
        named = {"namespace": namespace, "alias": alias}
        await api.call("vm/assign_tag_alias", 422, path=named, json={"tag_id": tag})
    for unknown in ("pt_nowhere", "", "x" * 3000):
        await api.call("vm/assign_tag_alias", 404, path={"namespace": "a", "alias": "b"}, json={"tag_id": unknown})


async def test_dates_beyond_the_calendar(api: Api, sandbox: str) -> None:
    """A zone can push a date out of every year that there is."""
    team = {"team_id": (await api.call("meta/info"))["auth"]["team"]}
    key = await api.call("token/create", 201, path=team, json={})
    here = {"id": sandbox}
    token = (await api.call("preview_token/create", 201, path=here, json={}))["token"]
    for date in ("9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"):
        body = {"expires_at": date}
        await api.call("preview_token/create", 422, path=here, json=body)
        await api.call("preview_token/update", 422, path={**here, "token_id": token["token_id"]}, json=body)
        await api.call("token/create", 422, path=team, json=body)
        await api.call("token/update", 422, path={**team, "token_id": key["token_id"]}, json=body)
    last = {"expires_at": "9999-12-31T23:59:59.999999Z"}
    await api.call("preview_token/update", 201, path={**here, "token_id": token["token_id"]}, json=last)
    await api.call("preview_token/list", 201, path=here)


async def test_too_large_bodies(api: Api) -> None:
    body = b'{"title": "' + b"x" * (33 << 20) + b'"}'
    assert "32 MiB" in check(await api.http.post("/sandbox", content=body), 413)


async def test_keys_that_may_less(api: Api, app: Any, core: Any, sandbox: str) -> None:
    admin = await core.access.authenticate(KEY)
    name = f"reader {secrets.token_hex(4)}"
    made = await core.access.create_key(admin, name, {Scope.SANDBOXES_READ, Scope.SNAPSHOTS_READ})
    async with client(app, made.secret) as http:
        reader = Api(http)
        await reader.call("sandbox/get", path={"id": sandbox})
        assert (await reader.call("meta/info"))["auth"]["scopes"] == ["sandbox_read"]
        services = core.services
        token = (await reader.start(sandbox))["pitcher_token"]
        assert Tokens(services.server.signing_key, services.clock).verify(token, sandbox).permission == "read"
        for operation in ("vm/hibernate", "vm/shutdown", "vm/delete", "sandbox/fork", "vm/create_session"):
            await reader.call(operation, 403, path={"id": sandbox}, **with_body(operation))
        await reader.call("vm/start", 403, path={"id": sandbox}, json={"tier": "Pico"})
        foreign = await core.sandboxes.create(admin, NewSandbox(snapshot="minimal"))
        assert (await reader.start(foreign.id))["bootup_type"] == "RUNNING"
        await api.call("vm/hibernate", path={"id": sandbox})
        for operation in ("vm/start", "vm/hibernate"):
            await reader.call(operation, 403, path={"id": sandbox})
        await reader.call("preview_token/create", 403, path={"id": sandbox})
        await reader.call("preview_host/update", 403, json={"hosts": []})
        await reader.call("vm/create_tag", 403, json={"vm_ids": [sandbox]})


async def test_an_unexpected_error_tells_no_internals(api: Api, machines: Any, sandbox: str) -> None:
    machines.fail("pause", RuntimeError("secret detail"))
    text = check(await api.send("vm/hibernate", path={"id": sandbox}), 500)
    assert "secret" not in text
    assert "request" in text
