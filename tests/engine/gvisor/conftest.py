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
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pyroute2 import IPRoute, NetNS, netns
from pyroute2.netlink.exceptions import NetlinkError

from moonpool.engine.cgroups import Cgroups, Limits
from moonpool.engine.gvisor import Driver, Member, Running, Warm, ensure_warm
from moonpool.engine.instance import Instance

GUEST, HOST, PORT = "169.254.0.21", "169.254.0.22", 49983
ANSWER_TIMEOUT = 30.0  # seconds
ATTEMPT_TIMEOUT = 1.0  # seconds: a packet to an address that is not up yet is lost


@dataclass(frozen=True)
class LocalSlot:
    """A namespace with ``eth0`` at the guest's address; ``link`` is its other end on the host. Good for one start:
    runsc takes the address off ``eth0``."""

    number: int
    link: str
    namespace: Path


@contextmanager
def network_slot(number: int) -> Iterator[LocalSlot]:
    name, link = f"et{os.getpid()}-{number}", f"et{os.getpid():x}-{number}"
    _remove(name, link)
    netns.create(name)
    try:
        with IPRoute() as host, NetNS(name) as inside:
            host.link("add", ifname=link, kind="veth", peer={"ifname": "eth0", "net_ns_fd": name})
            index = host.link_lookup(ifname=link)[0]
            host.addr("add", index=index, address=HOST, prefixlen=30)
            host.link("set", index=index, state="up")
            inside.link("set", index=inside.link_lookup(ifname="lo")[0], state="up")
            eth0 = inside.link_lookup(ifname="eth0")[0]
            inside.link("set", index=eth0, address="02:fc:00:00:00:05")
            inside.addr("add", index=eth0, address=GUEST, prefixlen=30)
            inside.link("set", index=eth0, state="up")
            inside.route("add", dst="default", gateway=HOST)
        yield LocalSlot(number, link, Path(f"/run/netns/{name}"))
    finally:
        _remove(name, link)


def _remove(name: str, link: str) -> None:
    if name in netns.listnetns():
        netns.remove(name)
    with IPRoute() as host:
        for index in host.link_lookup(ifname=link):
            with suppress(NetlinkError):  # it goes with the namespace, at a moment of the kernel's choice
                host.link("del", index=index)


class RefusedInside(AssertionError):
    """What an expression inside the sandbox raised."""


class Agent:
    """A connection to the probe agent in the sandbox behind ``slot``; waits until it listens."""

    def __init__(self, slot: LocalSlot) -> None:
        deadline = time.monotonic() + ANSWER_TIMEOUT
        while True:
            self._socket = socket.socket()
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, slot.link.encode() + b"\0")
            self._socket.settimeout(ATTEMPT_TIMEOUT)
            try:
                self._socket.connect((GUEST, PORT))
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
    slot: LocalSlot
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
    driver: Driver
    warm: Warm
    numbers: Iterator[int]

    @contextmanager
    def slot(self) -> Iterator[LocalSlot]:
        with network_slot(next(self.numbers)) as slot:
            yield slot

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


def quiesce(slot: LocalSlot, secret: str) -> None:
    with Agent(slot) as agent:
        assert agent.ask("secret") == secret


@pytest.fixture(scope="session")
def agent_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_agent(tmp_path_factory.mktemp("interpreter") / "agent")


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory, agent_folder: Path) -> Iterator[Engine]:
    numbers = itertools.count(1)
    instance = Instance(tmp_path_factory.mktemp("engine"))
    cgroups = Cgroups.open(instance)
    driver = Driver(instance, cgroups, agent_folder)
    warm = ensure_warm(driver, instance.data / "agent", lambda: network_slot(next(numbers)), quiesce)
    yield Engine(instance, cgroups, driver, warm, numbers)
    cgroups.close()
    driver.close()
    shutil.rmtree(instance.data)


@pytest.fixture(autouse=True)
def leaves_nothing(request: pytest.FixtureRequest) -> Iterator[None]:
    """After every test: no sandbox, process, control group, file of runsc's or mount more than before."""
    engine: Engine | None = request.getfixturevalue("engine") if "engine" in request.fixturenames else None
    mounts = Path("/proc/self/mountinfo").read_text()
    yield
    if engine:
        assert engine.driver.names() == []
        assert engine.cgroups.names() == []
        assert list((engine.instance.run / "runsc").iterdir()) == []
        assert processes_of(engine.instance) == []
        assert engine.warm.path.is_dir()
    ours = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f"et{os.getpid()}-" in line]
    assert [line for line in ours if line not in mounts] == []


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
def quiesce_agent() -> Callable[[LocalSlot, str], None]:
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
def connect() -> Callable[[LocalSlot], Agent]:
    return Agent
