"""Every operation of the contract is answered on purpose, as the contract says."""

import re
from typing import Any

import pytest
from fastapi.routing import APIRoute

from moonpool.dialects.codesandbox import ROUTERS
from tests.contract.codesandbox.conftest import OPERATIONS

pytestmark = pytest.mark.asyncio(loop_scope="module")

SOON = "2090-01-01T00:00:00.000Z"


async def test_every_operation(api: Any) -> None:
    """The life of a sandbox, a template and their tokens."""
    created = await api.call(
        "sandbox/create", 201, json={"files": {"a.txt": {"code": "a"}}, "title": "A b", "runtime": "vm"}
    )
    assert created == {"id": created["id"], "alias": f"a-b-{created['id']}", "title": "A b"}
    forked = await api.call("sandbox/fork", 201, path={"id": created["id"]}, json={"title": "copy"})
    here = {"id": forked["id"]}
    assert (await api.call("sandbox/get", path=here))["title"] == "copy"
    assert (await api.call("sandbox/list"))["pagination"]["total_records"] == 2

    started = await api.call("vm/start", path=here, json={})
    assert started["bootup_type"] == "FORK"
    session = {"session_id": "s1", "permission": "write", "git_user_name": "Me"}
    assert (await api.call("vm/create_session", path=here, json=session))["username"] == "csb-s1"
    assert (await api.call("vm/list_running_vms"))["concurrent_vm_count"] == 2
    assert (await api.call("vm/update_specs", path=here, json={"tier": "Pico"})) == {**here, "tier": "Pico"}
    timeout = {"hibernation_timeout_seconds": 60}
    assert (await api.call("vm/update_hibernation_timeout", path=here, json=timeout)) == {**here, **timeout}
    assert (await api.call("vm/hibernate", path=here)) == {}
    assert (await api.call("vm/shutdown", path=here)) == {}

    token = (await api.call("preview_token/create", 201, path=here, json={"expires_at": SOON}))["token"]
    listed = await api.call("preview_token/list", 201, path=here)
    assert [item["token_id"] for item in listed["tokens"]] == [token["token_id"]]
    one = {**here, "token_id": token["token_id"]}
    await api.call("preview_token/update", 201, path=one, json={"expires_at": None})
    await api.call("preview_token/revoke_all", path=here)
    await api.call("preview_host/create", 201, json={"hosts": ["https://a.test"]})
    await api.call("preview_host/update", 201, json={"hosts": []})
    assert (await api.call("preview_host/list", 201))["preview_hosts"] == []

    template = await api.call("templates/create", 201, json={"forkOf": "pcz35m", "tags": ["sdk-template"]})
    tag = (await api.call("vm/create_tag", json={"vm_ids": [template["sandboxes"][0]["id"]]}))["tag_id"]
    named = {"namespace": "my", "alias": "v1"}
    assert (await api.call("vm/assign_tag_alias", path=named, json={"tag_id": tag}))["alias"] == "v1"
    (cluster,) = (await api.call("vm/list_clusters"))["clusters"]
    assert cluster == {"slug": "local", "host": "csb.test"}

    info = await api.call("meta/info")
    team = {"team_id": info["auth"]["team"]}
    key = await api.call("token/create", 201, path=team, json={"description": "ci", "scopes": ["sandbox_read"]})
    await api.call("token/update", 201, path={**team, "token_id": key["token_id"]}, json={"description": "ci 2"})
    workspace = await api.call("workspace/create", 201, json={"name": "another"})
    assert workspace == {"id": workspace["id"], "name": "another"}
    assert workspace["id"] != info["auth"]["team"]
    await api.call("token/create", 404, path={"team_id": workspace["id"]}, json={"description": "theirs"})
    assert (await api.call("vm/delete", path=here)) == {}
    await api.call("sandbox/get", 404, path=here)


async def test_routes_are_the_contract() -> None:
    served = {
        (method, re.sub(r"{\w+}", "{}", route.path))
        for module in ROUTERS
        for route in module.router.routes
        if isinstance(route, APIRoute)
        for method in route.methods
    }
    older = {("POST", "/vm/{}/update_specs")}
    assert served - older == {(method, re.sub(r"{\w+}", "{}", path)) for method, path in OPERATIONS.values()}
    assert len(OPERATIONS) == 27
