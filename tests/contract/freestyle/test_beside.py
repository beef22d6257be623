"""What the SDKs have beside VMs: it works, or says what there is instead."""

import httpx
import pytest

from tests.contract.freestyle.conftest import Door
from tests.contract.freestyle.test_identities import code

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/v5/vms", "install freestyle@0.1.63"),
        ("/git/v1/repo", "Git repositories"),
        ("/execute/v3/script", "run the code in a VM"),
        ("/web/v1/deployments", "deployments"),
        ("/dns/v1/records", "DNS"),
        ("/v1/cron/schedules", "systemd timer"),
        ("/v1/vpcs", "private networks"),
    ],
)
async def test_what_there_is_not(owner: httpx.AsyncClient, path: str, words: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        answer = await owner.request(method, path)
        assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")
        assert words in answer.json()["message"]
        assert answer.json()["description"] == answer.json()["message"]  # what SDKs that do not know the code show


async def test_domains(owner: httpx.AsyncClient, door: Door) -> None:
    path = "/domains/v1/mappings/app.example.com"
    assert await code(owner, "POST", path, 400, json={"deploymentId": "d"}) == "INVALID_REQUEST"
    assert (await owner.post(path, json={"vmId": door.vm, "vmPort": 8000})).json()["vmPort"] == 8000
    assert "app.example.com" in [one["domain"] for one in (await owner.get("/domains/v1/domains")).json()]
    assert (await owner.get("/domains/v1/verifications")).json() == []
    wanted = {"domain": "app.example.com"}
    for method, status, named in (
        ("POST", 400, "FAILED_TO_CREATE_VERIFICATION_CODE"),
        ("PUT", 404, "VERIFICATION_NOT_FOUND"),
        ("DELETE", 400, "FAILED_TO_DELETE_VERIFICATION"),
    ):
        assert await code(owner, method, "/domains/v1/verifications", status, json=wanted) == named
    certificate = "/domains/v1/certs/app.example.com/wildcard"
    assert await code(owner, "POST", certificate, 422) == "FAILED_TO_PROVISION_CERTIFICATE"
    assert (await owner.delete(path)).json() == {"domain": "app.example.com"}


async def test_a_vm_that_is_made_anew_has_its_own_domain_again(owner: httpx.AsyncClient) -> None:
    made = (await owner.post("/v1/vms", json={"recreate": True})).json()
    path = f"/v1/vms/{made['id']}"
    assert len(made["domains"]) == 1
    await owner.delete(path)
    assert (await owner.post(f"{path}/start", json={})).json()["domains"] == made["domains"]
    await owner.delete(path)


async def test_logs_are_of_vms(owner: httpx.AsyncClient, door: Door) -> None:
    assert await code(owner, "GET", "/observability/v1/logs", 404) == "LOGS_NOT_FOUND"
    missing = {"vmId": "a" * 20}
    assert await code(owner, "GET", "/observability/v1/logs", 404, params=missing) == "VM_NOT_FOUND"
    assert await code(owner, "GET", "/auth/v1/background-requests/ri-x", 404) == "NOT_FOUND"
    for bad in ({"startTime": "yesterday"}, {"pageToken": "x"}):
        assert await code(owner, "GET", "/observability/v1/logs", 400, params={"vmId": door.vm, **bad}) == "BAD_REQUEST"


async def test_a_limit_is_told_with_what_there_is(owner: httpx.AsyncClient, door: Door) -> None:
    core, team = door.inside.core, door.inside.owner.team_id
    await core.access.limits.change(team, {"running": 1})
    answer = await owner.post("/v1/vms", json={})
    body = answer.json()
    assert (answer.status_code, body["code"], body["limit"], body["current"]) == (403, "VM_LIMIT_EXCEEDED", 1, 1)
    await core.access.limits.change(team, {"sandboxes": 1}, drop=frozenset({"running"}))
    body = (await owner.post("/v1/vms", json={})).json()
    assert (body["code"], body["limit"], body["current"]) == ("TOTAL_VM_LIMIT_EXCEEDED", 1, 1)
    await core.access.limits.change(team, {}, drop=frozenset({"sandboxes"}))
