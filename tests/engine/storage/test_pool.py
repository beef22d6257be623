"""Subvolumes: made, copied, renamed, limited, deleted."""

import errno
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from moonpool.engine.storage import Kind, Pool, QuotaMode, btrfs, quota
from moonpool.errors import EngineError

MEBIBYTE = 1024**2


def fill(path: Path, size: int) -> int:
    """Write until ``size`` or until the kernel refuses; the bytes that were taken. Incompressible, in small steps."""
    written = 0
    with path.open("wb", buffering=0) as file:
        while written < size:
            written += file.write(os.urandom(MEBIBYTE))
    return written


def refused(path: Path, size: int) -> int:
    """The error number with which filling ``path`` ends."""
    with pytest.raises(OSError, match=str(path.name) + "|quota|space") as failure:
        fill(path, size)
    assert failure.value.errno is not None
    return failure.value.errno


def test_what_is_created_is_listed_by_kind_and_deleted_again(pool: Pool) -> None:
    pool.create(Kind.IMAGES, "one")
    pool.create(Kind.IMAGES, "two")
    pool.create(Kind.VOLUMES, "one")
    assert pool.names(Kind.IMAGES) == ["one", "two"]
    pool.delete(Kind.IMAGES, "one")
    pool.delete(Kind.IMAGES, "one")
    assert pool.names(Kind.IMAGES) == ["two"]
    assert pool.names(Kind.VOLUMES) == ["one"]


def test_deletions_are_told(pool: Pool) -> None:
    told: list[list[str]] = []
    pool.on_delete(lambda: told.append(pool.names(Kind.IMAGES)))
    for name in ("one", "two"):
        pool.create(Kind.IMAGES, name)
    pool.delete(Kind.IMAGES, "one")
    pool.delete(Kind.IMAGES, "one")
    assert told == [["two"]]
    pool.on_delete(None)
    pool.delete(Kind.IMAGES, "two")
    assert told == [["two"]]


def test_a_snapshot_is_a_copy_that_goes_its_own_way(pool: Pool) -> None:
    image = pool.create(Kind.IMAGES, "image")
    (image / "file").write_text("first")
    sandbox = pool.snapshot(image, Kind.SANDBOXES, "box")
    (sandbox / "file").write_text("second")
    assert (image / "file").read_text() == "first"


def test_a_read_only_snapshot_cannot_be_written(pool: Pool) -> None:
    source = pool.create(Kind.SANDBOXES, "box")
    kept = pool.snapshot(source, Kind.SNAPSHOTS, "kept", read_only=True)
    with pytest.raises(OSError, match="Read-only"):
        (kept / "file").write_text("no")
    pool.set_read_only(kept, False)
    (kept / "file").write_text("yes")


def test_a_snapshot_onto_an_existing_one_is_refused_and_leaves_it_alone(pool: Pool) -> None:
    source = pool.create(Kind.IMAGES, "image")
    target = pool.create(Kind.SANDBOXES, "box")
    with pytest.raises(EngineError, match="already"):
        pool.snapshot(source, Kind.SANDBOXES, "box")
    assert list(target.iterdir()) == []
    with pytest.raises(OSError, match="exists"):
        btrfs.create_snapshot(source, target, read_only=False, limit_bytes=None)


@pytest.mark.parametrize("name", ["", ".", "..", "../images", "a/b", "A", "-a", "a\0", "a" * 102, "a b", "é"])
def test_names_that_could_lead_elsewhere_are_refused(pool: Pool, name: str) -> None:
    source = pool.create(Kind.IMAGES, "image")
    for action in (
        lambda: pool.create(Kind.SANDBOXES, name),
        lambda: pool.delete(Kind.SANDBOXES, name),
        lambda: pool.snapshot(source, Kind.SANDBOXES, name),
        lambda: pool.rename(Kind.IMAGES, "image", Kind.IMAGES, name),
    ):
        with pytest.raises(EngineError):
            action()


def test_paths_that_are_no_subvolumes_of_the_pool_are_refused(pool: Pool, tmp_path: Path) -> None:
    folder = pool.path / Kind.SANDBOXES.value / "folder"
    folder.mkdir()
    for path in (tmp_path, pool.path, folder, pool.path / "sandboxes" / "absent"):
        with pytest.raises(EngineError, match="no disk"):
            pool.set_limit(path, MEBIBYTE)
        with pytest.raises(EngineError, match="no disk"):
            pool.usage(path)
        with pytest.raises(EngineError, match="no disk"):
            pool.snapshot(path, Kind.SNAPSHOTS, "copy")


