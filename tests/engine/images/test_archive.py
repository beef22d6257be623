import os
import subprocess
import threading
from pathlib import Path

import pytest

from moonpool.engine.images.archive import Archive, ArchiveDamaged, exclusive
from moonpool.errors import EngineError


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    source = tmp_path / "source"
    (source / "etc").mkdir(parents=True)
    (source / "etc/name").write_text("value")
    (source / "random").write_bytes(os.urandom(300_000))
    os.chown(source / "etc/name", 1234, 4321)
    made = Archive(tmp_path / "root.tar.zst")
    subprocess.run(f"tar -C {source} -c . | zstd -q > {made.unfinished}", shell=True, check=True)
    made.publish()
    return made


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


def test_content_and_owners_come_back(archive: Archive, target: Path) -> None:
    archive.unpack(target)
    assert (target / "etc/name").read_text() == "value"
    assert (target / "etc/name").stat().st_uid == 1234
    assert (target / "etc/name").stat().st_gid == 4321


def test_zeros_after_its_end_are_no_fault(archive: Archive, target: Path) -> None:
    zeros = "head -c 8000000 /dev/zero"
    subprocess.run(f"(zstd -dc {archive.path}; {zeros}) | zstd -q > {archive.unfinished}", shell=True, check=True)
    archive.publish()
    archive.unpack(target)
    assert (target / "etc/name").read_text() == "value"


def test_an_archive_without_its_checksum_does_not_exist(archive: Archive) -> None:
    assert archive.exists()
    archive.checksum.unlink()
    assert not archive.exists()


def test_an_unfinished_archive_does_not_exist(archive: Archive) -> None:
    archive.path.rename(archive.unfinished)
    assert not archive.exists()


@pytest.mark.parametrize("position", [0, 1000, 200_000, -1])
def test_a_changed_byte_is_noticed(archive: Archive, target: Path, position: int) -> None:
    content = bytearray(archive.path.read_bytes())
    content[position] ^= 0xFF
    archive.path.write_bytes(content)
    with pytest.raises(ArchiveDamaged, match="damaged"):
        archive.unpack(target)


@pytest.mark.parametrize("length", [0, 1, 5000, 250_000])
def test_a_truncated_archive_is_noticed(archive: Archive, target: Path, length: int) -> None:
    os.truncate(archive.path, length)
    with pytest.raises(ArchiveDamaged, match="damaged"):
        archive.unpack(target)


def test_a_sound_archive_of_something_else_is_noticed(archive: Archive, target: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    subprocess.run(f"tar -C {tmp_path / 'other'} -c . | zstd -q -f -o {archive.path}", shell=True, check=True)
    with pytest.raises(ArchiveDamaged, match="damaged"):
        archive.unpack(target)


def test_a_target_without_room_is_no_fault_of_the_archive(archive: Archive, target: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(target)], check=True)
    try:
        with pytest.raises(EngineError, match="Cannot unpack") as refused:
            archive.unpack(target)
    finally:
        subprocess.run(["umount", str(target)], check=True)
    assert not isinstance(refused.value, ArchiveDamaged)
    assert archive.exists()


def test_two_builders_take_turns(tmp_path: Path) -> None:
    order: list[str] = []
    inside = threading.Event()

    def second() -> None:
        inside.wait()
        with exclusive(tmp_path / "lock"):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with exclusive(tmp_path / "lock"):
        inside.set()
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
