"""Finding hierarchies on machines of every kind."""

import pytest

from moonpool.engine.cgroups import Hierarchy
from moonpool.errors import MachineUnfit

V1 = ("cpu", "cpuacct", "memory", "pids", "freezer")
BASE = "/sys/fs/cgroup"


def test_v1_has_a_hierarchy_for_each(tree):
    folders = {name: tree.mount(f"{BASE}/{name}", "cgroup", f"rw,{name}") for name in V1}
    layout = tree.detect()
    assert layout.memory == Hierarchy(folders["memory"], 1)
    assert layout.usage == Hierarchy(folders["cpuacct"], 1)
    assert len(layout.hierarchies) == 5


def test_v1_controllers_mounted_together_share_one(tree):
    together = tree.mount(f"{BASE}/cpu,cpuacct", "cgroup", "rw,cpu,cpuacct")
    for name in ("memory", "pids", "freezer"):
        tree.mount(f"{BASE}/{name}", "cgroup", f"rw,{name}")
    layout = tree.detect()
    assert layout.cpu == layout.usage == Hierarchy(together, 1)
    assert len(layout.hierarchies) == 4


def test_v2_serves_all(tree):
    unified = Hierarchy(tree.mount(BASE, "cgroup2", "rw,nsdelegate", "cpuset cpu io memory pids"), 2)
    layout = tree.detect()
    assert layout.hierarchies == (unified,)
    assert layout.limited_by(unified) == ["cpu", "memory", "pids"]


def test_hybrid_takes_limits_from_v1_and_freezes_with_v2(tree):
    for name in V1:
        tree.mount(f"{BASE}/{name}", "cgroup", f"rw,{name}")
    unified = Hierarchy(tree.mount(f"{BASE}/unified", "cgroup2", "rw", "hugetlb"), 2)
    layout = tree.detect()
    assert layout.freezer == unified
    assert {one.version for one in (layout.cpu, layout.usage, layout.memory, layout.pids)} == {1}
    assert layout.limited_by(unified) == []


def test_each_controller_comes_from_where_it_is(tree):
    tree.mount(f"{BASE}/memory", "cgroup", "rw,memory")
    unified = Hierarchy(tree.mount(f"{BASE}/unified", "cgroup2", "rw", "cpu pids"), 2)
    layout = tree.detect()
    assert layout.memory.version == 1
    assert layout.cpu == layout.usage == layout.pids == layout.freezer == unified
    assert layout.limited_by(unified) == ["cpu", "pids"]


@pytest.mark.parametrize(("controllers", "missing"), [("cpu pids", "memory"), ("", "cpu, memory, pids")])
def test_what_is_missing_is_named(tree, controllers, missing):
    tree.mount(BASE, "cgroup2", "rw", controllers)
    with pytest.raises(MachineUnfit, match=missing):
        tree.detect()


def test_no_hierarchy_at_all(tree):
    with pytest.raises(MachineUnfit, match="cpu, memory, pids, cpuacct, freezer"):
        tree.detect()


def test_mount_points_with_spaces(tree):
    folder = tree.mount("/odd place", "cgroup2", "rw", "cpu memory pids")
    tree.mountinfo.write_text(tree.mountinfo.read_text().replace("/odd place", "/odd\\040place"))
    assert tree.detect().memory.path == folder