def test_the_limit_reaches_the_writer_and_space_freed_can_be_used_again(pool: Pool) -> None:
    image = pool.create(Kind.IMAGES, "image")
    fill(image / "system", 40 * MEBIBYTE)
    sandbox = pool.snapshot(image, Kind.SANDBOXES, "box", limit_bytes=16 * MEBIBYTE)
    assert refused(sandbox / "big", 64 * MEBIBYTE) == errno.EDQUOT
    assert (sandbox / "big").stat().st_size > 8 * MEBIBYTE
    (sandbox / "big").unlink()
    pool.sync(sandbox)
    fill(sandbox / "again", 8 * MEBIBYTE)


def test_a_limit_set_with_the_snapshot_is_there_from_the_start(pool: Pool) -> None:
    image = pool.create(Kind.IMAGES, "image")
    sandbox = pool.snapshot(image, Kind.SANDBOXES, "box", limit_bytes=5 * MEBIBYTE)
    assert pool.usage(sandbox).limit_bytes == 5 * MEBIBYTE
    assert pool.usage(image).limit_bytes is None


def test_a_limit_is_changed_and_lifted_live(pool: Pool) -> None:
    sandbox = pool.create(Kind.SANDBOXES, "box")
    pool.set_limit(sandbox, 4 * MEBIBYTE)
    assert refused(sandbox / "a", 32 * MEBIBYTE) == errno.EDQUOT
    pool.set_limit(sandbox, 24 * MEBIBYTE)
    fill(sandbox / "b", 8 * MEBIBYTE)
    pool.set_limit(sandbox, None)
    fill(sandbox / "c", 32 * MEBIBYTE)
    assert pool.usage(sandbox).limit_bytes is None


def test_usage_counts_what_a_subvolume_wrote_and_not_what_it_shares(pool: Pool) -> None:
    image = pool.create(Kind.IMAGES, "image")
    fill(image / "system", 20 * MEBIBYTE)
    sandbox = pool.snapshot(image, Kind.SANDBOXES, "box")
    fork = pool.snapshot(sandbox, Kind.SANDBOXES, "fork")
    fill(fork / "own", 6 * MEBIBYTE)
    pool.sync(fork)
    assert pool.usage(image).used_bytes >= 20 * MEBIBYTE
    assert pool.usage(sandbox).used_bytes < MEBIBYTE
    assert 6 * MEBIBYTE <= pool.usage(fork).used_bytes < 7 * MEBIBYTE


def test_a_full_neighbour_does_not_stop_a_fork(pool: Pool) -> None:
    sandbox = pool.create(Kind.SANDBOXES, "box")
    pool.set_limit(sandbox, 4 * MEBIBYTE)
    assert refused(sandbox / "a", 32 * MEBIBYTE) == errno.EDQUOT
    fork = pool.snapshot(sandbox, Kind.SANDBOXES, "fork", limit_bytes=16 * MEBIBYTE)
    fill(fork / "b", 8 * MEBIBYTE)


def test_a_subvolume_that_is_mounted_elsewhere_is_not_deleted(pool: Pool, tmp_path: Path) -> None:
    sandbox = pool.create(Kind.SANDBOXES, "box")
    (sandbox / "home").mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    subprocess.run(["mount", "--bind", str(sandbox / "home"), str(elsewhere)], check=True)
    try:
        with pytest.raises(EngineError, match=r"mounted at .*elsewhere"):
            pool.delete(Kind.SANDBOXES, "box")
    finally:
        subprocess.run(["umount", str(elsewhere)], check=True)
    pool.delete(Kind.SANDBOXES, "box")


def test_a_name_that_only_begins_alike_does_not_count_as_mounted(pool: Pool, tmp_path: Path) -> None:
    pool.create(Kind.SANDBOXES, "box")
    other = pool.create(Kind.SANDBOXES, "box2")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    subprocess.run(["mount", "--bind", str(other), str(elsewhere)], check=True)
    try:
        pool.delete(Kind.SANDBOXES, "box")
    finally:
        subprocess.run(["umount", str(elsewhere)], check=True)


def test_renaming_publishes_and_never_replaces(pool: Pool) -> None:
    staged = pool.create(Kind.STAGING, "fresh")
    (staged / "file").write_text("content")
    path = pool.rename(Kind.STAGING, "fresh", Kind.IMAGES, "base")
    assert (path / "file").read_text() == "content"
    pool.create(Kind.STAGING, "fresh")
    with pytest.raises(EngineError, match="already"):
        pool.rename(Kind.STAGING, "fresh", Kind.IMAGES, "base")
    assert (path / "file").read_text() == "content"


