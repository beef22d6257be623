"""SIGKILL of the server while volumes are made, mounted, taken away and deleted: the next one finishes or undoes it."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moonpool.hosts.leftovers import leftovers
from moonpool.hosts.settings import HostSettings
from tests.data import data_folder
from tests.faults.cut_off_volumes import KEPT, LATE, OTHER, VOLUME
from tests.programs import run

LIMIT = 120.0  # seconds for one server's life
READY, BOTH = "ready", [VOLUME, OTHER]
# What is done, at which step the server dies, and what the next one has: volumes, mounts.
STEPS: list[tuple[tuple[str, str, str], list[str], list[str]]] = [
    (("create", "Pool.create", "after"), BOTH, [KEPT]),
    (("attach", "Driver.attach_share", "before"), BOTH, [KEPT, LATE]),
    (("detach", "Driver.detach_share", "before"), BOTH, [KEPT, LATE]),
    (("delete", "Pool.delete", "before"), [VOLUME], [KEPT, LATE]),
]


def serve(data: Path, *step: str) -> dict[str, Any]:
    """What a server finds when it starts; with a step it is killed there, else it removes all and ends."""
    done = run("tests.faults.cut_off_volumes", str(data), *step, timeout=LIMIT)
    assert done.returncode == (-signal.SIGKILL if step else 0), done.stderr[-4000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture
def data() -> Iterator[Path]:
    with data_folder() as folder:
        yield folder
        assert leftovers(HostSettings(data=folder)) == []


def test_killed_at_every_step(data: Path) -> None:
    """One sandbox lives through all of them."""
    found = []
    try:
        for step, _, _ in STEPS:
            found.append(serve(data, *step))
    finally:
        found.append(serve(data))
    for (step, volumes, mounts), after in zip(STEPS, found[1:], strict=True):
        assert after["volumes"] == dict.fromkeys(volumes, READY), step
        assert after["on_disk"] == sorted(volumes), step
        assert after["row"] == after["inside"] == mounts, step
