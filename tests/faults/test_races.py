"""Many requests at once on one sandbox: one of them wins, the others hear so, and the end is a true state."""

import asyncio
import random
from collections.abc import Awaitable

import httpx
import pytest

from tests.faults.answers import refused
from tests.faults.sandboxes import AT_REST, Sandbox, create, member_of, processes_of
from tests.servers import Server

CALLS = 20
ROUNDS = 3
VERBS = ("start", "stop", "pause", "GET", "exec", "labels", "capsule/pause", "capsule/resume", "capsule/exec")


def call(crowd: httpx.AsyncClient, box: Sandbox, verb: str) -> Awaitable[httpx.Response]:
    if verb == "GET":
        return crowd.get(box.api)
    if verb == "exec":
        return crowd.post(f"{box.toolbox}/process/execute", json={"command": "echo hi", "timeout": 60})
    if verb == "labels":
        return crowd.put(f"{box.api}/labels", json={"labels": {"a": "b"}})
    if verb == "capsule/exec":
        return crowd.post(f"{box.capsule}/exec", json={"cmd": "/bin/echo", "args": ["hi"]})
    if verb.startswith("capsule/"):
        return crowd.post(f"{box.capsule}/{verb.removeprefix('capsule/')}")
    return crowd.post(f"{box.api}/{verb}")


@pytest.mark.parametrize("seed", range(ROUNDS))
async def test_any_calls_at_once_end_in_a_true_state(
    server: Server, crowd: httpx.AsyncClient, box: Sandbox, seed: int
) -> None:
    box.run("echo kept > kept.txt")
    verbs = random.Random(seed).choices(VERBS, k=CALLS)
    for answer in await asyncio.gather(*(call(crowd, box, verb) for verb in verbs)):
        if not answer.is_success:
            refused(answer, 400, 409, 502)
            if answer.status_code == 502:  # A command whose sandbox was stopped or paused under it.
                assert "exec" in answer.request.url.path, (verbs, answer.request.url, answer.text)
    row = box.rests()
    assert row["state"] in ("started", "stopped", "paused"), (verbs, row)
    assert (row["state"] == "started") == has_processes(server, box)
    if row["state"] != "started":
        assert box.change("start").json()["state"] == "started"
    assert box.run("cat kept.txt") == "kept\n"


def has_processes(server: Server, box: Sandbox) -> bool:
    try:
        return bool(processes_of(server, box, "runsc-sandbox"))
    except FileNotFoundError:
        return False


async def test_destroys_at_once_all_succeed(server: Server, crowd: httpx.AsyncClient, box: Sandbox) -> None:
    member = member_of(server, box)
    asked = [crowd.delete(path) for path in (box.api, box.capsule) * 3]
    assert [answer.status_code for answer in await asyncio.gather(*asked)] == [200, 202] * 3
    box.becomes("destroyed")
    assert not (server.data / "run" / "members" / member).exists()


async def test_destroy_during_create(server: Server, crowd: httpx.AsyncClient, client: httpx.Client) -> None:
    """It is known by its name as soon as its row is written."""
    creating = asyncio.ensure_future(crowd.post("/api/sandbox", json={"name": "short-lived"}))
    while (found := await crowd.get("/api/sandbox/short-lived")).status_code == 404 and not creating.done():
        await asyncio.sleep(0)
    sandbox = Sandbox(client, found.json()["id"])
    assert (await crowd.delete(sandbox.api)).status_code == 200
    answer = await creating
    assert answer.is_success or refused(answer, 404, 409)
    sandbox.becomes("destroyed")
    again = create(client, name="short-lived")
    again.destroy()


async def test_a_client_that_leaves_during_create_leaves_a_whole_sandbox(
    crowd: httpx.AsyncClient, client: httpx.Client
) -> None:
    creating = asyncio.ensure_future(crowd.post("/api/sandbox", json={"name": "left-alone"}))
    while (found := await crowd.get("/api/sandbox/left-alone")).status_code == 404:
        await asyncio.sleep(0)
    creating.cancel()
    sandbox = Sandbox(client, found.json()["id"])
    assert sandbox.becomes(*AT_REST)["state"] == "started"
    assert sandbox.run("echo hi") == "hi\n"
    sandbox.destroy()


async def test_commands_during_a_pause_are_refused_or_run(crowd: httpx.AsyncClient, box: Sandbox) -> None:
    box.run("head -c 200000000 /dev/urandom > /dev/shm/weight")  # A pause of some length.
    pausing = asyncio.ensure_future(crowd.post(f"{box.api}/pause"))
    answers = []
    while not pausing.done():
        answers += await asyncio.gather(call(crowd, box, "exec"), call(crowd, box, "capsule/exec"))
    assert (await pausing).json()["state"] == "paused"
    for answer in answers:
        assert answer.is_success or refused(answer, 400, 409, 502)
    assert not answers[-1].is_success
    assert box.change("start").json()["state"] == "started"
    assert box.run("stat -c %s /dev/shm/weight") == "200000000\n"


async def test_one_name_is_given_once(crowd: httpx.AsyncClient, client: httpx.Client) -> None:
    answers = await asyncio.gather(*(crowd.post("/api/sandbox", json={"name": "the-one"}) for _ in range(5)))
    made = [answer for answer in answers if answer.is_success]
    assert len(made) == 1
    for answer in answers:
        if answer not in made:
            refused(answer, 409)
    Sandbox(client, made[0].json()["id"]).destroy()
