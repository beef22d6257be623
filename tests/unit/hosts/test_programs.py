"""The programs that every sandbox has, laid on disks as images have them."""

import os
from pathlib import Path

import pytest

from moonpool.hosts.programs import lay_programs

NAMES = {"systemctl", "journalctl", "systemd-notify", "systemd-tmpfiles", "df"}


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    for folder in ("usr/bin", "usr/local/bin"):
        (tmp_path / "disk" / folder).mkdir(parents=True)
    (tmp_path / "disk/usr/bin/sh").touch()
    return tmp_path / "disk"


def laid(disk: Path) -> set[str]:
    return set(os.listdir(disk / "usr/local/bin"))


def test_they_are_there_and_found_in_usr_bin_too(disk: Path) -> None:
    before = os.umask(0o077)
    lay_programs(disk)
    os.umask(before)
    assert laid(disk) == NAMES
    for name in NAMES:
        program = disk / "usr/local/bin" / name
        assert program.stat().st_mode & 0o7777 == 0o755
        assert program.read_text().startswith("#!/bin/sh\n")
        assert os.readlink(disk / "usr/bin" / name) == f"/usr/local/bin/{name}"


def test_the_images_own_stay_in_usr_bin_and_changed_ones_are_put_right(disk: Path) -> None:
    (disk / "usr/bin/df").write_text("the image's own")
    lay_programs(disk)
    wanted = (disk / "usr/local/bin/df").read_text()
    (disk / "usr/local/bin/df").write_text(wanted + "\nand more")
    lay_programs(disk)
    assert (disk / "usr/local/bin/df").read_text() == wanted
    assert (disk / "usr/bin/df").read_text() == "the image's own"


def test_debians_scripts_find_an_init(disk: Path) -> None:
    init = disk / "usr/sbin/init"
    init.parent.mkdir()
    lay_programs(disk)
    assert not os.path.lexists(init)
    (disk / "usr/sbin/invoke-rc.d").touch()
    lay_programs(disk)
    assert os.readlink(init) == "/usr/local/bin/systemctl"
    init.unlink()
    init.write_text("the image's own")
    lay_programs(disk)
    assert init.read_text() == "the image's own"


def test_links_lead_nowhere(disk: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (disk / "usr/local/bin").rmdir()
    (disk / "usr/local/bin").symlink_to(tmp_path / "bin")
    lay_programs(disk)
    assert not os.listdir(tmp_path / "bin")
    (disk / "usr/local/bin").unlink()
    (disk / "usr/local/bin").mkdir()
    (tmp_path / "victim").write_text("unharmed")
    (disk / "usr/local/bin/df").symlink_to(tmp_path / "victim")
    lay_programs(disk)
    assert (tmp_path / "victim").read_text() == "unharmed"
    assert not (disk / "usr/local/bin/df").is_symlink()


def test_an_image_without_a_shell_gets_none(disk: Path) -> None:
    (disk / "usr/bin/sh").unlink()
    lay_programs(disk)
    assert laid(disk) == set()
