"""What Wrenn's users do, with the unchanged SDK, against a real server; each scenario is a script of its own."""

import os
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import pytest

FOLDER = Path(__file__).parent
TIMEOUT = 180  # seconds a scenario may take
VERSIONS = ("0.1.4", "0.2.0")
SCENARIOS = sorted(path.stem for path in FOLDER.glob("scenario_*.py"))
LATER = "scenario_later"  # what only SDK 0.3.0 can do


class Server(Protocol):
    url: str
    api_key: str


def play(python: str, scenario: str, server: Server) -> None:
    environment = {
        **os.environ,
        "WRENN_BASE_URL": server.url,
        "WRENN_API_KEY": server.api_key,
        "NO_PROXY": "*",
        "PYTHONPATH": "",
    }
    done = subprocess.run(
        [python, "-W", "error::ResourceWarning", str(FOLDER / f"{scenario}.py")],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name != LATER])
def test_unchanged_sdk(version: str, scenario: str, server: Server, wrenn_sdk: Callable[[str], str]) -> None:
    play(wrenn_sdk(version), scenario, server)


@pytest.fixture(scope="module")
def binary_server(server_factory: Callable[..., AbstractContextManager[Server]]):
    with server_factory(MOONPOOL_WRENN_TERMINAL_FRAMES="binary") as server:
        yield server


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_later_sdk_with_binary_terminal_frames(
    scenario: str, binary_server: Server, wrenn_sdk: Callable[[str], str]
) -> None:
    play(wrenn_sdk("0.3.0"), scenario, binary_server)
