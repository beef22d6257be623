"""Volumes on a real host: seen by several sandboxes at once, and kept through whatever happens to these."""

import asyncio
import errno
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace

import pytest

from moonpool.engine.instance import Instance
from moonpool.engine.storage import Kind
from moonpool.errors import CheckpointIncompatible, CheckpointRefused, InvalidInput, VolumeInUse, VolumeNotFound
from moonpool.guest.model import ProcessSpec
from moonpool.hosts.model import MachineExit, MachineSpec, MachineState, Mount
from moonpool.ids import new_uuid
from tests.engine.hosts.test_copies import Machine

SIZE = 64  # MiB
HOLD = "import sys, time; file = open(sys.argv[1], 'w'); file.write('x'); file.flush(); time.sleep(1000)"
WRITE = "import sys; file = open(sys.argv[1], 'wb')\nfor _ in range(100): file.write(bytes(1 << 20)); file.flush()"


@pytest.fixture
def volume(host: Machine) -> Iterator[str]:
    name = new_uuid()
    host.run(host.host.create_volume(name, SIZE))
    yield name
    host.run(host.host.delete_volume(name))


@pytest.fixture
def two(host: Machine, volume: str) -> Iterator[tuple[MachineSpec, MachineSpec]]:
    """Two sandboxes with the whole volume at /data and at /mnt/data."""
    both = (create(host, Mount(volume, "/data")), create(host, Mount(volume, "/mnt/data")))
    yield both
    host.destroy(*both)


def create(host: Machine, *mounts: Mount) -> MachineSpec:
    spec = replace(host.new(), mounts=mounts)
    host.run(host.host.create(spec))
    return spec


def fails(host: Machine, spec: MachineSpec, *argv: str) -> str:
    """What a command that does not succeed complains of."""

    async def work() -> str:
        async with host.host.session(spec.id) as agent:
            result = await agent.run(ProcessSpec(argv=argv))
        assert result.exit_code != 0
        return result.stderr.decode()

    return str(host.run(work()))


def hold(host: Machine, spec: MachineSpec, path: str) -> None:
    """A program inside has the file open, and goes on."""
    begin = f'nohup python3 -c "{HOLD}" {path} > /dev/null 2>&1 &'
    host.shell(spec, f"{begin} until test -s {path}; do sleep 0.01; done")


async def exits_of(host: Machine) -> asyncio.Queue[MachineExit]:
    exits: asyncio.Queue[MachineExit] = asyncio.Queue()
    host.host.on_exit(exits.put_nowait)
    return exits


def gofer(host: Machine, spec: MachineSpec) -> int:
    run = Instance(host.data).run
    member = json.loads((run / "machines" / f"{spec.id}.json").read_text())["member"]
    return int(json.loads((run / "runsc" / f"{member}_sandbox:{member}.state").read_text())["goferPid"])


def test_each_sees_at_once_what_the_other_does(host: Machine, two: tuple[MachineSpec, MachineSpec]) -> None:
    one, other = two
    host.shell(one, "echo first > /data/file; mkdir /data/folder; ln -s file /data/link; chmod 640 /data/file")
    assert host.shell(other, "cat /mnt/data/file /mnt/data/link; stat -c %a /mnt/data/file") == "first\nfirst\n640"
    host.shell(other, "echo second >> /mnt/data/file; mv /mnt/data/file /mnt/data/folder/moved; rm /mnt/data/link")
    assert (
        host.shell(one, "ls /data; cat /data/folder/moved; stat -c %s /data/folder/moved")
        == "folder\nfirst\nsecond\n13"
    )
    host.shell(one, "truncate -s 3 /data/folder/moved")
    assert host.shell(other, "cat /mnt/data/folder/moved") == "fir"
    assert "File exists" in fails(host, other, "sh", "-c", "set -C; mkdir /mnt/data/folder")


def test_memory_maps_are_shared(host: Machine, two: tuple[MachineSpec, MachineSpec]) -> None:
    code = (
        "import mmap,sys; file = open(sys.argv[1], 'r+b'); view = mmap.mmap(file.fileno(), 4096)\n"
        "view[:6] = b'mapped'; view.flush()"
    )
    host.shell(two[1], "truncate -s 4096 /mnt/data/map")
    host.shell(two[0], f'python3 -c "{code}" /data/map')
    assert host.shell(two[1], "head -c 6 /mnt/data/map") == "mapped"


def test_ordinary_users_may_write(host: Machine, two: tuple[MachineSpec, MachineSpec]) -> None:
    host.shell(two[0], "su nobody -s /bin/sh -c 'echo x > /data/theirs'")
    assert host.shell(two[1], "stat -c %U /mnt/data/theirs") == "nobody"


