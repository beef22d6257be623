"""What tests of the driver stand on: network slots of their own, an interpreter folder, a line to the agent inside."""

import contextlib
import itertools
import json
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from moonpool.engine.cgroups import Cgroups, Limits
from moonpool.engine.gvisor import Driver, Member, Running, Warm, ensure_warm
from moonpool.engine.gvisor.driver import state_folder
from moonpool.engine.instance import Instance
from moonpool.engine.network import AGENT_PORT, Network, Slot

ANSWER_TIMEOUT = 20.0  # seconds
ATTEMPT_TIMEOUT = 1.0  # seconds: a packet to an agent that is not up yet is lost


class RefusedInside(AssertionError):
    """What an expression inside the sandbox raised."""


class Agent:
    """A connection to the probe agent in the sandbox behind ``slot``; waits until it listens."""

    def __init__(self, slot: Slot) -> None:
        deadline = time.monotonic() + ANSWER_TIMEOUT
        while True:
            self._socket = socket.socket()
            self._socket.settimeout(ATTEMPT_TIMEOUT)
            try:
                self._socket.connect((slot.address, AGENT_PORT))
                break
            except OSError:
                self._socket.close()
                if time.monotonic() > deadline:
                    raise
        self._socket.settimeout(ANSWER_TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stream = self._socket.makefile("rw")

    def __enter__(self) -> "Agent":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close, and wait until the other side has closed too, so that no connection is left in the sandbox."""
        if self._socket.fileno() < 0:
            return
        self._socket.shutdown(socket.SHUT_WR)
        self._socket.recv(1)
        self.abandon()

    def eval(self, code: str) -> Any:
        return self.ask("eval", code=code)

    def exec(self, code: str) -> None:
        self.ask("exec", code=code)

    def abandon(self) -> None:
        """Close this side only: the other one is gone."""
        self._stream.close()
        self._socket.close()

    def ask(self, op: str, **arguments: str) -> Any:
        self.send(op, **arguments)
        return self.receive()

    def send(self, op: str, **arguments: str) -> None:
        self._stream.write(json.dumps({"op": op, **arguments}) + "\n")
        self._stream.flush()

    def receive(self) -> Any:
        reply = json.loads(self._stream.readline())
        if "error" in reply:
            raise RefusedInside(reply["error"])
        return reply["value"]


def build_agent(target: Path) -> Path:
    """A folder as the sandbox has it at /.agent: this machine's own interpreter and the probe agent."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    (target / "bin").mkdir(parents=True)
    (target / "agent").mkdir()
    executable = Path(os.path.realpath(sys._base_executable))  # type: ignore[attr-defined]
    shutil.copy(executable, target / "bin/python3")
    library = target / "lib" / version
    skipped = shutil.ignore_patterns("__pycache__", "site-packages", "dist-packages", "test", "config-*", "idlelib")
    shutil.copytree(sysconfig.get_path("stdlib"), library, ignore=skipped)
    for binary in (executable, *(library / "lib-dynload").glob("*.so")):
        listing = subprocess.run(["ldd", binary], capture_output=True, text=True).stdout
        for path in map(Path, re.findall(r"(/\S+) \(0x", listing)):
            name = "ld.so" if path.name.startswith("ld-linux") else path.name
            shutil.copy(os.path.realpath(path), target / "lib" / name)
    shutil.copy(Path(__file__).with_name("probe_agent.py"), target / "agent/__main__.py")
    return target


@dataclass
class Box:
    """A sandbox under test."""

    member: Member
    running: Running
    slot: Slot
    disk: Path

    @property
    def name(self) -> str:
        return self.member.name

    def agent(self) -> Agent:
        return Agent(self.slot)

    @contextmanager
    def exit_awaited(self) -> Iterator[None]:
        """Does not go on before the sentry has ended; the body makes it end."""
        descriptor = os.pidfd_open(self.running.sandbox_pid)
        try:
            yield
            assert select.select([descriptor], [], [], ANSWER_TIMEOUT)[0]
        finally:
            os.close(descriptor)


@dataclass
class Engine:
    """A driver on its own data folder, and what makes and unmakes sandboxes with it."""

    instance: Instance
    cgroups: Cgroups
    network: Network
    driver: Driver
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def warm(self) -> Warm:
        return ensure_warm(self.driver, self.instance.data / "agent", self.slot, quiesce)

    @contextmanager
    def slot(self) -> Iterator[Slot]:
        """Good for one start: runsc takes the address off the namespace's link."""
        number = next(self.numbers)
        try:
            yield self.network.create(number)
        finally:
            self.network.destroy(number)

    @contextmanager
    def box(
        self, image: Path | None = None, *, root: Path | None = None, limits: Limits | None = None
    ) -> Iterator[Box]:
        """A sandbox restored from ``image`` (the warm one unless told), killed at the end."""
        with self.slot() as slot:
            member = Member(f"box{slot.number}", slot, f"box{slot.number}")
            if limits:
                self.cgroups.create(member.cgroup)
                self.cgroups.set_limits(member.cgroup, limits)
            try:
                running = self.driver.restore(member, image or self.warm.path, root=root)
                disk = root or self.instance.data / "disks" / member.name
                disk.mkdir(parents=True, exist_ok=True)
                yield Box(member, running, slot, disk)
            finally:
                self.driver.kill(member.name)

    @contextmanager
    def entered(self, *, limits: Limits | None = None) -> Iterator[tuple[Box, Agent]]:
        """A box on its own disk, its agent inside it."""
        with self.box(limits=limits) as box, box.agent() as agent:
            self.driver.attach(box.running, box.disk)
            agent.ask("enter", root="/.late/root")
            yield box, agent


def quiesce(slot: Slot, secret: str) -> None:
    with Agent(slot) as agent:
        assert agent.ask("secret") == secret


@pytest.fixture(scope="session")
def agent_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_agent(tmp_path_factory.mktemp("interpreter") / "agent")


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory, agent_folder: Path) -> Iterator[Engine]:
    instance = Instance(tmp_path_factory.mktemp("engine"))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, instance.data)
        cgroups = Cgroups.open(instance)
        stack.callback(cgroups.close)
        network = Network.open(instance)
        stack.callback(network.close)
        driver = Driver(instance, cgroups, agent_folder)
        stack.callback(driver.close)
        yield Engine(instance, cgroups, network, driver)


@pytest.fixture(autouse=True)
def leaves_nothing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """After every test: no sandbox, process, control group, file of runsc's or mount more than before."""
    engine: Engine | None = request.getfixturevalue("engine") if "engine" in request.fixturenames else None
    base = str(tmp_path_factory.getbasetemp())
    mounts = mounts_below(base)
    yield
    if engine:
        assert engine.driver.names() == []
        assert engine.cgroups.names() == []
        assert list(state_folder(engine.instance).iterdir()) == []
        assert processes_of(engine.instance) == []
        assert engine.network.numbers() == []
    assert mounts_below(base) == mounts


def mounts_below(folder: str) -> list[str]:
    """Mount points on the host; other programs may mount what they like elsewhere."""
    points = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return sorted(point for point in points if point.startswith(folder))


def processes_of(instance: Instance) -> list[str]:
    """Command lines of processes that name the instance's data folder."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if str(instance.data) in line:
                    found.append(line)
    return found


@pytest.fixture
def quiesce_agent() -> Callable[[Slot, str], None]:
    return quiesce


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for a few kilobytes."""
    folder = tmp_path / "full"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def connect() -> Callable[[Slot], Agent]:
    return Agent
