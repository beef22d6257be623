"""The v2 interface: limits and figures on a tree in a folder, freezing and killing on the kernel's own v2 hierarchy."""

import dataclasses
import subprocess

import pytest

from moonpool.engine.cgroups import IDLE_WEIGHT, MEMORY_OVERHEAD_BYTES, Cgroups, Hierarchy, Limits, detect, version2
from moonpool.engine.instance import Instance
from moonpool.errors import EngineError, MachineUnfit

LIMITS = Limits(cpu=1.5, memory_bytes=512 << 20, pids=100)


@pytest.fixture
def unified(tree):
    return tree.mount("/sys/fs/cgroup", "cgroup2", "rw", "cpuset cpu io memory pids")


@pytest.fixture
def instance(tmp_path):
    return Instance(tmp_path / "data")


@pytest.fixture
def parent(unified, instance):
    """The server's parent group as the kernel makes it; the tests' folder cannot fill a new group by itself."""
    folder = unified / f"moonpool-{instance.tag}"
    folder.mkdir()
    (folder / "cgroup.subtree_control").write_text("")
    return folder


@pytest.fixture
def cgroups(tree, parent, instance):
    cgroups = Cgroups.open(instance, tree.detect())
    cgroups.create("box")
    tree.fill(parent / "box")
    return cgroups


def test_opening_delegates_the_controllers_at_both_levels(cgroups, unified, parent):
    for folder in (unified, parent):
        assert (folder / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"


def test_opening_where_it_is_not_allowed_says_so(tree, unified, instance):
    (unified / "cgroup.subtree_control").unlink()
    with pytest.raises(MachineUnfit, match="cannot set up control groups") as refused:
        Cgroups.open(instance, tree.detect())
    assert "writable" in refused.value.hint


def test_limits(cgroups, parent):
    cgroups.set_limits("box", LIMITS)
    box = parent / "box"
    assert (box / "cpu.max").read_text() == "150000 100000"
    assert (box / "cpu.weight").read_text() == "100"
    assert (box / "memory.max").read_text() == str((512 << 20) + MEMORY_OVERHEAD_BYTES)
    assert (box / "memory.swap.max").read_text() == "0"
    assert (box / "memory.oom.group").read_text() == "1"
    assert int((box / "pids.max").read_text()) > 2 * LIMITS.pids


def test_idle_weight_and_least_quota(cgroups, parent):
    cgroups.set_limits("box", dataclasses.replace(LIMITS, cpu=0.001, cpu_weight=IDLE_WEIGHT))
    assert (parent / "box/cpu.max").read_text() == "1000 100000"
    assert (parent / "box/cpu.weight").read_text() == "1"


def test_a_limit_below_what_is_in_use_is_refused_rather_than_killing(cgroups, parent):
    (parent / "box/memory.current").write_text(str(700 << 20))
    with pytest.raises(EngineError, match="more memory is in use"):
        cgroups.set_limits("box", LIMITS)
    assert (parent / "box/memory.max").read_text() == "max"


def test_stats_leave_out_what_the_kernel_may_drop(cgroups):
    stats = cgroups.stats("box")
    assert dataclasses.astuple(stats) == (1_234_567, 30 << 20, 80 << 20, 7, 1)


def test_peak_on_kernels_that_keep_none(cgroups, parent):
    (parent / "box/memory.peak").unlink()
    assert cgroups.stats("box").memory_peak_bytes == 50 << 20


def test_a_freeze_the_kernel_does_not_report_is_taken_back(cgroups, parent):
    with pytest.raises(EngineError, match="frozen 1"):
        version2.freeze(parent / "box", 0.01)
    assert (parent / "box/cgroup.freeze").read_text() == "0"


@pytest.fixture
def kernel(groups, tmp_path):
    """Real groups with the freezer of v2, whatever this machine uses: its v2 hierarchy can be mounted once more."""
    mounted = tmp_path / "unified"
    mounted.mkdir()
    subprocess.run(["mount", "-t", "cgroup2", "none", mounted], check=True)
    yield Cgroups(dataclasses.replace(detect(), freezer=Hierarchy(mounted, 2)), groups._parent)
    subprocess.run(["umount", mounted], check=True)


@pytest.fixture
def frozen_worker(kernel, worker):
    (kernel.layout.freezer.path / kernel._parent).mkdir(exist_ok=True)
    kernel.create("box")
    one = worker("box", "echo ready; read word; echo got $word; read word", kernel)
    assert one.line() == "ready"
    kernel.freeze("box")
    yield one
    kernel.kill("box")
    kernel.delete("box")
    kernel.close()


def test_real_freeze_and_thaw(kernel, frozen_worker):
    assert kernel.frozen("box")
    frozen_worker.tell("thawed")
    kernel.thaw("box")
    assert not kernel.frozen("box")
    assert frozen_worker.line() == "got thawed"


def test_real_kill_of_what_is_frozen(kernel, frozen_worker):
    kernel.kill("box")
    assert frozen_worker.process.wait() == -9
    assert kernel.pids("box") == []
