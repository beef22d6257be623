"""What tests of the driver stand on: a network slot of their own, an interpreter folder, a line to the agent inside."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyroute2 import NetNS, netns
from pyroute2 import IPRoute

GUEST, HOST, PORT = "169.254.0.21", "169.254.0.22", 49983
CONNECT_TIMEOUT = 5.0  # seconds


@dataclass(frozen=True)
class TestSlot:
    """A namespace with ``eth0`` at the guest's address; ``link`` is its other end on the host."""

    __test__ = False
    number: int
    link: str
    namespace: Path


@contextmanager
def network_slot(number: int) -> Iterator[TestSlot]:
    name, link = f"enginetest{number}", f"engt{number}"
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
        yield TestSlot(number, link, Path(f"/run/netns/{name}"))
    finally:
        _remove(name, link)


def _remove(name: str, link: str) -> None:
    if name in netns.listnetns():
        netns.remove(name)
    with IPRoute() as host:
        for index in host.link_lookup(ifname=link):
            host.link("del", index=index)


class Agent:
    """A connection to the probe agent in the sandbox behind ``slot``; waits until it listens."""

    def __init__(self, slot: TestSlot) -> None:
        deadline = time.monotonic() + CONNECT_TIMEOUT
        while True:
            self._socket = socket.socket()
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, slot.link.encode() + b"\0")
            self._socket.settimeout(CONNECT_TIMEOUT)
            try:
                self._socket.connect((GUEST, PORT))
                break
            except OSError:
                self._socket.close()
                if time.monotonic() > deadline:
                    raise
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stream = self._socket.makefile("rw")

    def __enter__(self) -> "Agent":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close, and wait until the other side has closed too, so that no connection is left in the sandbox."""
        self._socket.shutdown(socket.SHUT_WR)
        self._socket.recv(1)
        self._stream.close()
        self._socket.close()

    def ask(self, op: str, **arguments: str) -> Any:
        self._stream.write(json.dumps({"op": op, **arguments}) + "\n")
        self._stream.flush()
        reply = json.loads(self._stream.readline())
        if "error" in reply:
            raise AssertionError(reply["error"])
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
