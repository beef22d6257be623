"""A sandbox of a real server, as both dialects have it, with what tests ask of it again and again."""

import json
import os
import signal
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.faults.answers import accepted
from tests.servers import Server, open_client

AT_REST = ("started", "stopped", "paused", "error", "destroyed")
PATIENCE = 120.0  # seconds until a state that must come is given up


@dataclass(frozen=True)
class Sandbox:
    """``client`` carries the key; ``api``, ``toolbox`` and ``capsule`` are this sandbox's addresses."""

    client: httpx.Client
    id: str

    @property
    def api(self) -> str:
        return f"/api/sandbox/{self.id}"

    @property
    def toolbox(self) -> str:
        return f"/toolbox/{self.id}"

    @property
    def capsule(self) -> str:
        return f"/v1/capsules/cl-{self.id}"

    # -- commands ------------------------------------------------------------------------------------------------------

    def try_run(self, command: str, **more: object) -> httpx.Response:
        return self.client.post(f"{self.toolbox}/process/execute", json={"command": command, **more})

    def run(self, command: str, **more: object) -> str:
        """What a command that succeeds prints."""
        answer = accepted(self.try_run(command, **more)).json()
        assert answer["exitCode"] == 0, answer
        return str(answer["result"])

    def start_process(self, command: str) -> str:
        """The pid of a process that goes on."""
        return self.run(f"nohup {command} >/dev/null 2>&1 & echo $!").strip()

    def is_alive(self, process: str) -> bool:
        return self.run(f"test -e /proc/{process}/cwd -o -d /proc/{process} && echo yes || echo no").strip() == "yes"

    # -- states --------------------------------------------------------------------------------------------------------

    def row(self) -> dict[str, Any]:
        answer = self.client.get(self.api)
        return {"state": "destroyed"} if answer.status_code == 404 else dict(accepted(answer).json())

    @property
    def state(self) -> str:
        return str(self.row()["state"])

    def change(self, verb: str) -> httpx.Response:
        return self.client.post(f"{self.api}/{verb}")

    def becomes(self, *states: str) -> dict[str, Any]:
        """The row once it is in one of ``states``."""
        return wait_for_row(self, states)

    def rests(self) -> dict[str, Any]:
        """The row once no change is under way."""
        return wait_for_row(self, AT_REST)

    def destroy(self) -> None:
        answer = self.client.delete(self.api)
        assert answer.status_code in (200, 404), answer.text
        self.becomes("destroyed")


def wait_for_row(sandbox: Sandbox, states: Collection[str]) -> dict[str, Any]:
    if (row := sandbox.row())["state"] in states:
        return row
    deadline = time.monotonic() + PATIENCE
    with sandbox.client.stream("GET", "/v1/events/stream", timeout=PATIENCE) as events:
        for line in events.iter_lines():  # The first comes as soon as it listens, and one every now and then.
            if line and (row := sandbox.row())["state"] in states:
                return row
            assert time.monotonic() < deadline, row
    raise AssertionError(f"no more events: {row}")


def create(client: httpx.Client, **body: object) -> Sandbox:
    return Sandbox(client, str(accepted(client.post("/api/sandbox", json=body)).json()["id"]))


@contextmanager
def sandbox_of(server: Server, **body: object) -> Iterator[Sandbox]:
    """A sandbox for one test."""
    with open_client(server) as client:
        made = create(client, **body)
        try:
            yield made
        finally:
            made.destroy()


# -- what the machine has of it ----------------------------------------------------------------------------------------


def member_of(server: Server, sandbox: Sandbox) -> str:
    """The name of the sandbox's gVisor container, from the server's own records."""
    return str(json.loads((server.data / "run" / "machines" / f"{sandbox.id}.json").read_text())["member"])


def processes_of(server: Server, sandbox: Sandbox, name: str) -> list[int]:
    """The ids of this sandbox's gVisor processes of that name ("runsc-sandbox", "runsc-gofer")."""
    return processes_named(name, member_of(server, sandbox))


def processes_named(name: str, member: str) -> list[int]:
    entries = (entry for entry in Path("/proc").iterdir() if entry.name.isdigit())
    words = {int(entry.name): command_line(entry) for entry in entries}
    return sorted(pid for pid, found in words.items() if found[0].endswith(name) and member in " ".join(found))


def send_to(server: Server, sandbox: Sandbox, name: str, number: signal.Signals) -> None:
    """A signal to this sandbox's gVisor process of that name."""
    found = processes_of(server, sandbox, name)
    assert found, name
    for process in found:
        os.kill(process, number)


def command_line(entry: Path) -> list[str]:
    try:
        return (entry / "cmdline").read_text().split("\0")
    except OSError:
        return [""]
