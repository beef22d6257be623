"""Files so large that they are read around the agent: the same rights and bytes, and nothing left behind."""

import hashlib
import http.client
from urllib.parse import quote

import httpx
import pytest

from tests.faults.sandboxes import Sandbox
from tests.faults.uploads import TEMPORARY, left_on_disk, wait_for
from tests.servers import Server

SIZE = 9 << 20  # above the size from which on the agent is spared
MAKE = f"head -c {SIZE} /dev/urandom > {{}}"
# Changes a page of a file by way of memory, and goes on holding it.
MAPPED = """
import mmap, sys, time
with open("mapped", "r+b") as file:
    memory = mmap.mmap(file.fileno(), 0)
    memory[5 << 20 : (5 << 20) + 7] = b"changed"
    print("ready", flush=True)
    time.sleep(600)
"""


def download(box: Sandbox, path: str) -> httpx.Response:
    return box.client.get(f"{box.toolbox}/files/download", params={"path": path})


def expect_nothing_left(server: Server, box: Sandbox) -> None:
    assert left_on_disk(server, box) == []
    assert TEMPORARY not in box.run("sudo ls -A /")


@pytest.mark.parametrize("path", ["/home/daytona/big", "/dev/shm/big", "/home/daytona/ünï code"])
def test_the_bytes_are_those_of_the_file(server: Server, box: Sandbox, path: str) -> None:
    box.run("ls -A /")  # What was listed once is remembered inside.
    box.run(MAKE.format(f"'{path}'"))
    answer = download(box, path)
    assert answer.status_code == 200
    assert hashlib.sha256(answer.content).hexdigest() == box.run(f"sha256sum < '{path}'").split()[0]
    assert box.run(f"stat -c %h '{path}'").strip() == "1"
    expect_nothing_left(server, box)


def test_by_the_other_apis_too(server: Server, box: Sandbox) -> None:
    box.run(MAKE.format("/home/daytona/big; ln -s big link"))
    digest = box.run("sha256sum < big").split()[0]
    answer = box.client.post(f"{box.capsule}/files/read", json={"path": "/home/daytona/link"})
    assert hashlib.sha256(answer.content).hexdigest() == digest
    form = {"paths": ["/home/daytona/link", "/home/daytona/big"]}
    answer = box.client.post(f"{box.toolbox}/files/bulk-download", json=form)
    assert len(answer.content) > 2 * SIZE
    expect_nothing_left(server, box)


def test_what_was_written_through_memory_is_there(server: Server, box: Sandbox) -> None:
    box.run(MAKE.format("mapped"))
    box.run(f"cat > change.py <<'END'\n{MAPPED}\nEND")
    box.run("(setsid python3 change.py > said 2>&1 &); until grep -q ready said; do sleep 0.05; done")
    assert download(box, "/home/daytona/mapped").content[5 << 20 :][:7] == b"changed"
    expect_nothing_left(server, box)


def test_others_files_stay_theirs(server: Server, box: Sandbox) -> None:
    box.run(MAKE.format("own; sudo chown root own; sudo chmod 600 own"))
    assert download(box, "/home/daytona/own").status_code in (400, 403)
    expect_nothing_left(server, box)


def test_a_client_that_leaves_and_a_file_that_goes_meanwhile(server: Server, box: Sandbox) -> None:
    box.run(f"head -c {64 << 20} /dev/urandom > big")
    url = httpx.URL(server.url)
    connection = http.client.HTTPConnection(str(url.host), url.port, timeout=60)
    path = f"{httpx.URL(box.toolbox).path}/files/download?path={quote('/home/daytona/big')}"
    connection.request("GET", path, headers={"Authorization": f"Bearer {server.api_key}"})
    answer = connection.getresponse()
    assert answer.status == 200
    answer.read(1 << 20)
    box.run("rm big")
    answer.read(1 << 20)
    connection.close()
    wait_for(lambda: left_on_disk(server, box) == [])
    box.run("true")
    expect_nothing_left(server, box)
