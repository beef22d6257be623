"""Where the pool comes from, and that it comes back whatever happened to it."""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from moonpool.engine.instance import Instance
from moonpool.engine.storage import Kind, Pool, QuotaMode, btrfs, loop, quota
from moonpool.engine.storage.mounts import filesystem_of, mount_at
from moonpool.errors import EngineError

MEBIBYTE = 1024**2
SIZE = 1024 * MEBIBYTE
OPEN_AND_DIE = """
import os, signal, sys
from pathlib import Path
from moonpool.engine.instance import Instance
from moonpool.engine.storage import Kind, Pool
pool = Pool.open(Instance(Path(sys.argv[1])), size_bytes=int(sys.argv[2]))
(pool.create(Kind.SANDBOXES, "box") / "file").write_text("kept")
os.kill(os.getpid(), signal.SIGKILL)
"""


@contextmanager
def mounted(point: Path, *options: str) -> Iterator[Path]:
    point.mkdir(exist_ok=True)
    subprocess.run(["mount", *options, str(point)], check=True)
    try:
        yield point
    finally:
        subprocess.run(["umount", str(point)], check=True)


@contextmanager
def own_btrfs(tmp_path: Path) -> Iterator[Path]:
    """A folder on a btrfs file system that the pool did not make."""
    image = tmp_path / "disk.img"
    with image.open("wb") as file:
        os.truncate(file.fileno(), SIZE)
    subprocess.run(["mkfs.btrfs", "-q", str(image)], check=True)
    with mounted(tmp_path / "disk", "-o", "loop", str(image)) as disk:
        yield disk


def test_the_file_is_sparse_and_nothing_stays_after_closing(instance: Instance) -> None:
    pool = Pool.open(instance, size_bytes=SIZE)
    image = instance.data / "pool.img"
    assert image.stat().st_size == SIZE
    assert image.stat().st_blocks * 512 < SIZE / 8
    assert image.stat().st_mode & 0o777 == 0o600
    assert Pool.is_open(instance)
    pool.close()
    pool.close()
    assert not Pool.is_open(instance)
    assert loop.devices_of(image) == []


def test_what_was_written_is_there_after_reopening(instance: Instance) -> None:
    pool = Pool.open(instance, size_bytes=SIZE)
    (pool.create(Kind.SANDBOXES, "box") / "file").write_text("kept")
    pool.close()
    again = Pool.open(instance, size_bytes=SIZE)
    assert (again.path / "sandboxes/box/file").read_text() == "kept"
    again.close()


def test_a_killed_process_leaves_a_mount_that_the_next_one_takes_over(instance: Instance) -> None:
    command = [sys.executable, "-c", OPEN_AND_DIE, str(instance.data), str(SIZE)]
    assert subprocess.run(command, check=False).returncode == -9
    assert Pool.is_open(instance)
    pool = Pool.open(instance, size_bytes=SIZE)
    assert (pool.path / "sandboxes/box/file").read_text() == "kept"
    assert len(loop.devices_of(instance.data / "pool.img")) == 1
    pool.close()
    assert loop.devices_of(instance.data / "pool.img") == []


def test_killed_while_formatting(instance: Instance) -> None:
    instance.data.mkdir()
    (instance.data / "pool.img.new").write_bytes(b"half")
    pool = Pool.open(instance, size_bytes=SIZE)
    assert not (instance.data / "pool.img.new").exists()
    pool.close()


def test_killed_between_formatting_and_mounting(instance: Instance) -> None:
    instance.data.mkdir()
    loop.ensure_image(instance.data / "pool.img", SIZE)
    pool = Pool.open(instance, size_bytes=SIZE)
    assert pool.names(Kind.IMAGES) == []
    pool.close()


def test_killed_between_mounting_and_switching_quotas_on(instance: Instance) -> None:
    instance.data.mkdir()
    loop.ensure_image(instance.data / "pool.img", SIZE)
    loop.mount(instance.data / "pool.img", instance.data / "pool")
    assert quota.mode_of(instance.data / "pool") is None
    pool = Pool.open(instance, size_bytes=SIZE)
    assert quota.mode_of(pool.path) is pool.quota_mode
    pool.close()


def test_killed_between_attaching_and_mounting(instance: Instance) -> None:
    instance.data.mkdir()
    image = instance.data / "pool.img"
    loop.ensure_image(image, SIZE)
    subprocess.run(["losetup", "--find", str(image)], check=True)
    pool = Pool.open(instance, size_bytes=SIZE)
    assert len(loop.devices_of(image)) == 1
    pool.close()
    assert loop.devices_of(image) == []


