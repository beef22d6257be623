"""Real groups on this machine, whichever version it has."""

import dataclasses
from pathlib import Path

import pytest

from moonpool.engine.cgroups import Cgroups, DeathReason, Limits, Stats, death_reason
from moonpool.engine.instance import Instance
from moonpool.errors import EngineError

LIMITS = Limits(cpu=0.5, memory_bytes=64 << 20, pids=50)


def test_made_listed_and_removed(groups):
    groups.create("box")
    groups.create("box")
    assert groups.names() == ["box"]
    groups.delete("box")
    groups.delete("box")
    assert groups.names() == []


def test_instances_do_not_see_each_other(groups, tmp_path):
    other = Cgroups.open(Instance(tmp_path / "other"))
    try:
        groups.create("box")
        assert other.names() == []
    finally:
        other.close()


def test_closing_leaves_no_parent(tmp_path):
    cgroups = Cgroups.open(Instance(tmp_path / "gone"))
    cgroups.close()
    for hierarchy in cgroups.layout.hierarchies:
        assert not (hierarchy.path / cgroups._parent).exists()
    assert cgroups.names() == []


@pytest.mark.parametrize("name", ["", ".", "..", "../other", "a/b", "/etc", "a b", "x" * 200, "a\0b"])
def test_names_stay_inside_the_parent(groups, name):
    for call in (groups.create, groups.delete, groups.kill, groups.freeze, groups.stats):
        with pytest.raises(EngineError, match="not a name"):
            call(name)


def test_a_group_in_use_is_not_removed(groups, worker):
    groups.create("box")
    one = worker("box", "echo ready; read word")
    assert one.line() == "ready"
    with pytest.raises(EngineError, match="still in use"):
        groups.delete("box")


def test_kill_ends_all_and_children_and_delete_follows_at_once(groups, worker):
    groups.create("box")
    one = worker("box", "(trap '' TERM; echo ready; sleep 1000) & wait")
    assert one.line() == "ready"
    assert len(groups.pids("box")) >= 2
    groups.kill("box")
    assert groups.pids("box") == []
    groups.delete("box")


def test_kill_ends_what_keeps_forking(groups, worker):
    groups.create("box")
    groups.set_limits("box", LIMITS)
    one = worker("box", "echo ready; while :; do (while :; do :; done) & done 2>/dev/null")
    assert one.line() == "ready"
    groups.kill("box")
    assert groups.pids("box") == []


def test_kill_ends_what_is_frozen(groups, worker):
    groups.create("box")
    one = worker("box", "echo ready; read word")
    assert one.line() == "ready"
    groups.freeze("box")
    groups.kill("box")
    assert one.process.wait() == -9


def test_frozen_stands_still_and_thawed_goes_on(groups, worker):
    groups.create("box")
    one = worker("box", "echo ready; read word; echo got $word")
    assert one.line() == "ready"
    groups.freeze("box")
    groups.freeze("box")
    assert groups.frozen("box")
    one.tell("now")
    groups.thaw("box")
    groups.thaw("box")
    assert one.line() == "got now"
    assert not groups.frozen("box")


def test_what_is_not_there_cannot_be_frozen_but_killed_and_read(groups):
    with pytest.raises(EngineError):
        groups.freeze("nobody")
    groups.kill("nobody")
    assert groups.stats("nobody") == Stats(0, 0, 0, 0, 0)


def test_stats_of_a_worker(groups, worker):
    groups.create("box")
    one = worker("box", "n=0; while [ $n -lt 20000 ]; do n=$((n+1)); done; echo done; read word")
    assert one.line() == "done"
    stats = groups.stats("box")
    assert stats.cpu_microseconds > 0
    assert stats.memory_peak_bytes > 0
    assert stats.pids == 1
    assert stats.oom_kills == 0


def test_limits_can_be_raised_and_lowered(groups):
    groups.create("box")
    for memory in (64 << 20, 256 << 20, 32 << 20):
        groups.set_limits("box", Limits(cpu=2, memory_bytes=memory, pids=10, cpu_weight=1))


def test_lowering_below_what_is_in_use_kills_nobody(groups, worker):
    groups.create("box")
    groups.set_limits("box", Limits(cpu=2, memory_bytes=512 << 20, pids=10))
    hog = 'exec python3 -c \'x = bytearray(b"x") * (200 << 20); print("ready", flush=True); input()\''
    one = worker("box", hog)
    assert one.line() == "ready"
    with pytest.raises(EngineError, match="more memory is in use"):
        groups.set_limits("box", Limits(cpu=2, memory_bytes=16 << 20, pids=10))
    assert one.process.poll() is None
    assert groups.stats("box").oom_kills == 0


def test_an_out_of_memory_kill_is_counted(groups, worker):
    groups.create("box")
    groups.set_limits("box", LIMITS)
    one = worker("box", "exec python3 -c 'x = bytearray(b\"x\") * (400 << 20)'")
    before = groups.stats("box")
    assert one.process.wait() == -9
    assert death_reason(before, groups.stats("box")) is DeathReason.OUT_OF_MEMORY


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (None, 0, DeathReason.CRASHED),
        (None, 1, DeathReason.OUT_OF_MEMORY),
        (1, 1, DeathReason.CRASHED),
        (1, 2, DeathReason.OUT_OF_MEMORY),
    ],
)
def test_death_reason(before, after, reason):
    earlier = None if before is None else Stats(0, 0, 0, 0, before)
    assert death_reason(earlier, Stats(0, 0, 0, 0, after)) is reason


def memory_group_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cgroup").read_text()


def test_a_move_that_is_expected_changes_nothing_yet(groups, worker):
    groups.create("box")
    one = worker("box", "echo ready; read word")
    assert one.line() == "ready"
    home = memory_group_of(one.process.pid)
    groups.expect_move("box", one.process.pid)
    assert memory_group_of(one.process.pid) == home
    one.tell("end")
    one.process.wait()
    groups.expect_move("box", one.process.pid)  # which is dead by now


def test_what_is_written_meanwhile_counts_as_nobodys(groups, worker, tmp_path):
    groups.create("box")
    groups.set_limits("box", dataclasses.replace(LIMITS, memory_bytes=1 << 20))
    file = Path("/dev/shm") / f"moonpool-test-{tmp_path.name}"
    one = worker("box", f"echo ready; read word; head -c {100 << 20} /dev/zero > {file}; echo written; read word")
    assert one.line() == "ready"
    try:
        home = memory_group_of(one.process.pid)
        with groups.uncounted("box", one.process.pid):
            assert memory_group_of(one.process.pid) != home
            assert groups.names() == ["box"]
            one.tell("write")
            assert one.line() == "written"
        assert memory_group_of(one.process.pid) == home
        assert groups.stats("box").memory_bytes < 50 << 20
        assert groups.stats("box").oom_kills == 0
    finally:
        file.unlink(missing_ok=True)


def test_a_server_that_died_meanwhile_leaves_nothing_lost(groups, worker):
    for name, end in (("back", groups.bring_back), ("dead", groups.kill)):
        groups.create(name)
        one = worker(name, "echo ready; read word")
        assert one.line() == "ready"
        home = memory_group_of(one.process.pid)
        groups.uncounted(name, one.process.pid).__enter__()
        end(name)
        if name == "back":
            assert memory_group_of(one.process.pid) == home
        else:
            assert one.process.wait() == -9
        groups.kill(name)
        groups.delete(name)
    assert groups.names() == []
