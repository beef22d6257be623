"""The copy of runsc that is run, and runscs that need none or cannot have one."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from moonpool.engine.gvisor.capabilities import probe
from moonpool.engine.gvisor.mending import CALMER, PERIOD, PROCESSORS, NotMended, mend, mended, mistaken

AFFECTED = "0.0~20240729.0"


@pytest.fixture(scope="module")
def installed() -> Path:
    return Path(shutil.which("runsc") or "")


def test_two_instructions_differ(installed, tmp_path):
    if not mistaken(probe("runsc").version):
        assert mended(installed, probe("runsc").version, tmp_path) == installed
        return
    copy = mended(installed, AFFECTED, tmp_path / "gvisor")
    old, new = installed.read_bytes(), copy.read_bytes()
    assert len(old) == len(new)
    processor = PROCESSORS[int.from_bytes(old[18:20], "little")]
    period, calmer = PERIOD.to_bytes(4, "little"), CALMER.to_bytes(4, "little")
    if processor.load:
        where = old.index(processor.load + period) + len(processor.load)
        assert new[where : where + 4] == calmer
        new = new[:where] + period + new[where + 4 :]
    page = next(place for place in range(0, len(old), 4096) if old[place : place + 4096] != new[place : place + 4096])
    leaving = next(place for place in range(page, page + 4096) if old[place] != new[place])
    assert new.startswith(processor.leave, leaving)
    assert old[leaving + len(processor.leave) :] == new[leaving + len(processor.leave) :]
    assert probe(str(copy)) == probe("runsc")


def test_it_is_made_once_and_replaces_others(installed, tmp_path):
    if not mistaken(probe("runsc").version):
        return
    (tmp_path / "runsc-0000").write_text("of an earlier version, or half of one")
    copy = mended(installed, AFFECTED, tmp_path)
    made = copy.stat()
    assert mended(installed, AFFECTED, tmp_path) == copy
    assert copy.stat() == made
    assert os.listdir(tmp_path) == [copy.name]
    assert subprocess.run([copy, "--version"], capture_output=True, text=True, check=True).stdout.count("20240729")


def test_other_releases_are_run_as_they_are(installed, tmp_path):
    assert mended(installed, "release-20260105.0", tmp_path) == installed
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"#!/bin/sh\n", "no program of 64 bits"),
        (b"\x7fELF\x02\x01" + bytes(12) + b"\xf3\0" + bytes(100), "another processor"),
        (b"\x7fELF\x02\x01" + bytes(12) + b"\x3e\0" + bytes(100), "no such function"),
        (
            b"\x7fELF\x02\x01" + bytes(12) + b"\x3e\0" + bytes(100) + b"\xf1\xff\xff\xff\0\0\1\x08\xff",
            "no such function",
        ),
    ],
)
def test_what_is_built_otherwise_is_left_alone(tmp_path, content, reason):
    with pytest.raises(NotMended, match=reason):
        mend(content)
    strange = tmp_path / "runsc"
    strange.write_bytes(content)
    assert mended(strange, AFFECTED, tmp_path / "copies") == strange
