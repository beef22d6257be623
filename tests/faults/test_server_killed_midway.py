"""SIGKILL of the server in the middle of changes of state: the next one finishes or undoes what it finds.

Five changes are under way at once, on a sandbox each, and the server dies at another moment each round. Afterwards the
machine has what the states say and no more, each state is true, and no file is lost.
"""

import asyncio
import contextlib
from dataclasses import dataclass

import httpx
import pytest

from tests.faults.answers import accepted
from tests.faults.inventory import expected, inventory
from tests.faults.sandboxes import Sandbox, create
from tests.servers import Server

MOMENTS = (0.04, 0.15, 0.35, 0.7)  # seconds after the changes were asked for; all of them take some 0.7
OUTCOMES = {
    "start": {"stopped", "started"},
    "stop": {"started", "stopped"},
    "pause": {"started", "paused"},
    "resume": {"paused", "started"},
    "destroy": {"started", "destroyed"},
}


@dataclass(frozen=True)
class Change:
    """``process`` was running when the change was asked for, or had been when the sandbox was stopped."""

    box: Sandbox
    process: str

    @property
    def path(self) -> str:
        return self.box.api


def prepare(client: httpx.Client) -> dict[str, Change]:
    changes = {}
    for verb in OUTCOMES:
        box = create(client)
        process = box.run("echo kept > kept.txt; nohup sleep 10000 >/dev/null 2>&1 & echo $!").strip()
        changes[verb] = Change(box, process)
    accepted(changes["start"].box.change("stop"))
    accepted(changes["resume"].box.change("pause"))
    return changes


async def ask_and_kill(server: Server, changes: dict[str, Change], name: str, moment: float) -> None:
    """The answers come to nobody: the server is gone by then, or has done it all."""
    headers = {"Authorization": f"Bearer {server.api_key}"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=120, trust_env=False) as crowd:
        # Connections are made beforehand, so that all requests are with the server at once.
        await asyncio.gather(*(crowd.get("/healthz") for _ in range(len(changes) + 1)))
        asked = [crowd.post("/api/sandbox", json={"name": name})]
        for verb, change in changes.items():
            if verb == "destroy":
                asked.append(crowd.delete(change.path))
            else:
                asked.append(crowd.post(f"{change.path}/{'start' if verb == 'resume' else verb}"))
        answers = asyncio.gather(*asked, return_exceptions=True)
        await asyncio.sleep(moment)
        server.kill()
        await answers


def is_true(verb: str, change: Change) -> None:
    """What the state says of this sandbox is so, and its file is there."""
    state = change.box.state
    assert state in OUTCOMES[verb], verb
    if state == "destroyed":
        return
    kept_memory = state == "paused" or (state == "started" and verb != "start")
    if state != "started":
        accepted(change.box.change("start"))
    assert change.box.run("cat kept.txt") == "kept\n", verb
    asleep = change.box.run(f"grep -c sleep /proc/{change.process}/comm || true") == "1\n"
    assert asleep == kept_memory, (verb, state)


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_in_the_middle(server: Server, client: httpx.Client, moment: float) -> None:
    changes = prepare(client)
    name = f"made-{MOMENTS.index(moment)}"
    asyncio.run(ask_and_kill(server, changes, name, moment))
    server.start_again()

    rows = {row["id"]: row for row in client.get("/api/sandbox/paginated").json()["items"]}
    states = {box: row["state"] for box, row in rows.items()}
    found = inventory(server)
    assert found == expected(
        client.get("/healthz").json()["target"],
        running=[box for box, state in states.items() if state == "started"],
        paused=[box for box, state in states.items() if state == "paused"],
        stopped=[box for box, state in states.items() if state == "stopped" and box in found.disks],
        mounts=found.mounts,
    ), states
    with contextlib.ExitStack() as stack:
        for verb, change in changes.items():
            stack.callback(change.box.destroy)
            is_true(verb, change)
        for box, row in rows.items():
            if row["name"] == name:
                made = Sandbox(client, box)
                stack.callback(made.destroy)
                accepted(made.change("start"))
                assert made.run("echo hi") == "hi\n"
