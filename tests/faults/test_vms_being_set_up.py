"""The server is killed while VMs are set up: what is not whole is not shown as if it were, and goes by itself."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.servers import Server, open_client

SLOW = {"systemd": {"services": [{"name": "slow", "mode": "oneshot", "exec": ["/bin/sleep 4"]}]}}
NEVER = {"systemd": {"services": [{"name": "never", "mode": "oneshot", "exec": ["/bin/sleep 1000"]}]}}


def ask(server: Server, method: str, path: str, body: object = None) -> dict[str, object]:
    with open_client(server) as client:
        answer: dict[str, object] = client.request(method, path, json=body).json()
        return answer


def named(server: Server, state: str) -> dict[str, str]:
    """Names and ids of this test's VMs that are in a state."""
    listed: list[dict[str, str]] = ask(server, "GET", f"/v1/vms?vmState={state}")["vms"]  # type: ignore[assignment]
    return {vm.get("name", ""): vm["id"] for vm in listed if vm.get("name", "") in ("", "again", "half")}


def test_they_are_made_anew_or_removed(server: Server) -> None:
    again = str(ask(server, "POST", "/v1/vms", {**SLOW, "recreate": True, "name": "again"})["id"])
    ask(server, "DELETE", f"/v1/vms/{again}")
    with ThreadPoolExecutor() as pool:
        requests = [
            pool.submit(ask, server, "POST", "/v1/vms", {**NEVER, "name": "half"}),
            pool.submit(ask, server, "POST", "/v1/vms/snapshots", {"spec": NEVER}),
            pool.submit(ask, server, "POST", f"/v1/vms/{again}/start", {}),
        ]
        while set(building := named(server, "building")) != {"", "again", "half"}:
            pass  # Each look waits for the server's answer.
        server.kill()
        for request in requests:
            with pytest.raises(httpx.TransportError):
                request.result()
    server.start_again()
    assert "half" in named(server, "building")
    with sqlite3.connect(server.data / "db.sqlite") as database:
        query = "SELECT count(*) FROM sandboxes WHERE id IN (?, ?, ?) AND expires_at IS NOT NULL"
        assert database.execute(query, tuple(building.values())).fetchone() == (3,)
    assert ask(server, "POST", f"/v1/vms/{again}/exec-await", {"command": "true"})["code"] == "VM_NOT_RUNNING"
    ask(server, "POST", f"/v1/vms/{again}/start", {})
    look = {"command": "systemctl is-active slow"}
    assert ask(server, "POST", f"/v1/vms/{again}/exec-await", look)["stdout"] == "active\n"
    assert set(named(server, "running")) == {"again"}
    with sqlite3.connect(server.data / "db.sqlite") as database:
        query = "SELECT count(*) FROM sandboxes WHERE id = ? AND expires_at IS NULL"
        assert database.execute(query, (again,)).fetchone() == (1,)
    for vm in building.values():
        ask(server, "DELETE", f"/v1/vms/{vm}")