def test_a_full_volume_is_an_error_to_the_program_and_to_nobody_else(
    host: Machine, two: tuple[MachineSpec, MachineSpec]
) -> None:
    assert os.strerror(errno.EDQUOT) in fails(host, two[0], "python3", "-c", WRITE, "/data/large")
    host.shell(two[0], "echo fine > /root/elsewhere; rm /data/large; sync; echo fine > /data/small")
    assert host.shell(two[1], "cat /mnt/data/small") == "fine"


def test_mounted_live_with_a_subpath_and_read_only(host: Machine, volume: str) -> None:
    spec = create(host)
    mounts = (
        Mount(volume, "/all", slot=0),
        Mount(volume, "/part", "a/b", slot=1),
        Mount(volume, "/look", None, True, 2),
    )
    host.run(host.host.set_mounts(spec.id, mounts))
    host.shell(spec, "echo deep > /part/file; test ! -e /part/../all/part")
    assert host.shell(spec, "cat /all/a/b/file /look/a/b/file; ls /part/..").startswith("deep\ndeep\n")
    for command in ("touch /look/new", "rm /look/a/b/file", "mount -o remount,rw /look; touch /look/new"):
        assert "Read-only" in fails(host, spec, "sh", "-c", command)
    hold(host, spec, "/all/held")
    with pytest.raises(VolumeInUse):
        host.run(host.host.set_mounts(spec.id, mounts[1:]))
    assert host.shell(spec, "cat /all/a/b/file") == "deep"
    host.shell(spec, "pkill python3; while pgrep python3; do sleep 0.01; done")
    host.run(host.host.set_mounts(spec.id, mounts[1:]))
    assert host.shell(spec, "ls /all; cat /part/file") == "deep"
    host.destroy(spec)


def test_taken_from_services_that_are_confined_too(host: Machine, volume: str) -> None:
    spec = create(host, Mount(volume, "/data"))
    unit = "printf '[Service]\nProtectSystem=full\nWorkingDirectory=%s\nExecStart=/bin/sleep 1000\n'"
    folder = "/etc/systemd/system"
    host.shell(spec, f"{unit} / >{folder}/free.service; {unit} /data >{folder}/held.service; systemctl daemon-reload")
    host.shell(spec, "touch /data/file; systemctl start free held")
    with pytest.raises(VolumeInUse):
        host.run(host.host.set_mounts(spec.id, ()))
    assert host.shell(spec, "ls /data") == "file"
    host.shell(spec, "systemctl stop held")
    host.run(host.host.set_mounts(spec.id, ()))
    inside = "/proc/$(systemctl show free -p MainPID --value)/root"
    assert host.shell(spec, f"test -d {inside}/data; ls -A /data {inside}/data | grep file || echo none") == "none"
    host.destroy(spec)


def test_what_confined_services_have_open_is_looked_for_where_they_see_it(host: Machine, volume: str) -> None:
    spec = create(host, Mount(volume, "/data"))
    start = "exec 7>/data/open; echo x >&7; exec sleep 1000"
    unit = f'[Service]\\nProtectSystem=full\\nExecStart=/bin/sh -c "{start}"\\n'
    host.shell(spec, f"printf '{unit}' > /etc/systemd/system/writer.service; systemctl daemon-reload")
    host.shell(spec, "systemctl start writer; until test -s /data/open; do sleep 0.01; done")
    host.run(host.host.pause(spec.id))
    host.run(host.host.resume(spec))
    host.shell(spec, "systemctl is-active writer; rm /data/open")
    with pytest.raises(CheckpointRefused, match="holds the deleted file /data/open open"):
        host.run(host.host.pause(spec.id))
    host.destroy(spec)


@pytest.mark.parametrize("target", ["/", "../../images", "/etc"])
def test_links_in_a_subpath_are_not_followed(host: Machine, volume: str, target: str) -> None:
    spec = create(host, Mount(volume, "/data"))
    host.shell(spec, f"mkdir /data/a; ln -s {target} /data/a/out; ln -s a /data/in; touch /data/file")
    for subpath in ("a/out", "a/out/base", "in", "file", "file/x", "..", "a/../.."):
        with pytest.raises(InvalidInput):
            host.run(host.host.set_mounts(spec.id, (*spec.mounts, Mount(volume, "/more", subpath, slot=1))))
    with pytest.raises(VolumeNotFound):
        host.run(host.host.set_mounts(spec.id, (*spec.mounts, Mount(new_uuid(), "/more", slot=1))))
    host.shell(spec, "test ! -e /more && echo still > /data/works")
    host.destroy(spec)


