"""SIGKILL and SIGSTOP of what a sandbox consists of: the state tells it, requests end, and no file is lost."""

import asyncio
import os
import signal

import httpx
import pytest

from moonpool.engine.cgroups import detect
from moonpool.hosts.blanks import SPARES
from tests.faults.answers import accepted, refused
from tests.faults.sandboxes import Sandbox, create, member_of, processes_named, send_to
from tests.servers import Server, wait_until_ready

KERNEL, GOFER = "runsc-sandbox", "runsc-gofer"
WEIGHT = 100_000_000  # bytes of memory, which make a pause long enough to be hit in its middle


def comes_back(box: Sandbox) -> None:
    """From its disk, with what was written before."""
    accepted(box.change("start"))
    assert box.run("cat kept.txt") == "kept\n"


@pytest.mark.parametrize("name", [KERNEL, GOFER])
async def test_killed_during_commands(server: Server, crowd: httpx.AsyncClient, box: Sandbox, name: str) -> None:
    box.run("echo kept > kept.txt")
    toolbox = crowd.post(f"{box.toolbox}/process/execute", json={"command": "sleep 1000"})
    capsule = crowd.post(f"{box.capsule}/exec", json={"cmd": "sleep", "args": ["1000"], "timeout_sec": 1000})
    answers = asyncio.gather(toolbox, capsule)
    await asyncio.to_thread(box.run, "until [ $(pgrep -cx sleep) = 2 ]; do :; done")
    send_to(server, box, name, signal.SIGKILL)
    for answer in await answers:
        assert "ended meanwhile: crashed" in refused(answer, 502)
    row = await asyncio.to_thread(box.becomes, "stopped")
    assert row["errorReason"] == "crashed"
    assert row["recoverable"]
    for again in (box.try_run("true"), box.client.post(f"{box.capsule}/exec", json={"cmd": "true"})):
        refused(again, 400, 409)
    comes_back(box)
    assert "errorReason" not in box.row()


@pytest.mark.parametrize("change", ["stop", "pause"])
async def test_ended_during_commands(crowd: httpx.AsyncClient, box: Sandbox, change: str) -> None:
    """Who waits is told that somebody else ended it, not that something is wrong with the server."""
    toolbox = crowd.post(f"{box.toolbox}/process/execute", json={"command": "sleep 1000"})
    capsule = crowd.post(f"{box.capsule}/exec", json={"cmd": "sleep", "args": ["1000"], "timeout_sec": 1000})
    machine = crowd.post(f"/v1/vms/{box.id}/exec-await", json={"command": "sleep 1000"})
    answers = asyncio.gather(toolbox, capsule, machine)
    await asyncio.to_thread(box.run, "until [ $(pgrep -cx sleep) = 3 ]; do :; done")
    accepted(await crowd.post(f"{box.api}/{change}"))
    *others, freestyle = await answers
    for answer in others:
        assert "stopped or paused meanwhile" in refused(answer, 502)
    assert (freestyle.status_code, freestyle.json()["code"]) == (400, "VM_NOT_RUNNING")
    assert "stopped or paused meanwhile" in freestyle.json()["message"]


@pytest.mark.parametrize("name", [KERNEL, GOFER])
async def test_killed_while_its_memory_is_saved(
    server: Server, crowd: httpx.AsyncClient, box: Sandbox, name: str
) -> None:
    """Its memory is lost and the state says so."""
    box.run(f"echo kept > kept.txt; head -c {WEIGHT} /dev/urandom > /dev/shm/weight")
    pausing = asyncio.ensure_future(crowd.post(f"{box.api}/pause"))
    while not list((server.data / "memory").glob("*.partial")) and not pausing.done():
        await asyncio.sleep(0)
    send_to(server, box, name, signal.SIGKILL)
    answer = await pausing
    if (row := await asyncio.to_thread(box.rests))["state"] == "paused":  # All was written when it died.
        assert answer.is_success
        accepted(box.change("start"))
        assert box.run("stat -c %s /dev/shm/weight; cat kept.txt") == f"{WEIGHT}\nkept\n"
    else:
        refused(answer, 400, 409, 500, 502)
        assert row["state"] == "stopped"
        assert row["errorReason"]
        comes_back(box)
    assert not list((server.data / "memory").glob(f"{box.id}*"))


def test_killed_in_its_sleep(server: Server, client: httpx.Client, box: Sandbox) -> None:
    """Told at once; with cgroup v1 alone, where the kernel lets no frozen process die, when it is woken."""
    dies_frozen = detect().freezer.version == 2
    other = create(client)
    for sandbox in (box, other):
        sandbox.run("echo kept > kept.txt")
    while client.get("/healthz").json()["asleep"] != 2:
        pass
    for sandbox, name in ((box, KERNEL), (other, GOFER)):
        send_to(server, sandbox, name, signal.SIGKILL)
        if not dies_frozen:
            refused(sandbox.try_run("cat kept.txt"), 400, 409, 502)
        assert sandbox.becomes("stopped")["errorReason"] == "crashed"
        comes_back(sandbox)
    other.destroy()


async def test_a_sandbox_that_is_silent(
    server: Server, crowd: httpx.AsyncClient, box: Sandbox, client: httpx.Client
) -> None:
    """Requests end with a clear answer, and it can be stopped or destroyed; one that was only held up goes on."""
    stopped, doomed = create(client), create(client)
    process = box.start_process("sleep 1000")
    stopped.run("echo kept > kept.txt")
    for sandbox in (box, stopped, doomed):
        send_to(server, sandbox, KERNEL, signal.SIGSTOP)
    requests = (
        crowd.get(f"{box.toolbox}/files/info?path=/etc"),
        crowd.post(f"{box.toolbox}/process/execute", json={"command": "true", "timeout": 1}),
        crowd.post(f"{box.capsule}/files/list", json={"path": "/"}),
    )
    changes = (crowd.post(f"{stopped.api}/stop"), crowd.delete(doomed.capsule))
    *answers, stop, destroy = await asyncio.gather(*requests, *changes)
    for answer in answers:
        assert "agent" in refused(answer, 502, 504)
    accepted(stop)
    accepted(destroy)
    await asyncio.to_thread(doomed.becomes, "destroyed")
    comes_back(stopped)
    stopped.destroy()
    assert box.state == "started"
    send_to(server, box, KERNEL, signal.SIGCONT)
    assert box.is_alive(process)


def test_dead_members_of_the_pool_are_replaced(server: Server, client: httpx.Client, box: Sandbox) -> None:
    """All that wait are killed, one way or the other: creates get others, and the pool is filled again."""
    wait_until_ready(server)
    waiting = {entry.name for entry in (server.data / "run" / "members").iterdir()} - {member_of(server, box)}
    target = client.get("/healthz").json()["target"]
    assert target <= len(waiting) <= target + SPARES, "the spare one may just be being made"
    for number, member in enumerate(waiting):
        for process in processes_named((KERNEL, GOFER)[number % 2], member):
            os.kill(process, signal.SIGKILL)
    made = [create(client) for _ in range(len(waiting) + 1)]
    for sandbox in made:
        assert sandbox.run("echo hi") == "hi\n"
        sandbox.destroy()
    wait_until_ready(server)
    assert not waiting & {entry.name for entry in (server.data / "run" / "members").iterdir()}
