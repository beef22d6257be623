"""Archives in an S3-compatible store: a real server on loopback, which is also killed, and comes back."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import httpx
import pytest

from moonpool.archives.inspection import inspect_store
from moonpool.archives.s3 import S3Store, S3Target
from moonpool.archives.service import Archives
from moonpool.archives.settings import StoreSettings
from moonpool.clock import SystemClock
from moonpool.engine.storage import Kind
from moonpool.errors import ArchiveCorrupt, StoreUnavailable
from moonpool.hosts.inspection import Verdict
from moonpool.hosts.model import MEBIBYTE
from tests.conftest import die_with_parent
from tests.engine.archives.test_disks import SPEC, Machine, machine, nothing, state
from tests.ports import free_port

__all__ = ["machine"]

BUCKET = "kept"
START = 60.0  # seconds


@dataclass
class S3:
    port: int
    process: "subprocess.Popen[bytes]"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def store(self, *, bucket: str = BUCKET, retry_for: float = 20.0) -> S3Store:
        target = S3Target(bucket, "some/prefix", self.url, "us-east-1", "key", "secret")
        return S3Store(target, retry_for=timedelta(seconds=retry_for))

    def stop(self) -> None:
        """It takes connections, and answers nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    port = free_port()
    command = [sys.executable, "-W", "ignore", "-m", "tests.engine.archives.s3_server", str(port)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent) as process:
        server = S3(port, process)
        make_bucket(server)
        yield server
        process.kill()


def make_bucket(server: S3) -> None:
    deadline = time.monotonic() + START
    while True:
        try:
            httpx.put(f"{server.url}/{BUCKET}", headers={"Authorization": "AWS key:secret"}).raise_for_status()
            return
        except httpx.TransportError:
            assert server.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)  # Another process: its only sign is that it answers.


@pytest.fixture
def archives(machine: Machine, s3: S3) -> Archives:
    return Archives(machine, s3.store(), SystemClock())


async def test_there_and_back(machine: Machine, archives: Archives, s3: S3) -> None:
    (machine.disk / "more").write_bytes(os.urandom(20 * MEBIBYTE))
    before = state(machine.disk)
    archive = await archives.save(SPEC, nothing, None)
    names = await s3.store().list(f"sandboxes/{SPEC.id}/")
    assert len(names) == 3
    machine.pool.delete(Kind.SANDBOXES, SPEC.id)
    await archives.restore(SPEC, archive)
    assert state(machine.disk) == before
    await archives.remove(SPEC.id)
    await archives.remove(SPEC.id)
    assert await s3.store().list("sandboxes/") == {}


async def test_objects(s3: S3) -> None:
    store = s3.store()
    await store.put("a/b", b"one")
    await store.put("a/b", b"two")
    await store.put("ab/c", b"other")
    assert (await store.get("a/b"), await store.list("a/")) == (b"two", {"a/b": 3})
    await store.delete("a/b")
    await store.delete("a/b")
    await store.delete("ab/c")
    with pytest.raises(ArchiveCorrupt, match="lacks b"):
        await store.get("a/b")


async def test_a_store_that_is_down_leaves_the_disk_and_nothing_staged(machine: Machine, s3: S3) -> None:
    down = S3(free_port(), s3.process).store(retry_for=0.5)
    with pytest.raises(StoreUnavailable):
        await Archives(machine, down, SystemClock()).save(SPEC, nothing, None)
    assert (machine.names(Kind.STAGING), machine.names(Kind.SANDBOXES)) == ([], [SPEC.id])


async def test_a_store_that_hangs_for_a_while(machine: Machine, archives: Archives, s3: S3) -> None:
    """What is asked of it meanwhile is answered when it goes on."""
    s3.stop()
    try:
        saving = asyncio.ensure_future(archives.save(SPEC, nothing, None))
        await asyncio.wait({saving}, timeout=1.0)
        assert not saving.done()
    finally:
        s3.go_on()
    assert (await saving).disk_bytes > 3 * MEBIBYTE
    await archives.remove(SPEC.id)


@pytest.mark.parametrize("bucket", ["kept", "not-there"])
async def test_what_the_doctor_says(s3: S3, bucket: str) -> None:
    finding = await inspect_store(StoreSettings(f"s3://{bucket}/x", s3.url, "us-east-1", "key", "secret"))
    assert finding.verdict is (Verdict.GOOD if bucket == "kept" else Verdict.BAD)
    assert "secret" not in repr(finding)
