"""The image with a Jupyter server: Wrenn's code runner."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from daytona import CreateSandboxFromSnapshotParams, Daytona, DaytonaConfig, Sandbox

from tests.sdk.wrenn.conftest import sdk_python
from tests.servers import Server

SCENARIO = Path(__file__).parent / "wrenn" / "code_runner.py"


@pytest.fixture(scope="module")
def server(server_factory: Callable[..., AbstractContextManager[Server]]) -> Iterator[Server]:
    with server_factory(MOONPOOL_CODE_RUNNER="true", MOONPOOL_POOL_SIZE="1") as running:
        yield running


@pytest.fixture(scope="module")
def sandbox(server: Server) -> Iterator[Sandbox]:
    client = Daytona(DaytonaConfig(api_key=server.api_key, api_url=f"{server.url}/api"))
    made = client.create(CreateSandboxFromSnapshotParams(snapshot="code-runner-beta"))
    yield made
    made.delete()


def play(version: str, server: Server) -> None:
    environment = {
        **os.environ,
        "WRENN_BASE_URL": server.url,
        "WRENN_API_KEY": server.api_key,
        "WRENN_PROXY_DOMAIN": f"localhost:{server.url.rpartition(':')[2]}",
        "NO_PROXY": "*",
        "PYTHONPATH": "",
    }
    command = [sdk_python(version), str(SCENARIO)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("version", ["0.3.0"])
def test_the_unchanged_sdk_runs_code(version: str, server: Server) -> None:
    play(version, server)


def test_sandboxes_start_from_memory_with_a_kernel(server: Server, sandbox: Sandbox) -> None:
    assert "snapshot_warmed" in (server.data / "server.log").read_text()
    assert sandbox.process.exec("/usr/local/bin/code-runner-warm --check", timeout=60).exit_code == 0
