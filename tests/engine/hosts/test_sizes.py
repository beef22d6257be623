"""What programs in a sandbox are told of its size."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from moonpool.hosts.model import MachineSpec, Resources
from tests.engine.hosts.test_copies import Machine

MEBIBYTE = 1024 * 1024
PROCESSORS = (
    "nproc; grep -c ^processor /proc/cpuinfo; grep -c '^cpu[0-9]' /proc/stat;"
    "python3 -c 'import os; print(os.cpu_count())'"
)
MEMORY = "free -b | awk '/Mem/ {print $2}'; cat /sys/fs/cgroup/memory/memory.limit_in_bytes"
QUOTA = "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us"


@pytest.fixture
def sandbox(host: Machine) -> Iterator[MachineSpec]:
    spec = replace(host.new(), resources=Resources(cpu=1, memory_mib=768, disk_mib=3072))
    host.run(host.host.create(spec))
    yield spec
    host.destroy(spec)


def resized(host: Machine, spec: MachineSpec, cpu: float, memory_mib: int) -> MachineSpec:
    resources = replace(spec.resources, cpu=cpu, memory_mib=memory_mib)
    host.run(host.host.set_resources(spec.id, resources))
    return replace(spec, resources=resources)


def sizes(host: Machine, spec: MachineSpec) -> tuple[list[int], list[int], int]:
    """What every way to ask for processors answers, for memory (in MiB), and the quota of processors in percent."""
    processors = [int(word) for word in host.shell(spec, PROCESSORS).split()]
    memory = [int(word) // MEBIBYTE for word in host.shell(spec, MEMORY).split()]
    return processors, memory, int(host.shell(spec, QUOTA)) // 1000


def test_its_own_and_not_the_machines(host: Machine, sandbox: MachineSpec) -> None:
    assert sizes(host, sandbox) == ([1] * 4, [768] * 2, 100)
    host.shell(
        sandbox,
        """mkfifo /end; python3 -c "x = bytearray(300 << 20); open('/end', 'rb+', 0).read(1)" &
        until test $(free -m | awk '/Mem/ {print $3}') -gt 300; do sleep 0.05; done; echo > /end""",
    )


def test_df_tells_its_own_disk(host: Machine, sandbox: MachineSpec) -> None:
    """Beside what the pool has, of which the kernel inside tells."""
    df = "until test -e /usr/local/bin/df; do sleep 0.01; done; df -BM --output=size,used / | tail -1"
    written = "head -c 40m /dev/urandom > /root/content; "
    size, used = host.shell(sandbox, written + df).split()
    assert size == "3072M"
    assert 40 <= int(used.removesuffix("M")) < 50
    host.run(host.host.set_resources(sandbox.id, replace(sandbox.resources, disk_mib=4096)))
    host.shell(sandbox, f"until {df} | grep -q 4096M; do sleep 0.1; done")


def test_df_tells_it_right_after_a_start_from_the_disk_too(host: Machine, sandbox: MachineSpec) -> None:
    df = "until test -e /usr/local/bin/df; do sleep 0.01; done; df -BM --output=size / | tail -1"
    assert host.shell(sandbox, df).split() == ["3072M"]
    grown = replace(sandbox, resources=replace(sandbox.resources, disk_mib=4096))
    host.run(host.host.stop(sandbox.id))
    host.run(host.host.set_resources(sandbox.id, grown.resources))
    host.run(host.host.start(grown))
    assert host.shell(grown, df).split() == ["4096M"]


def test_a_resize_is_seen_at_once_by_what_runs_as_well(host: Machine, sandbox: MachineSpec) -> None:
    ask = "import os, sys\nfor _ in sys.stdin: print(len(os.sched_getaffinity(0)), flush=True)"
    host.shell(
        sandbox,
        f"mkfifo /ask; nohup python3 -c '{ask}' < /ask > /answers 2>&1 & exec 3> /ask; sleep 1000 & echo >&3; "
        "until test -s /answers; do sleep 0.01; done",
    )
    grown = resized(host, sandbox, 2, 1536)
    assert sizes(host, grown) == ([2] * 4, [1536] * 2, 200)
    assert (
        host.shell(grown, "echo > /ask; until test $(wc -l < /answers) = 2; do sleep 0.01; done; cat /answers")
        == "1\n2"
    )
    shrunk = resized(host, grown, 1, 1024)
    assert sizes(host, shrunk) == ([1] * 4, [1024] * 2, 100)


def test_part_of_a_processor_counts_as_one(host: Machine, sandbox: MachineSpec) -> None:
    assert sizes(host, resized(host, sandbox, 0.5, 768)) == ([1] * 4, [768] * 2, 50)
    assert sizes(host, resized(host, sandbox, 1.5, 768)) == ([2] * 4, [768] * 2, 150)


def test_kept_over_a_pause_and_a_copy_made_after_a_resize(host: Machine, sandbox: MachineSpec) -> None:
    grown = resized(host, sandbox, 2, 1536)
    copy = replace(host.new(), resources=grown.resources)
    host.run(host.host.fork(grown.id, [copy]))
    host.run(host.host.resume(copy))
    for spec in (copy, grown):
        assert sizes(host, spec) == ([2] * 4, [1536] * 2, 200)
    host.destroy(copy)
    host.run(host.host.pause(grown.id))
    smaller = replace(grown, resources=sandbox.resources)
    host.run(host.host.resume(smaller))
    assert sizes(host, smaller) == ([1] * 4, [768] * 2, 100)


def test_ordinary_users_see_the_same_and_cannot_change_it(host: Machine, sandbox: MachineSpec) -> None:
    ask = "nproc; for f in /proc/meminfo /sys/devices/system/cpu/online; do echo 9 > $f; done; head -1 /proc/meminfo"
    answer = host.shell(sandbox, f"su nobody -s /bin/sh -c '{ask}' 2> /dev/null")
    assert answer.split() == ["1", "MemTotal:", str(768 * 1024), "kB"]
