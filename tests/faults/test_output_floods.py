"""Programs that print without end: who reads decides how fast, and nobody's memory grows."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.faults.answers import refused
from tests.faults.sandboxes import Sandbox
from tests.servers import Server

MEBIBYTE = 1 << 20
KEPT = 64 * MEBIBYTE  # of a command's output
COPIES = 6  # of that output that a server may hold while it makes an answer of it
FLOOD = "yes | head -c 1000000 > part && cat $(yes part | head -n 500)"  # Half a gigabyte, printed by one program.


def peak(status: str) -> int:
    """Bytes of memory at most, of /proc/PID/status; where the peak is not told, what it is now."""
    found = re.search(r"VmHWM:\s+(\d+) kB", status) or re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None, status
    return int(found[1]) * 1024


@contextmanager
def growing_less_than(server: Server, box: Sandbox, limit: int) -> Iterator[None]:
    """Neither the server nor the agent in ``box``; ``limit`` in bytes."""
    process = Path("/proc", str(server.process.pid))
    (process / "clear_refs").write_text("5")  # The peak counts from now on.
    before = peak((process / "status").read_text()), peak(box.run("cat /proc/1/status"))
    yield
    after = peak((process / "status").read_text()), peak(box.run("cat /proc/1/status"))
    assert after[0] - before[0] < limit, "the server"
    assert after[1] - before[1] < 32 * MEBIBYTE, "the agent"


def test_a_flood_that_is_timed_out(server: Server, client: httpx.Client, box: Sandbox) -> None:
    with growing_less_than(server, box, COPIES * KEPT):
        refused(box.try_run("yes", timeout=2), 408)
        refused(client.post(f"{box.capsule}/exec", json={"cmd": "yes", "timeout_sec": 2}), 504)
    assert box.run("pgrep -x yes || echo none") == "none\n"


def test_a_flood_that_ends(server: Server, client: httpx.Client, box: Sandbox) -> None:
    with growing_less_than(server, box, COPIES * KEPT):
        assert len(box.run(FLOOD)) == KEPT
        body = {"cmd": "/bin/sh", "args": ["-c", FLOOD], "timeout_sec": 110}
        refused(client.post(f"{box.capsule}/exec", json=body), 413)
