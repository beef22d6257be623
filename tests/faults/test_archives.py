"""SIGKILL of the server at the steps of an archive and of a restore: no file is lost, and nothing is left over."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moonpool.hosts.leftovers import leftovers
from moonpool.hosts.settings import HostSettings
from moonpool.ids import new_sandbox_id
from tests.data import data_folder
from tests.programs import run

LIMIT = 120.0  # seconds for one server's life
# Where the server dies, in which state the next one finds the sandbox, and what that one makes of it by itself.
STEPS = [
    (("archive", "Pool.snapshot", "after"), "stopped", "archived"),
    (("archive", "FolderStore._put", "after"), "stopped", "archived"),
    (("archive", "MemoryStore.remove", "before"), "stopped", "stopped"),
    (("restore", "Pool.set_limit", "after"), "archived", "archived"),
    (("restore", "Pool.rename", "after"), "stopped", "stopped"),
]


def serve(data: Path, source: str, *step: str) -> list[dict[str, Any]]:
    """What a server finds and does; with a step it is killed there."""
    done = run("tests.faults.cut_off_archive", str(data), source, *step, timeout=LIMIT)
    assert done.returncode == (-signal.SIGKILL if step else 0), done.stderr[-4000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.fixture
def data() -> Iterator[Path]:
    with data_folder() as folder:
        yield folder
        assert leftovers(HostSettings(data=folder)) == []


def test_killed_at_every_step(data: Path) -> None:
    """One sandbox lives through all of them."""
    source = new_sandbox_id()
    lives = [serve(data, source, *step) for step, _, _ in STEPS] + [serve(data, source)]
    for (step, found, left), life in zip(STEPS, lives[1:], strict=True):
        after = life[0]
        assert after["left"] == left, (step, after)
        assert after["found"] in (found, "archiving"), (step, after)
        assert after["disk"] == (left != "archived"), (step, after)
        assert (after["staged"], after["unfinished"], after["manifests"]) == ([], [], 1), (step, after)
        assert (after["backup"], after["said"]) == ("completed", "kept"), (step, after)
    assert lives[-1][1] == {"store": [], "bases": []}
