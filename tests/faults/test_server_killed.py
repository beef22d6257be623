"""SIGKILL of the server, with sandboxes alive: nothing alive is lost, nothing dead is called alive."""

import os
import shlex
import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import httpx

from moonpool.engine.storage.btrfs import create_subvolume
from tests.faults.answers import accepted
from tests.faults.inventory import KERNEL
from tests.faults.sandboxes import Sandbox, create, processes_of
from tests.servers import Server

ALIVE = 20
TICKER = """
import json, os, time, urllib.request
address = os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] + "/v1/logs"
while True:
    record = {"timeUnixNano": str(time.time_ns()), "body": {"stringValue": "tick"}}
    body = json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}).encode()
    urllib.request.urlopen(urllib.request.Request(address, body, {"Content-Type": "application/json"})).read()
    time.sleep(0.2)
"""


def test_sandboxes_outlive_the_server_with_their_processes(server: Server, client: httpx.Client) -> None:
    boxes = [create(client) for _ in range(ALIVE)]
    started = {box: box.start_process("sleep 10000") for box in boxes}

    server.kill()
    spare = server.data / "pool/spares/left"
    create_subvolume(spare)
    server.start_again()

    assert not spare.exists()
    for box, process in started.items():
        assert box.state == "started"
        assert box.run(f"cat /proc/{process}/comm") == "sleep\n"
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(Sandbox.destroy, boxes))


def test_what_changes_while_the_server_is_down_is_told(server: Server, client: httpx.Client) -> None:
    """One is paused and one asleep at that time, a third dies meanwhile."""
    paused, dead, alive = create(client), create(client), create(client)
    process = paused.start_process("sleep 10000")
    accepted(paused.change("pause"))
    dead.run("echo kept > kept.txt")
    kernels = processes_of(server, dead, KERNEL)

    server.kill()
    for kernel in kernels:
        os.kill(kernel, signal.SIGKILL)
    server.start_again()

    assert paused.state == "paused"
    accepted(paused.change("start"))
    assert paused.run(f"cat /proc/{process}/comm") == "sleep\n"
    assert dead.row()["state"] == "stopped"
    assert dead.row()["errorReason"]
    accepted(dead.change("start"))
    assert dead.run("cat kept.txt") == "kept\n"
    assert alive.run("echo hi") == "hi\n"
    for box in (paused, dead, alive):
        box.destroy()


def test_telemetry_left_meanwhile_is_taken(server: Server, client: httpx.Client) -> None:
    """A program says every moment what time it is; the endpoint inside takes it, whether or not a server runs."""
    box = create(client)
    box.run(f"nohup python3 -c {shlex.quote(TICKER)} >/dev/null 2>&1 &")

    server.kill()
    killed = datetime.now(UTC)
    server.start_again()

    moments = {"from": killed.isoformat(), "to": datetime.now(UTC).isoformat()}
    logs = accepted(client.get(f"/api/sandbox/{box.id}/telemetry/logs", params=moments)).json()
    assert logs["total"] > 0
    assert {item["body"] for item in logs["items"]} == {"tick"}
    box.destroy()