@pytest.mark.parametrize("path", ["/link-to-proc/x", "/file/x"])
def test_paths_that_turn_out_to_be_others_inside(host: Machine, volume: str, path: str) -> None:
    spec = create(host)
    host.shell(spec, "ln -s /proc /link-to-proc; touch /file")
    with pytest.raises(Exception, match=r"(?i)proc|not a directory|file"):
        host.run(host.host.set_mounts(spec.id, (Mount(volume, path),)))
    host.run(host.host.set_mounts(spec.id, (Mount(volume, "/good"),)))
    host.shell(spec, "echo x > /good/file")
    host.destroy(spec)


def test_kept_over_stop_pause_fork_and_snapshot(host: Machine, two: tuple[MachineSpec, MachineSpec]) -> None:
    one, other = two
    host.shell(
        one,
        "mkdir /data/there; nohup sh -c 'cd /data/there; exec 7>log; while :; do echo x >&7; sleep 0.02; done' "
        "> /dev/null 2>&1 & until test -s /data/there/log; do sleep 0.01; done",
    )
    host.run(host.host.pause(one.id))
    host.shell(other, "echo meanwhile > /mnt/data/while")
    host.run(host.host.resume(one))
    assert host.shell(one, "cat /data/while; pgrep -c sleep; test -s /data/there/log") in (
        "meanwhile\n1",
        "meanwhile\n0",
    )
    (copy,) = forks = [replace(host.new(), mounts=one.mounts)]
    assert host.run(host.host.fork(one.id, forks))
    host.run(host.host.resume(copy))
    host.shell(copy, "echo copy > /data/copy")
    assert host.shell(other, "cat /mnt/data/copy") == "copy"
    host.run(host.host.stop(one.id))
    host.run(host.host.start(one))
    assert host.shell(one, "cat /data/copy") == "copy"
    host.destroy(copy)


def test_a_file_that_another_deleted_is_told_before_a_pause(
    host: Machine, two: tuple[MachineSpec, MachineSpec]
) -> None:
    one, other = two
    hold(host, one, "/data/held")
    host.shell(other, "rm /mnt/data/held")
    with pytest.raises(CheckpointRefused, match="/data/held"):
        host.run(host.host.pause(one.id))
    host.shell(one, "echo on > /data/goes")


def test_a_file_that_another_deleted_during_a_pause_can_be_put_back(
    host: Machine, two: tuple[MachineSpec, MachineSpec]
) -> None:
    one, other = two
    hold(host, one, "/data/held")
    host.run(host.host.pause(one.id))
    host.shell(other, "mv /mnt/data/held /mnt/data/away")
    with pytest.raises(CheckpointIncompatible, match="volume"):
        host.run(host.host.resume(one))
    assert host.run(host.host.machines())[one.id] is MachineState.PAUSED
    host.shell(other, "mv /mnt/data/away /mnt/data/held")
    host.run(host.host.resume(one))
    assert host.shell(one, "pgrep -c python3") == "1"


def test_what_was_only_looked_at_may_go_during_a_pause(host: Machine, two: tuple[MachineSpec, MachineSpec]) -> None:
    one, other = two
    host.shell(one, "mkdir -p /data/a/b; echo x > /data/a/b/c; cat /data/a/b/c; ls -lR /data")
    host.run(host.host.pause(one.id))
    host.shell(other, "rm -r /mnt/data/a")
    host.run(host.host.resume(one))
    assert host.shell(one, "ls /data") == ""


def test_a_dead_gofer_takes_its_sandbox_and_not_the_volume(host: Machine, two: tuple[MachineSpec, MachineSpec]) -> None:
    one, other = two
    host.shell(one, "echo kept > /data/kept; sync")
    exits = host.run(exits_of(host))
    os.kill(gofer(host, one), signal.SIGKILL)
    assert host.run(exits.get()).id == one.id
    assert host.shell(other, "cat /mnt/data/kept") == "kept"
    host.run(host.host.start(one))
    assert host.shell(one, "cat /data/kept") == "kept"


def test_nothing_of_it_is_left(host: Machine) -> None:
    name = new_uuid()
    host.run(host.host.create_volume(name, SIZE))
    spec = create(host, Mount(name, "/data"))
    host.shell(spec, "echo x > /data/x")
    assert name in host.run(host.host.volumes())
    host.destroy(spec)
    for _ in range(2):
        host.run(host.host.delete_volume(name))
    assert name not in host.run(host.host.volumes())
    assert not (host.host._parts.pool.path / Kind.VOLUMES.value / name).exists()
