"""One server, one key, four SDKs: what one makes the others list, use, pause and resume."""

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.sdk.node import PROGRAMS, node_project
from tests.sdk.wrenn.conftest import wrenn_sdk
from tests.servers import Server

__all__ = ["wrenn_sdk"]
FOLDER = Path(__file__).parent
PATIENCE = 120.0  # seconds for one answer
RUNNING = {"daytona": "started", "wrenn": "running", "freestyle": "running", "codesandbox": "running"}
PAUSED = {"daytona": "paused", "wrenn": "paused", "freestyle": "suspended", "codesandbox": "hibernated"}
DIALECTS = tuple(RUNNING)
# Who pauses what, and who resumes it: each SDK makes, pauses and resumes once.
TURNS = (
    ("daytona", "wrenn", "freestyle"),
    ("wrenn", "freestyle", "codesandbox"),
    ("freestyle", "codesandbox", "daytona"),
    ("codesandbox", "daytona", "wrenn"),
)


@dataclass(frozen=True)
class Driver:
    """A program that speaks one SDK, and does one thing a line."""

    process: subprocess.Popen[str]

    def ask(self, verb: str, identifier: str = "", text: str = "") -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([verb, identifier, text]) + "\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        answer = self.process.stdout.readline() if ready else ""
        assert answer, f"no answer to {verb}; it ended with {self.process.poll()}"
        return json.loads(answer)


@contextmanager
def driver(command: list[str], folder: Path, server: Server) -> Iterator[Driver]:
    variables = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    variables |= {
        "MOONPOOL_URL": server.url,
        "MOONPOOL_API_KEY": server.api_key,
        "DAYTONA_API_URL": f"{server.url}/api",
        "DAYTONA_API_KEY": server.api_key,
        "WRENN_BASE_URL": server.url,
        "WRENN_API_KEY": server.api_key,
        "PATH": f"{PROGRAMS}:{variables['PATH']}",
        "PYTHONPATH": "",
    }
    process = subprocess.Popen(
        command, cwd=folder, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield Driver(process)
    finally:
        process.kill()
        process.communicate()


@contextmanager
def node_driver(name: str, project: Path, server: Server) -> Iterator[Driver]:
    with tempfile.TemporaryDirectory(prefix=".run-", dir=project) as folder:
        shutil.copy(FOLDER / f"driver_{name}.mjs", folder)
        with driver([str(PROGRAMS / "node"), f"driver_{name}.mjs"], Path(folder), server) as one:
            yield one


@pytest.fixture(scope="module")
def drivers(server: Server, wrenn_sdk: Callable[[str], str]) -> Iterator[dict[str, Driver]]:
    freestyle = node_project("freestyle", freestyle="0.1.63")
    codesandbox = node_project("codesandbox", **{"@codesandbox/sdk": "2.4.2"})
    with ExitStack() as stack:
        yield {
            "daytona": stack.enter_context(driver([sys.executable, "driver_daytona.py"], FOLDER, server)),
            "wrenn": stack.enter_context(driver([wrenn_sdk("0.2.0"), "driver_wrenn.py"], FOLDER, server)),
            "freestyle": stack.enter_context(node_driver("freestyle", freestyle, server)),
            "codesandbox": stack.enter_context(node_driver("codesandbox", codesandbox, server)),
        }


@pytest.mark.parametrize(("maker", "pauser", "resumer"), TURNS)
def test_made_by_one_and_used_by_all(drivers: dict[str, Driver], maker: str, pauser: str, resumer: str) -> None:
    made = drivers[maker].ask("create")
    for name, user in drivers.items():
        assert made in user.ask("list"), name
        assert user.ask("state", made) == RUNNING[name], name
        assert user.ask("run", made, f"echo {name} >> /tmp/visitors; chmod -f 666 /tmp/visitors; id -u").isdigit(), name
    drivers[maker].ask("run", made, "nohup sleep 4242 > /dev/null 2>&1 &")
    drivers[pauser].ask("pause", made)
    for name, user in drivers.items():
        assert user.ask("state", made) == PAUSED[name], name
    drivers[resumer].ask("resume", made)
    for name, user in drivers.items():
        assert user.ask("state", made) == RUNNING[name], name
    assert drivers[pauser].ask("run", made, "cat /tmp/visitors; pgrep -xc sleep").split() == [*DIALECTS, "1"]
    drivers[pauser].ask("destroy", made)
    for name, user in drivers.items():
        assert made not in user.ask("list"), name