def test_it_grows_while_it_is_mounted_and_never_shrinks(instance: Instance) -> None:
    pool = Pool.open(instance, size_bytes=SIZE)
    small = shutil.disk_usage(pool.path).total
    grown = Pool.open(instance, size_bytes=2 * SIZE)
    assert shutil.disk_usage(grown.path).total == small + SIZE
    assert shutil.disk_usage(Pool.open(instance, size_bytes=SIZE).path).total == small + SIZE
    pool.close()


def test_killed_between_enlarging_the_file_and_the_file_system(instance: Instance) -> None:
    Pool.open(instance, size_bytes=SIZE).close()
    os.truncate(instance.data / "pool.img", 2 * SIZE)
    pool = Pool.open(instance, size_bytes=SIZE)
    assert shutil.disk_usage(pool.path).total == 2 * SIZE
    pool.close()


def test_a_file_that_is_not_btrfs_is_never_touched(instance: Instance) -> None:
    instance.data.mkdir()
    image = instance.data / "pool.img"
    image.write_bytes(b"somebody's thesis" * 10_000)
    with pytest.raises(EngineError, match="not a btrfs"):
        Pool.open(instance, size_bytes=SIZE)
    assert image.read_bytes() == b"somebody's thesis" * 10_000


def test_something_else_mounted_in_its_place_is_refused(instance: Instance) -> None:
    instance.data.mkdir()
    with mounted(instance.data / "pool", "-t", "tmpfs", "tmpfs"), pytest.raises(EngineError, match="Something else"):
        Pool.open(instance, size_bytes=SIZE)


def test_closing_names_who_holds_it_and_can_be_tried_again(instance: Instance) -> None:
    pool = Pool.open(instance, size_bytes=SIZE)
    path = pool.create(Kind.SANDBOXES, "box") / "open"
    with path.open("w"), pytest.raises(EngineError, match="busy") as refused:
        pool.close()
    assert f"{os.getpid()} (" in refused.value.hint
    assert Pool.is_open(instance)
    pool.close()


def test_a_foreign_namespace_keeps_neither_the_pool_nor_its_device(instance: Instance) -> None:
    pool = Pool.open(instance, size_bytes=SIZE)
    pool.create(Kind.SANDBOXES, "box")
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", "echo ready; read line"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        pool.close()
        assert loop.devices_of(instance.data / "pool.img") == []
        again = Pool.open(instance, size_bytes=SIZE)
        assert again.names(Kind.SANDBOXES) == ["box"]
        again.close()
        assert loop.devices_of(instance.data / "pool.img") == []


def test_a_power_cut_after_sync_loses_nothing(instance: Instance, tmp_path: Path) -> None:
    """What the file holds at that moment is what a machine finds when its power comes back."""
    pool = Pool.open(instance, size_bytes=SIZE)
    image = pool.create(Kind.STAGING, "fresh")
    (image / "file").write_bytes(b"x" * MEBIBYTE)
    published = pool.rename(Kind.STAGING, "fresh", Kind.IMAGES, "base")
    box = pool.snapshot(published, Kind.SANDBOXES, "box", limit_bytes=8 * MEBIBYTE)
    (box / "note").write_text("synced")
    pool.sync(box)
    after = Instance(tmp_path / "after")
    after.data.mkdir()
    subprocess.run(["cp", "--sparse=always", instance.data / "pool.img", after.data / "pool.img"], check=True)
    pool.close()
    found = Pool.open(after, size_bytes=SIZE)
    assert (found.path / "images/base/file").stat().st_size == MEBIBYTE
    assert (found.path / "sandboxes/box/note").read_text() == "synced"
    assert found.usage(found.path / "sandboxes/box").limit_bytes == 8 * MEBIBYTE
    assert found.names(Kind.STAGING) == []
    found.close()


def test_a_power_cut_after_a_commit_undoes_no_move(instance: Instance, tmp_path: Path) -> None:
    pool = Pool.open(instance, size_bytes=SIZE)
    made = pool.create(Kind.SPARES, "one")
    (made / "file").write_bytes(b"x" * MEBIBYTE)
    pool.sync(made)
    pool.set_limit(made, 8 * MEBIBYTE)
    pool.move(Kind.SPARES, "one", Kind.SANDBOXES, "box")
    pool.commit()
    after = Instance(tmp_path / "after")
    after.data.mkdir()
    subprocess.run(["cp", "--sparse=always", instance.data / "pool.img", after.data / "pool.img"], check=True)
    pool.close()
    found = Pool.open(after, size_bytes=SIZE)
    assert (found.names(Kind.SPARES), found.names(Kind.SANDBOXES)) == ([], ["box"])
    assert (found.path / "sandboxes/box/file").stat().st_size == MEBIBYTE
    assert found.usage(found.path / "sandboxes/box").limit_bytes == 8 * MEBIBYTE
    found.close()


