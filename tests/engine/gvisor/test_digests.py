"""Checksums that are known: nothing is read twice, and nothing that may have changed is believed."""

import hashlib
import os
import tempfile
from pathlib import Path

import pytest

from moonpool.engine.gvisor.digests import Digests

OLD, NEW = b"a" * 100_000, b"b" * 100_000


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def file():
    """On a disk, which has a page cache of its own."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        path = Path(folder) / "pages.img"
        path.write_bytes(OLD)
        os.utime(path, ns=(1, 1))
        yield path


def write_unseen(path: Path, content: bytes) -> None:
    """As a disk would do it that gives other bytes than it took: the file tells nothing of it."""
    with path.open("r+b") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.utime(path, ns=(1, 1))


def forget_pages(path: Path) -> None:
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def test_what_is_known_is_not_read_again(file):
    digests = Digests()
    assert digests.of(file) == sha256(OLD)
    write_unseen(file, NEW)
    assert digests.of(file) == sha256(OLD)
    assert Digests().of(file) == sha256(NEW)


def test_another_link_to_it_is_the_same_file(file):
    digests = Digests()
    assert digests.of(file) == sha256(OLD)
    write_unseen(file, NEW)
    other = file.with_name("other")
    other.hardlink_to(file)
    assert digests.of(other) == sha256(OLD)


def test_what_comes_from_the_disk_again_is_read(file):
    digests = Digests()
    assert digests.of(file) == sha256(OLD)
    write_unseen(file, NEW)
    forget_pages(file)
    assert digests.of(file) == sha256(NEW)


@pytest.mark.parametrize("content", [NEW, OLD[:-1], b"", OLD + b"a"])
def test_what_was_written_to_is_read(file, content):
    digests = Digests()
    digests.of(file)
    file.write_bytes(content)
    assert digests.of(file) == sha256(content)


def test_another_file_of_the_same_name_is_read(file):
    digests = Digests()
    digests.of(file)
    other = file.with_name("other")
    other.write_bytes(NEW)
    os.utime(other, ns=(1, 1))
    other.rename(file)
    assert digests.of(file) == sha256(NEW)


def test_it_does_not_grow_without_end(file, monkeypatch):
    monkeypatch.setattr("moonpool.engine.gvisor.digests.REMEMBERED", 2)
    digests = Digests()
    first, *others = [file.with_name(str(number)) for number in range(3)]
    for path in (first, *others):
        path.write_bytes(OLD)
        os.utime(path, ns=(1, 1))
        digests.of(path)
    for path in (first, *others):
        write_unseen(path, NEW)
    assert [digests.of(path) for path in others] == [sha256(OLD)] * 2
    assert digests.of(first) == sha256(NEW)
