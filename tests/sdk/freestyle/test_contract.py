"""Every operation of the contract, in the life of a VM; each answer is held against it (tests/contract/record.py)."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.contract.documents import FREESTYLE
from tests.contract.record import listening_sync
from tests.servers import Server, open_client

CONTRACT = json.loads((Path(__file__).parents[2] / "contract/freestyle.contract.json").read_text())
OPERATIONS = {
    operation["operationId"]: (method.upper(), path)
    for path, item in CONTRACT["paths"].items()
    for method, operation in item.items()
}


@dataclass
class Api:
    http: httpx.Client

    def call(
        self, operation: str, status: int = 200, vm: str = "", path: dict[str, str] | None = None, **kw: Any
    ) -> Any:
        method, template = OPERATIONS[operation]
        here = {"id": vm, "vm_id": vm, **(path or {})}
        answer = self.http.request(method, template.format(**here), **kw)
        assert answer.status_code == status, f"{operation}: {answer.text}"
        body = answer.json()
        if status >= 400:
            assert re.fullmatch(r"[A-Z0-9_]+", body["code"])
            assert body["error"] == body["code"]
            assert body["message"]
        return body

    def lines(self, operation: str, vm: str, **kw: Any) -> Iterator[Any]:
        method, template = OPERATIONS[operation]
        with self.http.stream(method, template.format(vm_id=vm), **kw) as answer:
            assert answer.headers["content-type"].startswith("application/x-ndjson")
            for line in answer.iter_lines():
                yield json.loads(line)


@pytest.fixture
def api(server: Server) -> Iterator[Api]:
    with open_client(server) as http:
        http.event_hooks = listening_sync(FREESTYLE)
        yield Api(http)


def test_every_operation(api: Api) -> None:
    vm = api.call("create_vm", json={"name": "contract", "idleTimeoutSeconds": None})["id"]
    assert re.fullmatch(r"[a-z0-9]{20}", vm)
    listed = api.call("list_vms", params={"search": "contract", "vmState": "running", "limit": 1})
    assert [entry["id"] for entry in listed["vms"]] == [vm]
    assert api.call("get_vm", vm=vm)["state"] == "running"
    use(api, vm)
    services(api, vm)
    snapshots(api, vm)
    states(api, vm)


def use(api: Api, vm: str) -> None:
    ran = api.call("exec_await", vm=vm, json={"command": "echo hi"})
    assert ran == {"stdout": "hi\n", "stderr": "", "statusCode": 0}
    late = api.call("exec_await", 408, vm, json={"command": "echo so far; sleep 60", "timeoutMs": 500})
    assert (late["code"], late["timeout_ms"], late["timeoutMs"]) == ("EXEC_TIMED_OUT", 500, 500)
    assert late["stdout"] == "so far\n"
    assert api.call("exec_await", vm=vm, json={"command": ""})["statusCode"] == 0
    encoded = {"filepath": quote("/root/a b.txt", safe="")}
    for encoding, content in (("utf8", "text"), ("utf-8", "text"), ("base64", "dGV4dA=="), (None, "text")):
        assert api.call("put_file", vm=vm, path=encoded, json={"content": content, "encoding": encoding}) == {}
        assert api.call("get_file", vm=vm, path=encoded) == {"content": "text", "encoding": "utf8"}
    for odd in ("/root/a\nb", "/root/a%2Fb", "/root/a?b#c", "/root/ "):
        here = {"filepath": quote(odd, safe="")}
        api.call("put_file", vm=vm, path=here, json={"content": odd})
        assert api.call("get_file", vm=vm, path=here)["content"] == odd
    for folder in ("/root", "%2Froot"):
        assert {"name": "a b.txt", "kind": "file"} in api.call("get_file", vm=vm, path={"filepath": folder})["files"]
    for name in ("a%20b.txt", "root/a%20b.txt", "/root/a b.txt"):
        assert api.call("get_file", vm=vm, path={"filepath": name})["content"] == "text"
    assert api.call("put_file", vm=vm, path={"filepath": "nul"}, json={"content": "a\0b"}) == {}
    assert api.call("get_file", vm=vm, path={"filepath": "nul"})["content"] == "a\0b"
    assert api.call("get_file", 404, vm, {"filepath": "%2Fnothing"})["code"] == "FILE_NOT_FOUND"
    assert (
        api.call("put_file", 400, vm, encoded, json={"content": "?", "encoding": "base64"})["code"]
        == "FILES_BAD_REQUEST"
    )
    assert api.call("get_file", 400, vm, {"filepath": "%00"})["code"] == "FILES_BAD_REQUEST"
    samples = api.lines("stats_stream", vm, params={"interval_ms": 1})
    assert next(samples)["memoryUsedBytes"] > 0
    assert next(samples)["cpuTimeSeconds"] >= 0
    samples.close()
    api.call("exec_await", vm=vm, json={"command": "(while sleep 0.05; do date > /root/noise; done) >/dev/null 2>&1 &"})
    missing = api.http.post(f"/v1/vms/{vm}/watch-files", params={"path": "/nothing"})
    assert (missing.status_code, missing.json()["code"]) == (404, "FILE_NOT_FOUND")
    changes = api.lines("watch_files", vm)
    change = next(changes)
    assert (change["filename"], change["eventType"] in ("create", "modify")) == ("/root/noise", True)
    changes.close()
    api.call("exec_await", vm=vm, json={"command": "echo in it", "terminal": "one"})
    assert api.call("list_terminals", vm=vm)["terminals"][0]["name"] == "one"
    logs = api.call("get_terminal_logs", vm=vm, path={"terminal_id": "one"})["logs"]
    assert [entry["line"] for entry in logs] == ["$ echo in it", "in it"]
    assert "in it\r\n" in api.call("get_terminal_xterm", vm=vm, path={"terminal_id": "one"})["output"]
    assert api.call("get_terminal_logs", 404, vm, {"terminal_id": "two"})["code"] == "SESSION_NOT_FOUND"


def services(api: Api, vm: str) -> None:
    unit = {"name": "unit", "mode": "service", "exec": ["/bin/sh -c 'echo up; exec sleep 1000'"]}
    assert api.call("create_service", vm=vm, json=unit)["success"]
    assert api.call("create_service", 409, vm, json=unit)["code"] == "SERVICE_ALREADY_EXISTS"
    here = {"service_id": "unit"}
    assert {"name": "unit.service"} in api.call("list_services", vm=vm)["services"]
    for action in ("batch_stop_services", "batch_start_services", "batch_restart_services"):
        results = api.call(action, vm=vm, json={"services": [{"id": "unit"}]})["results"]
        assert [(result["serviceId"], result["success"]) for result in results] == [("unit", True)]
    assert api.call("get_service_status", vm=vm, path=here)["activeState"] == "active"
    logs = api.call("get_service_logs", vm=vm, path=here, params={"lines": 50, "since": "2020-01-01"})["logs"]
    assert "up" in [entry["message"] for entry in logs]
    assert api.call("delete_service", vm=vm, path=here)["success"]
    for operation in ("get_service_status", "get_service_logs", "delete_service"):
        assert api.call(operation, 404, vm, here)["code"] == "SERVICE_NOT_FOUND"


def snapshots(api: Api, vm: str) -> None:
    taken = {"snapshot_id": api.call("snapshot_vm", vm=vm, json={"name": "taken"})["snapshotId"]}
    assert api.call("update_snapshot", path=taken, json={"name": "other"})["name"] == "other"
    info = api.call("get_snapshot", path=taken)
    assert (info["name"], info["sourceVmId"], info["snapshotPersistence"]["type"]) == ("other", vm, "sticky")
    layer = {"additionalFiles": {"/srv/file": {"content": "built"}}}
    made = api.call("create_snapshot", json={"spec": layer})["snapshotId"]
    assert api.call("create_snapshot", json={"template": layer})["snapshotId"] == made
    rebuilt = api.call("create_snapshot", json={"spec": {**layer, "skipCache": True}})["snapshotId"]
    assert rebuilt != made
    copy = api.call("create_vm", json={"spec": {"snapshot": layer}})
    assert copy["snapshotId"] == rebuilt
    build = {"build_id": api.call("get_build_for_vm", vm=copy["id"])["buildId"]}
    assert api.call("get_build", path=build)["state"] == "succeeded"
    assert api.call("list_build_phases", path=build)["phases"][0]["snapshotId"] == rebuilt
    assert api.call("get_build_for_vm", 404, vm)["code"] == "BUILD_NOT_FOUND_FOR_VM"
    assert api.call("get_build", 404, path={"build_id": "bld-x"})["code"] == "BUILD_NOT_FOUND"
    api.call("delete_vm", vm=copy["id"])
    for snapshot in (taken["snapshot_id"], made, rebuilt):
        api.call("delete_snapshot", path={"snapshot_id": snapshot})
        here = {"snapshot_id": snapshot}
        assert api.call("get_snapshot", path=here)["deleted"]
        for operation in ("delete_snapshot", "update_snapshot"):
            assert api.call(operation, 409, path=here, json={"name": "x"})["code"] == "SNAPSHOT_ALREADY_DELETED"
    gone = api.call("create_vm", 410, json={"snapshotId": made})
    assert (gone["code"], gone["snapshotId"]) == ("SOURCE_SNAPSHOT_DELETED", made)
    missing = {"snapshot_id": "sc-" + "0" * 20}
    assert api.call("get_snapshot", 404, path=missing)["code"] == "SNAPSHOT_NOT_FOUND"
    assert made not in [entry["snapshotId"] for entry in api.call("list_snapshots")["snapshots"]]
    everything = api.call("list_snapshots", params={"includeDeleted": "true"})
    listed = everything["snapshots"]
    assert made in [entry["snapshotId"] for entry in listed if entry["deleted"]]
    assert everything["deletedCount"] >= 3
    general = next(entry["snapshotId"] for entry in listed if entry["accountId"] == "system")
    assert api.call("delete_snapshot", 409, path={"snapshot_id": general})["code"] == "SNAPSHOT_IS_ACCOUNT_DEFAULT"


def states(api: Api, vm: str) -> None:
    assert api.call("resize_vm", vm=vm, json={"vcpuCount": 2}) == {}
    assert api.call("resize_vm", 400, vm, json={})["code"] == "RESIZE_VM_EMPTY_REQUEST"
    (fork,) = api.call("fork_vm", vm=vm, json={})["forks"]
    api.call("kill_vm", vm=fork["id"])
    assert api.call("wait_vm", vm=fork["id"])["exitStatus"]
    api.call("delete_vm", vm=fork["id"])
    first = api.call("suspend_vm", vm=vm)["vmInstanceId"]
    api.call("start_vm", vm=vm, json={})
    api.call("optimize_vm", vm=vm)
    assert api.call("exec_await", vm=vm, json={"command": "true"})["statusCode"] == 0
    assert api.call("stop_vm", vm=vm)["vmInstanceId"] != first
    assert api.call("stop_vm", 400, vm)["code"] == "VM_NOT_RUNNING"
    api.call("delete_vm", vm=vm)
    for operation in ("get_vm", "fork_vm", "exec_await", "start_vm", "delete_vm"):
        assert api.call(operation, 410, vm, json={"command": "true"})["code"] == "VM_DELETED"
    assert vm in [entry["id"] for entry in api.call("list_vms", params={"includeDeleted": "true"})["vms"]]
    assert api.call("get_vm", 404, "x" * 20)["code"] == "VM_NOT_FOUND"
    assert api.call("fork_vm", 404, "x" * 20, json={})["code"] == "FORK_VM_NOT_FOUND"
    assert api.call("resize_vm", 404, "x" * 20, json={"vcpuCount": 1})["code"] == "INTERNAL_RESIZE_VM_NOT_FOUND"
    assert api.call("get_vm", 400, "No-Such-Id")["code"] == "INVALID_VM_ID"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "CREATE_VM_BAD_REQUEST"),
        (b'{"name": 7}', 400, "CREATE_VM_BAD_REQUEST"),
        (b'{"vcpuCount": 5}', 400, "CREATE_VM_VCPU_NOT_POWER_OF_TWO"),
        (b'{"vcpuCount": 1024}', 403, "VCPU_OVER_PLAN_LIMIT"),
        (b'{"snapshotId": "sc-00000000000000000000"}', 404, "SNAPSHOT_NOT_FOUND"),
        (b'{"snapshotId": "sc-nothing"}', 400, "INVALID_SNAPSHOT_ID"),
        (b'{"template": {"baseImage": {"dockerfileContent": "FROM debian\\nNO"}}}', 400, "CREATE_VM_BAD_REQUEST"),
        (b'{"domains": [{"domain": "localhost"}]}', 400, "INVALID_DOMAIN"),
        (b'{"additionalFiles": {"/a": {"content": "?", "encoding": "base64"}}}', 400, "CREATE_VM_BAD_REQUEST"),
        (b'{"additionalFiles": {"/a/": {"content": ""}}}', 400, "CREATE_VM_BAD_REQUEST"),
        (b'{"activityThresholdBytes": -1}', 400, "CREATE_VM_BAD_REQUEST"),
        (b'{"persistence": {"type": "sticky", "priority": 11}}', 400, "CREATE_VM_BAD_REQUEST"),
        (b'{"additionalFiles": {"/a": {"content": "\\u0000"}}}', 400, "CREATE_VM_BAD_REQUEST"),
    ],
)
def test_creates_that_cannot_be(api: Api, body: bytes, status: int, code: str) -> None:
    assert api.call("create_vm", status, content=body)["code"] == code


@pytest.mark.parametrize(
    "unit",
    [
        {"name": "never", "mode": "service", "exec": ["/bin/sleep 1000"], "readySignal": True, "timeoutSec": 0},
        {"name": "never", "mode": "oneshot", "exec": ["/bin/sh -c 'echo so far; exec sleep 1000'"], "timeoutSec": 0},
    ],
)
def test_services_that_never_get_ready(api: Api, unit: dict[str, Any]) -> None:
    before = api.call("list_vms")["totalCount"]
    body = api.call("create_vm", 504, json={"systemd": {"services": [unit]}, "readySignalTimeoutSeconds": 1})
    assert body["code"] == "VM_START_TIMEOUT"
    assert body["diagnostics"]["serviceStates"][0]["activeState"] == "activating"
    assert api.call("get_snapshot", path={"snapshot_id": body["snapshotId"]})["state"] == "failed"
    api.call("delete_snapshot", path={"snapshot_id": body["snapshotId"]})
    assert api.call("list_vms")["totalCount"] == before


def test_packages_repositories_and_git(api: Api) -> None:
    repository = "git init -q /srv/origin && cd /srv/origin && git -c user.name=a -c user.email=a@b commit -qm first"
    below = {"name": "origin", "mode": "oneshot", "exec": [f"/bin/sh -c '{repository} --allow-empty'"]}
    wanted = {
        "spec": {"snapshot": {"systemd": {"services": [below]}}},
        "aptDeps": ["git"],  # there already, so that no network is needed
        "groups": [{"name": "crew", "gid": 4000}],
        "users": [{"name": "ada", "uid": 4001, "groups": ["crew"]}],
        "git": {
            "config": {"user": {"name": "Ada", "email": "ada@example.org"}},
            "repos": [{"repo": "file:///srv/origin", "path": "/srv/clone"}],
        },
    }
    vm = api.call("create_vm", json=wanted)["id"]
    script = "git -C /srv/clone log --format=%s; git config user.email; id -u ada; id -Gn ada"
    ran = api.call("exec_await", vm=vm, json={"command": script})
    assert ran["stdout"].split() == ["first", "ada@example.org", "4001", "ada", "crew"], ran
    as_ada = {"X-Freestyle-Vm-Linux-User-Id": "ada"}
    assert api.call("exec_await", vm=vm, json={"command": "pwd"}, headers=as_ada)["stdout"] == "/home/ada\n"
    api.call("put_file", vm=vm, path={"filepath": "note"}, json={"content": "x"}, headers=as_ada)
    owner = api.call("exec_await", vm=vm, json={"command": "stat -c %U /home/ada/note"})["stdout"]
    assert owner == "ada\n"
    stranger = {"X-Freestyle-Vm-Linux-User-Id": "nobody-here"}
    assert api.call("exec_await", 404, vm, json={"command": "true"}, headers=stranger)["code"] == "USER_NOT_FOUND"
    api.call("delete_vm", vm=vm)


def test_a_snapshot_whose_recipe_fails(api: Api) -> None:
    service = {"name": "wrong", "mode": "oneshot", "exec": ["/bin/sh -c 'echo the reason; exit 9'"]}
    body = api.call("create_snapshot", 500, json={"spec": {"systemd": {"services": [service]}}})
    assert body["code"] == "SNAPSHOT_SETUP_FAILED"
    assert "the reason" in body["diagnostics"]["failedServiceLogs"][0]["log"]
    kept = {"snapshot_id": body["snapshotId"]}
    info = api.call("get_snapshot", path=kept)
    assert (info["state"], "wrong" in info["failureReason"]) == ("failed", True)
    assert api.call("get_build", path={"build_id": info["buildId"]})["state"] == "failed"
    api.call("delete_snapshot", path=kept)


def test_services_in_a_circle(api: Api) -> None:
    services = [
        {"name": name, "mode": "oneshot", "exec": ["/bin/true"], "after": [other], "requires": [other]}
        for name, other in (("one.service", "two.service"), ("two.service", "one.service"))
    ]
    body = api.call("create_vm", 500, json={"systemd": {"services": services}, "readySignalTimeoutSeconds": 20})
    assert body["code"] == "VM_SETUP_FAILED"
    assert body["diagnostics"]["failedServiceLogs"]
    api.call("delete_snapshot", path={"snapshot_id": body["snapshotId"]})


def test_a_vm_that_comes_back_after_it_was_deleted(api: Api) -> None:
    """With what was set up in it; what was written since is gone."""
    prepare = {"name": "prepare", "mode": "oneshot", "exec": ["/bin/touch /srv/prepared"], "deleteAfterSuccess": True}
    serve = {"name": "serve", "mode": "service", "exec": ["/bin/sleep 1000"], "after": ["prepare"]}
    wanted = {
        "recreate": True,
        "additionalFiles": {"/srv/file": {"content": "first\n"}},
        "systemd": {"services": [prepare, {**serve, "requires": ["prepare"]}]},
    }
    vm = api.call("create_vm", json=wanted)["id"]
    api.call("exec_await", vm=vm, json={"command": "echo changed > /srv/file"})
    look = {"command": "cat /srv/file; systemctl is-active serve; ls /srv"}
    api.call("stop_vm", vm=vm)
    api.call("start_vm", vm=vm, json={"waitForReadySignal": True})
    assert api.call("exec_await", vm=vm, json=look)["stdout"].split() == ["changed", "active", "file", "prepared"]
    api.call("delete_vm", vm=vm)
    assert api.call("exec_await", 410, vm, json=look)["code"] == "VM_DELETED"
    assert api.call("start_vm", vm=vm, json={})["id"] == vm
    assert api.call("exec_await", vm=vm, json=look)["stdout"].split() == ["first", "active", "file", "prepared"]
    api.call("delete_vm", vm=vm)


def test_unknown_paths_and_missing_keys(server: Server, api: Api) -> None:
    for method, path, status, code in (
        ("GET", "/v1/vms/a/b/c", 404, "NOT_FOUND"),
        ("PATCH", "/v1/vms", 405, "BAD_REQUEST"),
    ):
        answer = api.http.request(method, path)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    answer = httpx.get(f"{server.url}/v1/vms", trust_env=False)
    assert (answer.status_code, answer.json()["code"]) == (401, "UNAUTHORIZED")
