"""The file whose pages are used again: lent to one at a time, never to two."""

from pathlib import Path

import pytest

from moonpool.hosts import reserve as module
from moonpool.hosts.memory import FastFolder, MemoryStore
from moonpool.hosts.reserve import Reserve

NAME = "pages"


@pytest.fixture
def reserve(tmp_path: Path) -> Reserve:
    return Reserve(tmp_path, NAME)


def staged(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / name
    folder.mkdir()
    return folder


def inode(folder: Path) -> int:
    return (folder / NAME).stat().st_ino


def test_nothing_is_lent_before_anything_was_kept(reserve: Reserve, tmp_path: Path) -> None:
    folder = staged(tmp_path, "first")
    reserve.lend(folder)
    reserve.keep(folder)
    assert list(folder.iterdir()) == []


def test_what_is_given_back_is_lent_again_but_not_while_somebody_has_it(reserve: Reserve, tmp_path: Path) -> None:
    first, second, third = (staged(tmp_path, name) for name in ("first", "second", "third"))
    (first / NAME).write_bytes(b"memory")
    reserve.keep(first)
    reserve.lend(second)
    assert list(second.iterdir()) == []
    kept = inode(first)
    (first / NAME).unlink()
    reserve.lend(second)
    reserve.lend(third)
    assert inode(second) == kept
    assert list(third.iterdir()) == []


def test_what_was_given_up_is_not_lent_again(reserve: Reserve, tmp_path: Path) -> None:
    """Whoever wrote to it may still do so."""
    first, given_up, next_one = (staged(tmp_path, name) for name in ("first", "given up", "next"))
    (first / NAME).write_bytes(b"memory")
    reserve.keep(first)
    (first / NAME).unlink()
    reserve.lend(given_up)
    (given_up / NAME).unlink()
    reserve.trim()
    reserve.lend(next_one)
    assert list(next_one.iterdir()) == []


def test_a_second_file_does_not_replace_the_first(reserve: Reserve, tmp_path: Path) -> None:
    first, second, third = (staged(tmp_path, name) for name in ("first", "second", "third"))
    for folder in (first, second):
        (folder / NAME).write_bytes(b"memory")
        reserve.keep(folder)
    kept = inode(first)
    for folder in (first, second):
        (folder / NAME).unlink()
    reserve.lend(third)
    assert inode(third) == kept


def test_more_than_is_kept_is_given_back_once_nobody_has_it(
    reserve: Reserve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT", 100)
    folder = staged(tmp_path, "first")
    (folder / NAME).write_bytes(b"x" * 1000)
    reserve.keep(folder)
    reserve.trim()
    assert (folder / NAME).stat().st_size == 1000
    (folder / NAME).unlink()
    reserve.trim()
    reserve.lend(folder)
    assert (folder / NAME).stat().st_size == 100


def test_dropped_it_stays_whoevers_it_is(reserve: Reserve, tmp_path: Path) -> None:
    first, second = staged(tmp_path, "first"), staged(tmp_path, "second")
    (first / NAME).write_bytes(b"memory")
    reserve.keep(first)
    reserve.drop()
    reserve.drop()
    reserve.lend(second)
    assert (first / NAME).read_bytes() == b"memory"
    assert list(second.iterdir()) == []


@pytest.mark.parametrize("reuse", [True, False])
def test_only_where_files_may_be_written_over(tmp_path: Path, reuse: bool) -> None:
    store = MemoryStore(tmp_path, FastFolder.open(), reuse=reuse)
    try:
        first = store.staging("first", fast=1)
        (first / "pages.img").write_bytes(b"memory")
        store.keep(first)
        store.discard(first)
        second = store.staging("second", fast=1)
        assert [path.name for path in second.iterdir()] == (["pages.img"] if reuse else [])
    finally:
        store.close()
