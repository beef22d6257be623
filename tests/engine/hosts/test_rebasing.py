"""A stopped machine gets another root, in which one folder of its own is kept."""

import asyncio
from collections.abc import Iterator

import pytest

from moonpool.errors import SnapshotNotFound
from moonpool.hosts.model import MEBIBYTE, MachineSpec
from tests.engine.hosts.test_copies import RESOURCES, Machine

KEPT = "/project/workspace"
LIMIT = RESOURCES.disk_mib * MEBIBYTE
FILL = f"""set -e
mkdir -p {KEPT}/deep && cd {KEPT}
echo own > file && chown 1000:1001 file && chmod 640 file
ln -s /etc/hostname link && ln -s ../../../../../../etc/shadow deep/out
mkdir -m 2770 deep/shared && touch "deep/ä ö" /outside
"""
LOOK = f"""
cd {KEPT} && stat -c '%a %u %g %s' file && cat file && readlink link deep/out && stat -c '%a' deep/shared && ls deep
ls /outside 2>/dev/null; cat /of-the-image {KEPT}/from-the-image
"""
FOUND = "640 1000 1001 4\nown\n/etc/hostname\n../../../../../../etc/shadow\n2770\nout\nshared\nä ö\nimage\ntoo"


@pytest.fixture
def image(host: Machine) -> Iterator[str]:
    """A snapshot's id."""
    source = host.new()
    host.run(host.host.create(source))
    host.shell(source, f"echo image > /of-the-image; mkdir -p {KEPT}; echo too > {KEPT}/from-the-image")
    snapshot = host.capture(source, memory=False)
    host.destroy(source)
    yield snapshot
    host.run(host.host.forget(snapshot))


@pytest.fixture
def stopped(host: Machine) -> Iterator[MachineSpec]:
    spec = host.new()
    host.run(host.host.create(spec))
    host.shell(spec, FILL)
    host.run(host.host.stop(spec.id))
    yield spec
    host.destroy(spec)


def staged(host: Machine) -> list[str]:
    return [path.name for path in (host.data / "pool" / "staging").iterdir()]


def test_what_is_kept_is_as_it_was(host: Machine, image: str, stopped: MachineSpec) -> None:
    for _ in range(2):  # As after a server that was killed before it noted that it was done.
        host.run(host.host.layers.rebase(stopped.id, image, KEPT, LIMIT))
    assert staged(host) == []
    host.run(host.host.start(stopped))
    assert host.shell(stopped, LOOK) == FOUND


def test_what_fails_changes_nothing(host: Machine, image: str, stopped: MachineSpec) -> None:
    with pytest.raises(SnapshotNotFound):
        host.run(host.host.layers.rebase(stopped.id, "nothing", KEPT, LIMIT))
    host.run(host.host.start(stopped))
    host.shell(stopped, f"head -c {64 * MEBIBYTE} /dev/urandom > {KEPT}/large")
    host.run(host.host.stop(stopped.id))

    async def cut_off() -> None:
        """In the middle of the copying, most likely; wherever it is, the outcome is one of two."""
        task = asyncio.create_task(host.host.layers.rebase(stopped.id, image, KEPT, LIMIT))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    host.run(cut_off())
    assert staged(host) == []
    host.run(host.host.start(stopped))
    assert host.shell(stopped, f"stat -c %s {KEPT}/large; ls /outside") == f"{64 * MEBIBYTE}\n/outside"


def test_a_folder_that_is_not_there(host: Machine, image: str, stopped: MachineSpec) -> None:
    host.run(host.host.layers.rebase(stopped.id, image, "/nowhere/at/all", LIMIT))
    host.run(host.host.start(stopped))
    assert host.shell(stopped, f"ls {KEPT}; ls /nowhere/at/all; cat /of-the-image") == "from-the-image\nimage"