def test_a_full_disk_below_the_file_costs_nothing_that_was_synced(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=200m", "tmpfs") as small:
        instance = Instance(small / "data")
        pool = Pool.open(instance, size_bytes=SIZE)
        box = pool.create(Kind.SANDBOXES, "box")
        (box / "before").write_text("synced")
        pool.sync(box)
        assert pool.free_bytes() <= 200 * MEBIBYTE
        with pytest.raises((OSError, EngineError)):
            write_until_refused(pool, box / "big")
        pool.close()
        subprocess.run(["mount", "-o", "remount,size=1g", str(small)], check=True)
        again = Pool.open(instance, size_bytes=SIZE)
        assert (again.path / "sandboxes/box/before").read_text() == "synced"
        (again.path / "sandboxes/box/after").write_text("writable")
        again.sync(again.path)
        again.close()


def write_until_refused(pool: Pool, path: Path) -> None:
    """The kernel takes more than there is room for, and says so only when it has to write it down."""
    with path.open("wb", buffering=0) as file:
        for _ in range(300):
            file.write(os.urandom(MEBIBYTE))
            os.fsync(file.fileno())
    pool.sync(path.parent)


def test_deleted_space_goes_back_to_the_machine(instance: Instance) -> None:
    pool = Pool.open(instance, size_bytes=SIZE)
    box = pool.create(Kind.SANDBOXES, "box")
    (box / "big").write_bytes(os.urandom(256 * MEBIBYTE))
    pool.sync(box)
    full = (instance.data / "pool.img").stat().st_blocks
    pool.delete(Kind.SANDBOXES, "box")
    pool.sync(pool.path)  # wakes the kernel's cleaner
    subprocess.run(["btrfs", "subvolume", "sync", str(pool.path)], check=True, capture_output=True)
    pool.sync(pool.path)
    subprocess.run(["fstrim", str(pool.path)], check=True)
    assert (instance.data / "pool.img").stat().st_blocks < full / 4
    pool.close()


def test_on_a_btrfs_of_the_users_own_it_is_a_folder(tmp_path: Path) -> None:
    with own_btrfs(tmp_path) as disk:
        pool = Pool.open(Instance(disk / "data"), size_bytes=SIZE)
        assert filesystem_of(pool.path) == "btrfs"
        assert mount_at(pool.path) is None
        assert not (disk / "data/pool.img").exists()
        box = pool.create(Kind.SANDBOXES, "box")
        pool.set_limit(box, 4 * MEBIBYTE)
        with pytest.raises(OSError, match="quota") as refused:
            (box / "big").write_bytes(os.urandom(16 * MEBIBYTE))
        assert refused.value.errno == errno.EDQUOT
        elsewhere = tmp_path / "elsewhere"
        with mounted(elsewhere, "--bind", str(box)), pytest.raises(EngineError, match="mounted"):
            pool.delete(Kind.SANDBOXES, "box")
        pool.close()
        pool.delete(Kind.SANDBOXES, "box")


def test_quotas_that_are_on_already_stay_as_they_are(tmp_path: Path) -> None:
    with own_btrfs(tmp_path) as disk:
        btrfs.enable_quota(disk, simple=False)
        pool = Pool.open(Instance(disk / "data"), size_bytes=SIZE)
        assert pool.quota_mode is QuotaMode.CLASSIC
        assert quota.mode_of(disk) is QuotaMode.CLASSIC
        image = pool.create(Kind.IMAGES, "image")
        (image / "system").write_bytes(os.urandom(16 * MEBIBYTE))
        pool.sync(image)
        box = pool.snapshot(image, Kind.SANDBOXES, "box", limit_bytes=4 * MEBIBYTE)
        with pytest.raises(OSError, match="quota"):
            (box / "big").write_bytes(os.urandom(32 * MEBIBYTE))
        (box / "big").unlink()
        pool.sync(box)
        (box / "small").write_bytes(os.urandom(MEBIBYTE))
        pool.sync(box)
        assert MEBIBYTE <= pool.usage(box).used_bytes < 2 * MEBIBYTE
        pool.delete(Kind.SANDBOXES, "box")
