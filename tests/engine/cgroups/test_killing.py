"""Ending what is in a group, where nothing can be counted on but what the group says."""

import subprocess
from pathlib import Path

import pytest

from moonpool.engine.cgroups.killing import kill_all
from moonpool.errors import EngineError


def test_it_does_not_matter_how_late_it_is_when_all_have_died(tmp_path: Path) -> None:
    members = tmp_path / "cgroup.procs"

    def let_die() -> None:
        child.wait()
        members.write_text("")

    with subprocess.Popen(["sleep", "60"]) as child:
        members.write_text(f"{child.pid}\n")
        kill_all(members, let_die, timeout=0)
    assert child.returncode == -9


def test_what_does_not_leave_is_named(tmp_path: Path) -> None:
    members = tmp_path / "cgroup.procs"
    with subprocess.Popen(["sleep", "60"]) as child:
        members.write_text(f"{child.pid}\n")
        with pytest.raises(EngineError, match=str(child.pid)):
            kill_all(members, lambda: None, timeout=0)
