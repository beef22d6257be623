"""What an upload leaves where the server lays large files: in the root folder of the sandbox's disk."""

import os
import time
from collections.abc import Callable

from tests.faults.sandboxes import Sandbox
from tests.servers import Server

TEMPORARY = ".moonpool-upload-"
PATIENCE = 60.0  # seconds


def wait_for(condition: Callable[[], bool]) -> None:
    """What another process does to a disk raises no event here."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def left_on_disk(server: Server, box: Sandbox) -> list[str]:
    return [name for name in os.listdir(server.data / "pool" / "sandboxes" / box.id) if name.startswith(TEMPORARY)]
