"""Programs that take all there is of their sandbox: they get an error or an end, the others notice nothing."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.faults.answers import accepted, refused
from tests.faults.sandboxes import Sandbox, create
from tests.servers import Server, open_client

MEBIBYTE = 1 << 20
DISK = 1024  # MiB
EAT = "data = [bytearray(b'x') * (1 << 22) for _ in range(1 << 20)]"
FORK_BOMB = 'import os\nwhile True:\n try: os.fork()\n except OSError: os.close(os.open("/tmp/full", os.O_CREAT))'


@pytest.fixture(scope="module")
def neighbour(shared_server: Server) -> Iterator[Sandbox]:
    with open_client(shared_server) as client:
        made = create(client)
        made.run("echo mine > mine.txt")
        yield made
        made.destroy()


@pytest.fixture(autouse=True)
def others_are_well(client: httpx.Client, neighbour: Sandbox) -> Iterator[None]:
    process = neighbour.start_process("sleep 1000")
    yield
    assert neighbour.run("cat mine.txt") == "mine\n"
    assert neighbour.is_alive(process)
    neighbour.run(f"kill {process}")
    fresh = create(client)
    assert fresh.run("echo hi") == "hi\n"
    fresh.destroy()


@contextmanager
def small(client: httpx.Client) -> Iterator[Sandbox]:
    body = {"memory_mb": 256, "disk_size_mb": DISK}
    made = Sandbox(client, accepted(client.post("/v1/capsules", json=body)).json()["id"].removeprefix("cl-"))
    try:
        yield made
    finally:
        made.destroy()


# -- disk --------------------------------------------------------------------------------------------------------------


def test_a_full_disk_is_an_error_inside_and_no_more(server: Server, client: httpx.Client) -> None:
    with small(client) as box:
        box.run("head -c 1M /dev/urandom > /tmp/part")
        filling = box.try_run(f"cat $(yes /tmp/part | head -n {DISK}) > filler").json()
        assert filling["exitCode"] == 1
        assert "No space left" in filling["result"] or "quota exceeded" in filling["result"]
        written = int(box.run("stat -c %s filler"))
        assert DISK // 4 < written // MEBIBYTE <= DISK

        upload = f"{box.toolbox}/files/upload?path=/home/wrenn-user/more"
        assert "quota" in refused(client.post(upload, content=b"x" * MEBIBYTE), 400).lower()
        form = {"path": (None, "more"), "file": ("more", b"x" * MEBIBYTE)}
        assert "quota" in refused(client.post(f"{box.capsule}/files/write", files=form), 507).lower()
        assert box.run("ls -A | grep -v '^\\.[bcp]' ") == "filler\n"

        accepted(client.post(f"{box.api}/stop"))
        accepted(client.post(f"{box.api}/start"))
        assert int(box.run("stat -c %s filler")) == written
        process = box.start_process("sleep 1000")
        accepted(client.post(f"{box.api}/pause"))
        accepted(client.post(f"{box.api}/start"))
        assert box.is_alive(process)

        box.run("rm filler")
        accepted(client.post(upload, content=b"x" * MEBIBYTE))
        assert box.run("wc -c < more") == f"{MEBIBYTE}\n"


# -- memory ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["toolbox", "capsule"])
def test_memory_over_the_limit_ends_the_sandbox_and_no_other(client: httpx.Client, way: str) -> None:
    with small(client) as box:
        box.run("echo kept > kept.txt")
        if way == "toolbox":
            answer = client.post(f"{box.toolbox}/process/code-run", json={"code": EAT, "language": "python"})
        else:
            answer = client.post(f"{box.capsule}/exec", json={"cmd": "python3", "args": ["-c", EAT]})
        assert "out of memory" in refused(answer, 502)
        row = box.becomes("stopped")
        assert row["errorReason"] == "out of memory"
        assert row["recoverable"]
        refused(box.try_run("true"), 400, 409)
        accepted(client.post(f"{box.capsule}/resume"))
        assert box.run("cat kept.txt") == "kept\n"
        assert "errorReason" not in box.row()


def test_whoever_is_told_of_it_may_start_it_again_at_once(client: httpx.Client) -> None:
    with small(client) as box:
        answer = client.post(f"{box.toolbox}/process/code-run", json={"code": EAT, "language": "python"})
        started = box.change("start")
        assert "out of memory" in refused(answer, 502)
        accepted(started)
        box.becomes("started")
        assert box.run("echo again") == "again\n"


def test_files_in_memory_count_as_memory(client: httpx.Client) -> None:
    with small(client) as box:
        refused(box.try_run("head -c 2000000000 /dev/zero > /dev/shm/filler"), 502)
        assert box.becomes("stopped")["errorReason"] == "out of memory"


# -- processes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_root", [False, True], ids=["user", "root"])
def test_a_fork_bomb_can_be_ended(client: httpx.Client, as_root: bool) -> None:
    with small(client) as box:
        box.run("echo kept > kept.txt")
        session = f"{box.toolbox}/process/session"
        accepted(client.post(session, json={"sessionId": "bomb"}))
        command = f"{'sudo ' if as_root else ''}python3 -c '{FORK_BOMB}'"
        accepted(client.post(f"{session}/bomb/exec", json={"command": command, "runAsync": True}))
        while client.get(f"{box.toolbox}/files/info?path=/tmp/full").status_code == 404:
            pass
        for _ in range(3):
            answer = box.try_run("true", timeout=5)
            assert answer.is_success or refused(answer, 400, 408, 409, 502, 503, 504)
        row = box.rests()
        if row["state"] == "started":
            accepted(client.post(f"{box.api}/stop"))
        else:
            assert row["errorReason"] == "out of memory"
        accepted(client.post(f"{box.api}/start"))
        assert box.run("cat kept.txt") == "kept\n"


@pytest.mark.parametrize("command", ["kill -9 -1", "sudo kill -9 -1"])
def test_the_agent_outlives_signals(box: Sandbox, command: str) -> None:
    process = box.start_process("sleep 1000")
    box.try_run(command, timeout=5)
    assert box.state == "started"
    assert box.run("echo hi") == "hi\n"
    assert not box.is_alive(process)


def test_root_may_end_its_own_sandbox(client: httpx.Client, box: Sandbox) -> None:
    """gVisor protects the first process from nobody; then the state tells it, and the files are there."""
    box.run("echo kept > kept.txt")
    refused(box.try_run("sudo kill -9 1; sleep 1000"), 409, 502)
    assert box.becomes("stopped")["errorReason"] == "crashed"
    accepted(client.post(f"{box.capsule}/resume"))
    assert box.run("cat kept.txt") == "kept\n"


# -- memory that cannot be saved ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["api", "capsule"])
def test_a_deleted_file_that_is_open_refuses_the_pause(client: httpx.Client, box: Sandbox, way: str) -> None:
    process = box.start_process("sh -c 'exec 3<>held; rm held; exec sleep 1000'")
    box.run(f"until [ $(cat /proc/{process}/comm) = sleep ]; do :; done")
    message = refused(client.post(f"{getattr(box, way)}/pause"), 400, 409)
    assert process in message
    assert "/home/daytona/held" in message
    assert box.state == "started"
    assert box.is_alive(process)
    box.run(f"kill {process}")
    accepted(client.post(f"{getattr(box, way)}/pause"))
    assert box.state == "paused"
