"""Programs that wait with epoll live through pauses and forks."""

import httpx

from tests.faults.answers import accepted
from tests.faults.sandboxes import Sandbox

# Two pipes that are found not ready in one call, of which one is then taken out of the set and has something to read.
# With each line that comes it says what it hears: at once, and after there is something in the other pipe. Of its named
# pipes it holds both ends: in gVisor an open can wait for ever when the other end is closed before it has looked.
PROGRAM = """\
import os, select
waiting, (kept, gone) = select.epoll(), (os.pipe(), os.pipe())
for reading, writing in (kept, gone):
    waiting.register(reading, select.EPOLLIN)
    os.write(writing, b"x")
    os.read(reading, 1)
waiting.poll(0)
waiting.unregister(gone[0])
os.write(gone[1], b"x")
os.mkfifo("/tmp/asked")
asked = open("/tmp/asked", "rb+", buffering=0)
os.mkfifo("/tmp/said")
said = open("/tmp/said", "rb+", buffering=0)
while True:
    asked.read(1)
    early = waiting.poll(0)
    os.write(kept[1], b"x")
    late = [reading for reading, _ in waiting.poll()]
    os.read(kept[0], 1)
    said.write(b"%r %r\\n" % (early, late == [kept[0]]))
"""
QUESTION = "echo > /tmp/asked && head --lines=1 /tmp/said"
BEGIN = f"python3 -c '{PROGRAM}' > /tmp/errors 2>&1 & until test -p /tmp/said; do sleep 0.1; done"


def test_closed_descriptors_are_not_heard_of_again(client: httpx.Client, box: Sandbox) -> None:
    box.run(BEGIN)
    assert box.run(QUESTION) == "[] True\n"
    accepted(box.change("pause"))
    box.becomes("paused")
    accepted(box.change("start"))
    box.becomes("started")
    assert box.run(QUESTION) == "[] True\n"
    fork = Sandbox(client, str(accepted(client.post(f"{box.api}/fork", json={})).json()["id"]))
    try:
        fork.becomes("started")
        assert fork.run(QUESTION) == "[] True\n"
    finally:
        fork.destroy()
    assert box.run(QUESTION) == "[] True\n"
