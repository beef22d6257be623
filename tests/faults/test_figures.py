"""Figures and use over a SIGKILL of the server: nothing that was written is lost, nothing counts twice."""

import time
from typing import Any

import httpx

from tests.faults.answers import accepted
from tests.faults.sandboxes import create
from tests.servers import Server

ROUNDS = 3


def cpu_minutes(client: httpx.Client) -> float:
    return float(client.get("/v1/capsules/usage").raise_for_status().json()["points"][-1]["cpu_minutes"])


def points(client: httpx.Client, sandbox: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(f"/v1/capsules/cl-{sandbox}/metrics").raise_for_status().json()["points"]
    return found


def test_use_is_counted_once_however_often_the_server_dies(server: Server, client: httpx.Client) -> None:
    create(client).destroy()  # What it used nobody has written yet when the server dies.
    began, before = time.monotonic(), cpu_minutes(client)
    box = create(client)
    box.run("true")
    made = time.monotonic()
    for _ in range(ROUNDS):
        server.kill()
        server.start_again()
    assert box.state == "started"
    asked = time.monotonic()
    used = (cpu_minutes(client) - before) * 60
    ended = time.monotonic()
    cores = box.row()["cpu"]
    # Its row says since when it runs: no more than that, and no less.
    assert cores * (asked - made) - 1 <= used <= cores * (ended - began) + 1
    box.destroy()


def test_figures_outlive_the_server(server: Server, client: httpx.Client) -> None:
    box = create(client)
    box.run("true")
    assert points(client, box.id)  # Of one that has just begun there are some as well.
    accepted(box.change("stop"))
    before = points(client, box.id)
    assert all(point["mem_bytes"] > 0 for point in before)
    server.kill()
    server.start_again()
    assert points(client, box.id) == before
    box.destroy()
