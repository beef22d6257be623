"""A machine whose disk is full: nothing new is begun, what is there goes on, and nothing is lost."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.faults.answers import accepted, refused
from tests.faults.sandboxes import Sandbox, create
from tests.servers import Server, open_client, running_server

SIZE = 2 * 1024**3  # bytes; half of it is taken by the base image and what the server sets aside
PIECES = (1 << 28, 1 << 20)  # bytes
LEFT = 32 * 1024**2  # bytes
WEIGHT = 400 * 1024**2  # bytes of memory, more than is left with what the server had set aside

Kept = tuple[Sandbox, str]


@pytest.fixture(scope="module")
def small_disk() -> Iterator[Path]:
    """A file system of its own, which nobody else on this machine needs."""
    folder = Path(tempfile.mkdtemp(prefix="moonpool-small-", dir="/var/tmp"))
    image, point = folder / "disk.img", folder / "disk"
    point.mkdir()
    image.touch()
    os.truncate(image, SIZE)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, point], check=True)
    yield point
    subprocess.run(["umount", point], check=True)
    point.rmdir()  # Copies of the mount in namespaces of other servers' sandboxes go with the folder.
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def small_server(small_disk: Path) -> Iterator[Server]:
    with running_server(folder=small_disk) as server:
        yield server


@pytest.fixture
def client(small_server: Server) -> Iterator[httpx.Client]:
    with open_client(small_server) as client:
        yield client


@pytest.fixture
def kept(client: httpx.Client) -> Iterator[Kept]:
    """A sandbox with a file, and a process in it."""
    made = create(client)
    made.run("echo kept > kept.txt; sync")
    yield made, made.start_process("sleep 1000")
    made.destroy()


def take_nearly_all(folder: Path) -> Path:
    """The file that has the blocks that were free, but for the last few."""
    filler = folder / "filler"
    with filler.open("wb") as file:
        size = 0
        for piece in PIECES:
            while took(file.fileno(), size, piece):
                size += piece
        file.truncate(size - LEFT)
    return filler


def took(descriptor: int, start: int, size: int) -> bool:
    try:
        os.posix_fallocate(descriptor, start, size)
    except OSError:
        return False
    return True


def fill(box: Sandbox) -> None:
    """From inside."""
    answer = box.try_run("dd if=/dev/zero of=filler bs=1M").json()
    assert answer["exitCode"] == 1
    assert "No space left" in answer["result"]


def works(box: Sandbox, process: str) -> None:
    assert box.state == "started"
    assert box.run("cat kept.txt") == "kept\n"
    assert box.is_alive(process)


def refuses_creation(client: httpx.Client) -> None:
    for answer in (client.post("/api/sandbox", json={}), client.post("/v1/capsules", json={})):
        assert "disk is full" in refused(answer, 503)


def begins_again(client: httpx.Client, box: Sandbox, process: str) -> None:
    made = create(client)
    made.run("head -c 10000000 /dev/zero > written; sync")
    made.destroy()
    accepted(box.change("pause"))
    accepted(box.change("start"))
    works(box, process)


def test_others_take_it(small_disk: Path, small_server: Server, client: httpx.Client, kept: Kept) -> None:
    box, _ = kept
    box.run(f"head -c {WEIGHT} /dev/zero > /dev/shm/weight")
    filler = take_nearly_all(small_disk)
    log = small_server.data / "server.log"
    while "disk_full" not in log.read_text(errors="replace"):
        pass
    assert "no room" in refused(box.change("pause"), 409)
    refuses_creation(client)
    fill(box)
    works(*kept)
    box.run("rm filler /dev/shm/weight")
    filler.unlink()
    begins_again(client, *kept)


def test_a_sandbox_takes_all_there_is(client: httpx.Client, kept: Kept) -> None:
    other = create(client)
    fill(other)
    refuses_creation(client)
    works(*kept)
    accepted(other.change("stop"))
    accepted(other.change("start"))
    other.run("rm filler; sync")
    begins_again(client, *kept)
    other.destroy()
