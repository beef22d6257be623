"""A VM that the host cannot make: the client is told in Freestyle's form, and nothing of it remains."""

import subprocess
from collections.abc import Iterator

import httpx
import pytest

from tests.faults.inventory import inventory
from tests.servers import Server

VMS = "/v1/vms"


@pytest.fixture
def snapshot(server: Server, client: httpx.Client) -> Iterator[str]:
    """Of a VM that runs. Its disk is gone from the machine, behind the server's back."""
    vm = client.post(VMS, json={}).json()["id"]
    made = str(client.post(f"{VMS}/{vm}/snapshot", json={}).json()["snapshotId"])
    client.delete(f"{VMS}/{vm}").raise_for_status()
    command = ["btrfs", "subvolume", "delete", str(server.data / "pool" / "snapshots" / made)]
    subprocess.run(command, check=True, capture_output=True)
    yield made
    client.delete(f"{VMS}/snapshots/{made}").raise_for_status()


def left(server: Server, client: httpx.Client) -> tuple[object, ...]:
    """What a VM has, in the list and on the machine; spare members come and go by themselves."""
    there = inventory(server)
    return client.get(VMS).json(), there.records, there.disks, there.memories, there.staged


@pytest.mark.parametrize("body", [{}, {"name": "lost", "recreate": True}, {"spec": {"runCommands": ["true"]}}])
def test_nothing_remains(server: Server, client: httpx.Client, snapshot: str, body: dict[str, object]) -> None:
    before = left(server, client)
    answer = client.post(VMS, json={**body, "snapshotId": snapshot})
    told = answer.json()
    assert (answer.status_code, told["code"], told["error"]) == (404, "SNAPSHOT_NOT_FOUND", "SNAPSHOT_NOT_FOUND"), told
    assert snapshot in told["message"]
    assert left(server, client) == before