def test_moving_keeps_what_it_is_and_never_replaces(pool: Pool) -> None:
    made = pool.create(Kind.SPARES, "one")
    pool.set_limit(made, 8 * MEBIBYTE)
    number = btrfs.subvolume_id(made)
    moved = pool.move(Kind.SPARES, "one", Kind.SANDBOXES, "box")
    assert (moved, btrfs.subvolume_id(moved)) == (pool.path / "sandboxes/box", number)
    assert pool.usage(moved).limit_bytes == 8 * MEBIBYTE
    assert pool.names(Kind.SPARES) == []
    pool.create(Kind.SPARES, "two")
    with pytest.raises(EngineError, match="already"):
        pool.move(Kind.SPARES, "two", Kind.SANDBOXES, "box")
    with pytest.raises(EngineError, match="no disk"):
        pool.move(Kind.SPARES, "three", Kind.SANDBOXES, "another")


def test_a_version_is_that_of_the_same_files_in_the_same_subvolume(pool: Pool) -> None:
    image = pool.create(Kind.STAGING, "image")
    (image / "file").write_text("first")
    pool.set_read_only(image, True)
    pool.sync(image)
    first = pool.version(image)
    assert first.read_only
    image = pool.rename(Kind.STAGING, "image", Kind.IMAGES, "image")
    copy = pool.snapshot(image, Kind.SANDBOXES, "box")
    (image / "file").read_text()
    pool.sync(image)
    assert pool.version(image) == first
    assert pool.version(copy) != first
    pool.set_read_only(image, False)
    assert not pool.version(image).read_only
    (image / "file").write_text("second")
    pool.set_read_only(image, True)
    pool.sync(image)
    assert pool.version(image) != first


def test_exchanging_swaps_two_and_keeps_what_is_read_only_so(pool: Pool) -> None:
    base = pool.create(Kind.IMAGES, "base")
    (base / "old").touch()
    pool.set_read_only(base, True)
    (pool.create(Kind.STAGING, "fresh") / "new").touch()
    pool.exchange(Kind.STAGING, "fresh", Kind.IMAGES, "base")
    assert [path.name for path in base.iterdir()] == ["new"]
    old = pool.path / "staging/fresh"
    assert [path.name for path in old.iterdir()] == ["old"]
    assert btrfs.is_read_only(old)
    assert not btrfs.is_read_only(base)


def test_accounts_of_deleted_subvolumes_do_not_pile_up(pool: Pool) -> None:
    image = pool.create(Kind.IMAGES, "image")
    for number in range(20):
        box = pool.snapshot(image, Kind.SANDBOXES, f"box{number}", limit_bytes=MEBIBYTE)
        (box / "file").write_text("content")
        pool.delete(Kind.SANDBOXES, f"box{number}")
    pool.sync(pool.path)  # wakes the kernel's cleaner
    subprocess.run(["btrfs", "subvolume", "sync", str(pool.path)], check=True, capture_output=True)
    pool.sync(pool.path)
    quota.collect(pool.path)
    accounts = btrfs.quota_items(pool.path, (btrfs.QGROUP_INFO_KEY, 256), (btrfs.QGROUP_INFO_KEY, 1 << 47))
    assert [item.group for item in accounts] == [btrfs.subvolume_id(image)]


def test_many_threads_at_once(pool: Pool) -> None:
    image = pool.create(Kind.IMAGES, "image")
    (image / "file").write_text("content")

    def live(number: int) -> str:
        box = pool.snapshot(image, Kind.SANDBOXES, f"box{number}", limit_bytes=MEBIBYTE)
        content = (box / "file").read_text()
        pool.usage(box)
        pool.delete(Kind.SANDBOXES, f"box{number}")
        return content

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(live, range(64))) == {"content"}
    assert pool.names(Kind.SANDBOXES) == []


def test_one_of_many_wins_a_name(pool: Pool) -> None:
    image = pool.create(Kind.IMAGES, "image")

    def claim(_: int) -> bool:
        try:
            pool.snapshot(image, Kind.SANDBOXES, "box")
        except EngineError:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(claim, range(16))) == 1
    assert list((pool.path / "sandboxes/box").iterdir()) == []


def test_what_is_deleted_by_several_at_once_is_simply_gone(pool: Pool) -> None:
    pool.create(Kind.SANDBOXES, "box")
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: pool.delete(Kind.SANDBOXES, "box"), range(16)))
    assert pool.names(Kind.SANDBOXES) == []


def test_simple_quotas_are_used_where_the_kernel_has_them(pool: Pool) -> None:
    expected = QuotaMode.SIMPLE if Path("/sys/fs/btrfs/features/simple_quota").exists() else QuotaMode.CLASSIC
    assert pool.quota_mode is expected


def test_users_of_the_machine_cannot_look_in(pool: Pool) -> None:
    assert pool.path.stat().st_mode & 0o777 == 0o700
