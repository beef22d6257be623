"""Files so large that they go around the agent: the same rights and answers, and nothing left of those that fail."""

import hashlib
import http.client
import os
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest

from tests.faults.answers import accepted
from tests.faults.sandboxes import Sandbox
from tests.faults.uploads import TEMPORARY, left_on_disk, wait_for
from tests.servers import Server

PIECE = os.urandom(1 << 20)
LARGE = 6  # pieces: above the size from which on the agent is spared


def content(pieces: int = LARGE) -> Iterator[bytes]:
    for _ in range(pieces):
        yield PIECE


def upload(box: Sandbox, path: str, pieces: int = LARGE) -> httpx.Response:
    return box.client.post(f"{box.toolbox}/files/upload", params={"path": path}, content=content(pieces))


def expect_nothing_left(server: Server, box: Sandbox, *folders: str) -> None:
    assert left_on_disk(server, box) == []
    for folder in ("/", *folders):
        assert TEMPORARY not in box.run(f"sudo ls -A {folder}")


def test_content_owner_and_place(server: Server, box: Sandbox) -> None:
    digest = hashlib.sha256(PIECE * LARGE).hexdigest()
    box.run("ls -A /")  # What was listed once is remembered inside, and the file is not in it.
    for path in ("/home/daytona/new/deep/file", "/dev/shm/file", "/home/daytona/ünï code"):
        accepted(upload(box, path))
        assert box.run(f"sha256sum < '{path}'").split()[0] == digest
        assert box.run(f"stat -c '%U %a' '{path}'").split() == ["daytona", "644"]
    expect_nothing_left(server, box, "/home/daytona/new/deep", "/dev/shm", "/home/daytona")


def test_an_existing_file_keeps_what_it_is(server: Server, box: Sandbox) -> None:
    box.run("echo old > tool; chmod 751 tool; sudo chgrp tty tool; ln -s tool link")
    accepted(upload(box, "/home/daytona/link"))
    assert box.run("stat -c '%U %G %a %s' tool").split() == ["daytona", "tty", "751", str(LARGE << 20)]
    assert box.run("readlink link").strip() == "tool"
    expect_nothing_left(server, box, "/home/daytona")


@pytest.mark.parametrize("path", ["/root/file", "/etc/passwd", "/proc/version", "/home/daytona"])
def test_what_the_user_may_not_write_stays_as_it_is(server: Server, box: Sandbox, path: str) -> None:
    before = box.run(f"sudo ls -ld {path} 2>&1 || true")
    assert upload(box, path).status_code in (400, 403, 409)
    assert box.run(f"sudo ls -ld {path} 2>&1 || true") == before
    expect_nothing_left(server, box, "/etc", "/root")


def test_a_full_disk_is_said_and_nothing_is_left(server: Server, client: httpx.Client) -> None:
    made = Sandbox(client, accepted(client.post("/api/sandbox", json={"snapshot": "daytona-small"})).json()["id"])
    try:
        box = made
        box.run("fallocate -l 3000M filler || head -c 3000M /dev/zero > filler || true", timeout=120)
        answer = upload(box, "/home/daytona/file", 200)
        assert answer.status_code in (400, 507), answer.text
        assert "space" in answer.text
        assert box.run("test -e file && echo there || echo not").strip() == "not"
        expect_nothing_left(server, box, "/home/daytona")
    finally:
        made.destroy()


def test_an_upload_that_is_cut_off_leaves_nothing(server: Server, box: Sandbox) -> None:
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"))
    path = f"{box.toolbox}/files/upload?path={quote('/home/daytona/file')}"
    connection.putrequest("POST", path)
    connection.putheader("Authorization", f"Bearer {server.api_key}")
    connection.putheader("Content-Length", str(100 << 20))
    connection.endheaders()
    for piece in content(20):
        connection.send(piece)
    connection.close()
    wait_for(lambda: not left_on_disk(server, box))
    assert box.run("ls -A").split().count("file") == 0


def test_a_server_that_dies_meanwhile_leaves_nothing(server: Server, box: Sandbox) -> None:
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"))
    connection.putrequest("POST", f"{box.toolbox}/files/upload?path=/home/daytona/file")
    connection.putheader("Authorization", f"Bearer {server.api_key}")
    connection.putheader("Content-Length", str(100 << 20))
    connection.endheaders()
    for piece in content(20):
        connection.send(piece)
    wait_for(lambda: bool(left_on_disk(server, box)))
    server.kill()
    connection.close()
    server.start_again()
    box.run("true")
    expect_nothing_left(server, box, "/home/daytona")
