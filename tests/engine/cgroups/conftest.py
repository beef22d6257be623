"""A machine's cgroup tree in a folder, for layouts this machine does not have, and real groups for the one it has."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from moonpool.engine.cgroups import Cgroups, Layout, detect
from moonpool.engine.instance import Instance

MEMBER_FILES = {
    "cgroup.procs": "",
    "cgroup.freeze": "0",
    "cgroup.events": "populated 0\nfrozen 0\n",
    "cpu.max": "max 100000",
    "cpu.weight": "100",
    "cpu.stat": "usage_usec 1234567\nuser_usec 1\nsystem_usec 2\n",
    "memory.max": "max",
    "memory.swap.max": "max",
    "memory.oom.group": "0",
    "memory.current": str(50 << 20),
    "memory.peak": str(80 << 20),
    "memory.stat": f"anon 1\ninactive_file {20 << 20}\n",
    "memory.events": "low 0\nhigh 0\nmax 3\noom 2\noom_kill 1\n",
    "pids.max": "max",
    "pids.current": "7",
}


@dataclass(frozen=True)
class Tree:
    """Mount points below ``root`` and the mountinfo that describes them."""

    root: Path

    @property
    def mountinfo(self) -> Path:
        return self.root / "mountinfo"

    def mount(self, point: str, kind: str, options: str, controllers: str = "") -> Path:
        folder = self.root / point.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        with self.mountinfo.open("a") as file:
            file.write(f"31 23 0:28 / {point} rw,relatime shared:9 - {kind} {kind} {options}\n")
        if kind == "cgroup2":
            (folder / "cgroup.controllers").write_text(controllers)
            (folder / "cgroup.subtree_control").write_text("")
        return folder

    def detect(self) -> Layout:
        return detect(self.mountinfo, self.root)

    @staticmethod
    def fill(group: Path) -> None:
        """What the kernel puts into a new v2 group."""
        for name, text in MEMBER_FILES.items():
            (group / name).write_text(text)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    (tmp_path / "mountinfo").write_text("22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n")
    return Tree(tmp_path)


@pytest.fixture
def groups(tmp_path: Path) -> Iterator[Cgroups]:
    """Real groups of an instance that nobody else has."""
    cgroups = Cgroups.open(Instance(tmp_path))
    yield cgroups
    for name in cgroups.names():
        cgroups.kill(name)
        cgroups.delete(name)
    cgroups.close()


class Worker:
    """A shell in a group that runs ``script``."""

    def __init__(self, cgroups: Cgroups, name: str, script: str) -> None:
        enter = "".join(f"echo $$ > {path}; " for path in cgroups.procs_files(name))
        command = ["/bin/sh", "-c", enter + script]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def tell(self, text: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()


@pytest.fixture
def worker(groups: Cgroups) -> Iterator[type[Worker]]:
    started: list[Worker] = []

    class Started(Worker):
        def __init__(self, name: str, script: str, cgroups: Cgroups = groups) -> None:
            super().__init__(cgroups, name, script)
            started.append(self)

    yield Started
    for one in started:
        one.process.kill()
        one.process.communicate()
