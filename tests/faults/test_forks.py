"""SIGKILL of the server at every step of a live fork and of a capture: the source goes on, and nothing else is left."""

import itertools
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
from tests.faults.cut_off import WARM
from tests.faults.inventory import Inventory, expected
from tests.programs import run

LIMIT = 120.0  # seconds for one server's life
STEPS = [
    ("fork", "Driver.pause", "after"),
    ("fork", "MemoryStore.link", "after"),
    ("fork", "Driver.revive", "after"),
    ("capture", "Pool.snapshot", "after"),
    ("capture", "Driver.publish", "after"),
]


def serve(data: Path, source: str, *step: str) -> dict[str, Any]:
    """What a server finds when it starts; with a step it is killed there, else it removes all and ends."""
    done = run("tests.faults.cut_off", str(data), source, *step, timeout=LIMIT)
    assert done.returncode == (-signal.SIGKILL if step else 0), done.stderr[-4000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture
def data() -> Iterator[Path]:
    with data_folder() as folder:
        yield folder
        assert leftovers(HostSettings(data=folder)) == []


def test_killed_at_every_step(data: Path) -> None:
    """One sandbox lives through all of them."""
    source, found = new_sandbox_id(), []
    try:
        for step in STEPS:
            found.append(serve(data, source, *step))
    finally:
        found.append(serve(data, source))
    for step, (before, after) in zip(STEPS, itertools.pairwise(found), strict=True):
        assert after["rows"] == {source: "running"}, step
        assert (after["snapshots"], after["kept"], after["fast"]) == ([], [], []), step
        (born, count), (still_born, later) = before["counted"][1].split(), after["counted"][0].split()
        assert born == still_born, step
        assert int(count) < int(later), step
        parts = after["inventory"]
        there = Inventory(**{name: frozenset(part) if isinstance(part, list) else part for name, part in parts.items()})
        assert there == expected(WARM, running=[source], paused=[], stopped=[], mounts=there.mounts), step
