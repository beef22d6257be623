"""The official Daytona SDK, unchanged, against a real server: sandboxes and snapshots, as its users use them."""

import asyncio
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

# The SDK's own code and its dependencies warn; only this project's warnings are errors.
pytestmark = [pytest.mark.filterwarnings("default")]

MINIMAL = """
from daytona import Daytona
sandbox = Daytona().create()
print(sandbox.process.exec("echo hi").result.strip(), sandbox.state.value)
sandbox.delete()
"""


@pytest.fixture
def daytona(server: Any) -> Iterator[Any]:
    from daytona import Daytona, DaytonaConfig

    client = Daytona(DaytonaConfig(api_key=server.api_key, api_url=f"{server.url}/api"))
    before = {item.id for item in client.list()}
    yield client
    for sandbox in client.list():
        if sandbox.id not in before:
            sandbox.delete(wait=True)
    client._event_dispatcher.disconnect()


@pytest.fixture
async def async_daytona(server: Any) -> AsyncIterator[Any]:
    from daytona import AsyncDaytona, DaytonaConfig

    async with AsyncDaytona(DaytonaConfig(api_key=server.api_key, api_url=f"{server.url}/api")) as client:
        before = {item.id async for item in client.list()}
        yield client
        async for sandbox in client.list():
            if sandbox.id not in before:
                await sandbox.delete(wait=True)


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def test_environment_alone_is_enough(server: Any) -> None:
    """Nothing is changed in the SDK but its URL and its key."""
    environment = {**os.environ, "DAYTONA_API_URL": f"{server.url}/api", "DAYTONA_API_KEY": server.api_key}
    done = subprocess.run([sys.executable, "-c", MINIMAL], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["hi", "started"]


def test_create_get_list_delete(daytona: Any) -> None:
    from daytona import CreateSandboxFromSnapshotParams, DaytonaNotFoundError, ListSandboxesQuery

    name = unique("full")
    params = CreateSandboxFromSnapshotParams(
        name=name,
        snapshot="daytona-small",
        language="typescript",
        env_vars={"GREETING": "hello"},
        labels={"suite": name},
        public=True,
        auto_stop_interval=0,
        auto_archive_interval=60,
        auto_delete_interval=120,
    )
    sandbox = daytona.create(params)
    assert sandbox.state.value == "started"
    assert (sandbox.name, sandbox.user, sandbox.public) == (name, "daytona", True)
    assert sandbox.labels == {"suite": name, "code-toolbox-language": "typescript"}
    assert (sandbox.cpu, sandbox.memory, sandbox.disk) == (1, 1, 3)
    assert (sandbox.auto_stop_interval, sandbox.auto_archive_interval, sandbox.auto_delete_interval) == (0, 60, 120)
    script = 'echo "$GREETING $DAYTONA_SANDBOX_ID $(whoami)"'
    assert sandbox.process.exec(script).result.split() == ["hello", sandbox.id, "daytona"]

    assert daytona.get(sandbox.id).name == name
    assert daytona.get(name).id == sandbox.id
    found = list(daytona.list(ListSandboxesQuery(labels={"suite": name}, limit=1)))
    assert [item.id for item in found] == [sandbox.id]

    sandbox.delete(wait=True)
    assert sandbox.state.value == "destroyed"
    with pytest.raises(DaytonaNotFoundError):
        daytona.get(sandbox.id)


def test_stop_start_keep_files(daytona: Any) -> None:
    sandbox = daytona.create()
    sandbox.process.exec("echo kept > /home/daytona/note")
    sandbox.stop()
    assert sandbox.state.value == "stopped"
    sandbox.start()
    assert sandbox.state.value == "started"
    assert sandbox.process.exec("cat /home/daytona/note").result.strip() == "kept"


def test_archive_start_keep_files(daytona: Any) -> None:
    sandbox = daytona.create()
    sandbox.fs.upload_file(b"keep me", "kept.txt")
    sandbox.stop()
    sandbox.archive()
    assert sandbox.state.value in ("archiving", "archived")
    sandbox.start(timeout=120)
    assert sandbox.state.value == "started"
    assert sandbox.fs.download_file("kept.txt") == b"keep me"


def test_pause_start_keep_memory(daytona: Any) -> None:
    sandbox = daytona.create()
    before = sandbox.process.exec("nohup sleep 1000 >/dev/null 2>&1 & echo $!").result.strip()
    sandbox.pause()
    sandbox.refresh_data()
    assert sandbox.state.value == "paused"
    sandbox.start()
    assert sandbox.process.exec("pgrep -x sleep").result.split() == [before]


def test_settings(daytona: Any) -> None:
    sandbox = daytona.create()
    assert sandbox.set_labels({"a": "b"}) == {"a": "b"}
    sandbox.set_autostop_interval(30)
    sandbox.set_auto_archive_interval(60)
    sandbox.set_auto_delete_interval(90)
    sandbox.set_public(True)
    sandbox.refresh_activity()
    sandbox.refresh_data()
    assert sandbox.labels == {"a": "b"}
    assert (sandbox.auto_stop_interval, sandbox.auto_archive_interval, sandbox.auto_delete_interval) == (30, 60, 90)
    assert sandbox.public is True


def test_ephemeral(daytona: Any) -> None:
    from daytona import CreateSandboxFromSnapshotParams

    sandbox = daytona.create(CreateSandboxFromSnapshotParams(ephemeral=True))
    assert sandbox.auto_delete_interval == 0
    sandbox.stop()
    assert sandbox.state.value == "destroyed"


def test_resize(daytona: Any) -> None:
    from daytona import Resources

    sandbox = daytona.create()
    sandbox.resize(Resources(cpu=2, memory=2))
    assert (sandbox.cpu, sandbox.memory) == (2, 2)


def test_snapshots(daytona: Any) -> None:
    names = {item.name for item in daytona.snapshot.list().items}
    assert names >= {"daytona-small", "daytona-medium", "daytona-large"}
    assert daytona.snapshot.get("daytona-medium").cpu == 2


def test_errors_have_the_sdks_classes(daytona: Any, server: Any) -> None:
    from daytona import (
        CreateSandboxFromSnapshotParams,
        Daytona,
        DaytonaAuthenticationError,
        DaytonaConfig,
        DaytonaConflictError,
        DaytonaError,
        DaytonaNotFoundError,
    )

    with pytest.raises(DaytonaNotFoundError):
        daytona.get("nowhere")
    with pytest.raises(DaytonaError, match="Snapshot nowhere not found"):
        daytona.create(CreateSandboxFromSnapshotParams(snapshot="nowhere"))
    name = unique("twice")
    daytona.create(CreateSandboxFromSnapshotParams(name=name))
    with pytest.raises(DaytonaConflictError):
        daytona.create(CreateSandboxFromSnapshotParams(name=name))
    with pytest.raises(DaytonaNotFoundError):
        daytona.volume.get("nowhere")
    stranger = Daytona(DaytonaConfig(api_key="wrong-key", api_url=f"{server.url}/api"))
    with pytest.raises(DaytonaAuthenticationError):
        stranger.get(name)


def test_volumes_are_shared_and_outlive_sandboxes(daytona: Any) -> None:
    from daytona import CreateSandboxFromSnapshotParams, DaytonaConflictError, VolumeMount

    volume = daytona.volume.get(unique("data"), create=True)
    assert (volume.state, daytona.volume.get(volume.name).id) == ("ready", volume.id)
    mounts = [VolumeMount(volume_id=volume.id, mount_path="/home/daytona/data")]
    writer = daytona.create(CreateSandboxFromSnapshotParams(volumes=mounts))
    parts = [VolumeMount(volume_id=volume.id, mount_path="/part", subpath="a/b")]
    reader = daytona.create(CreateSandboxFromSnapshotParams(volumes=parts))
    writer.fs.upload_file(b"shared", "/home/daytona/data/a/b/file")
    assert reader.fs.download_file("/part/file") == b"shared"
    with pytest.raises(DaytonaConflictError, match="in use"):
        daytona.volume.delete(volume)
    for sandbox in (writer, reader):
        sandbox.delete()
    again = daytona.create(CreateSandboxFromSnapshotParams(volumes=mounts))
    assert again.process.exec("cat data/a/b/file", cwd="/home/daytona").result == "shared"
    again.delete()
    daytona.volume.delete(volume)
    assert volume.id not in [one.id for one in daytona.volume.list()]


async def test_async_life(async_daytona: Any) -> None:
    sandbox = await async_daytona.create()
    assert sandbox.state.value == "started"
    assert (await sandbox.process.exec("echo hi")).result.strip() == "hi"
    await sandbox.pause()
    await sandbox.start()
    await sandbox.stop()
    assert sandbox.state.value == "stopped"
    await sandbox.start()
    assert [item.id async for item in async_daytona.list()] == [sandbox.id]
    assert (await async_daytona.get(sandbox.id)).state.value == "started"
    await sandbox.delete(wait=True)
    assert sandbox.state.value == "destroyed"


async def test_ten_at_once(async_daytona: Any) -> None:
    made = await asyncio.gather(*(async_daytona.create() for _ in range(10)))
    results = await asyncio.gather(*(sandbox.process.exec("echo $DAYTONA_SANDBOX_ID") for sandbox in made))
    assert [done.result.strip() for done in results] == [sandbox.id for sandbox in made]
    await asyncio.gather(*(sandbox.delete() for sandbox in made))


async def test_events_arrive(async_daytona: Any) -> None:
    """The SDK hears of a change that somebody else made."""
    sandbox = await async_daytona.create()
    other = await async_daytona.get(sandbox.id)
    waiting = asyncio.create_task(sandbox.wait_for_sandbox_stop())
    await other.stop()
    await waiting
    assert async_daytona._event_dispatcher.is_connected


def test_old_clients(daytona: Any, server: Any) -> None:
    """SDKs before cursors list by page numbers."""
    sandbox = daytona.create()
    headers = {"Authorization": f"Bearer {server.api_key}"}
    answer = httpx.get(f"{server.url}/api/sandbox/paginated", headers=headers).json()
    assert sandbox.id in [item["id"] for item in answer["items"]]
    assert answer["total"] >= 1
