"""A machine of the tests' own: a network namespace that stands for the host, and one behind it for the internet.

The test's thread is moved into the first, so that everything under test happens there and nothing on the real host.
What runs inside a sandbox is stood in for by sockets opened in its namespace: filtering is the host's alone, and the
kernel's stack sends the same packets as gVisor's.
"""

import os
import shutil
import socket
import struct
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import pytest
from pyroute2 import IPRoute

from moonpool.engine.instance import Instance
from moonpool.engine.network import Network, Slot, namespaces, pair, sysctls
from moonpool.engine.network.addresses import GATEWAY, GUEST_ADDRESS, GUEST_MAC

PATIENCE = 10.0  # seconds after which a test gives up waiting for what must come
Result = TypeVar("Result")


class Machine:
    """A host with an uplink `up0` to an internet that has every address below."""

    HOST = "198.51.100.2"
    ROUTER = "198.51.100.1"
    PUBLIC = "203.0.113.80"
    OTHER_PUBLIC = "203.0.114.81"
    RESOLVER = "10.255.255.53"
    PRIVATE = ("10.1.2.3", "172.16.9.9", "192.168.7.7", "169.254.169.254", "100.100.100.200", "198.18.0.7")
    GATEWAY = GATEWAY

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.resolv_conf = folder / "resolv.conf"
        self.resolv_conf.write_text(f"nameserver {self.RESOLVER}\n")
        self.resources = ExitStack()
        self._descriptor = -1

    def __enter__(self) -> "Machine":
        self.home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        self.resources.callback(os.close, self.home)
        namespaces.leave_for_new()
        self.resources.callback(namespaces.enter, Path(f"/proc/self/fd/{self.home}"))
        sysctls.set_forwarding(False)  # a new namespace starts with the real host's setting
        self.internet = self._namespace()
        self._connect_internet()
        return self

    def __exit__(self, *failure: object) -> None:
        self.resources.close()

    def network(self, name: str = "data", **options: Sequence[str]) -> Network:
        """A server's network on this machine; closed at the end. The same name again is the same server, restarted."""
        network = Network.open(Instance(self.folder / name), resolv_conf=self.resolv_conf, **options)
        self.resources.callback(network.close)
        return network

    def instance(self, name: str = "data") -> Instance:
        return Instance(self.folder / name)

    def within(self, namespace: Path, function: Callable[[], Result]) -> Result:
        def body() -> Result:
            namespaces.enter(namespace)
            return function()

        return namespaces.in_own_thread(body)

    def listen(self, address: str, port: int, namespace: Path | None = None) -> socket.socket:
        """A TCP server, on the host unless a namespace is given."""

        def make() -> socket.socket:
            return socket.create_server((address, port))

        return self._keep(self.within(namespace, make) if namespace else make())

    def datagrams(
        self, address: str, port: int, namespace: Path | None = None, family: int = socket.AF_INET
    ) -> socket.socket:
        """A UDP socket, on the host unless a namespace is given."""

        def make() -> socket.socket:
            return self._keep(socket.socket(family, socket.SOCK_DGRAM))

        opened = self.within(namespace, make) if namespace else make()
        opened.bind((address, port))
        return opened

    def connect(self, slot: Slot, address: str, port: int, source_port: int = 0) -> socket.socket:
        """A TCP connection from inside a sandbox."""

        def make() -> socket.socket:
            return socket.create_connection((address, port), PATIENCE, ("", source_port))

        return self._keep(self.within(slot.namespace, make))

    def raw(self, slot: Slot) -> socket.socket:
        """A socket for whole Ethernet frames on a sandbox's link."""

        def make() -> socket.socket:
            return self._keep(socket.socket(socket.AF_PACKET, socket.SOCK_RAW))

        opened = self.within(slot.namespace, make)
        opened.bind(("eth0", 0))
        return opened

    @staticmethod
    def packet(
        payload: bytes, *, source: str = GUEST_ADDRESS, target: str = PUBLIC, protocol: int = socket.IPPROTO_UDP
    ) -> bytes:
        """A whole IPv4 packet."""
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0)
        header += socket.inet_aton(source) + socket.inet_aton(target)
        return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload

    @staticmethod
    def datagram(text: bytes, *, port: int) -> bytes:
        """A UDP datagram without a checksum, which IPv4 permits."""
        return struct.pack("!HHHH", 40000, port, 8 + len(text), 0) + text

    @staticmethod
    def frame(slot: Slot, packet: bytes, *, source: str = GUEST_MAC, kind: int = 0x0800) -> bytes:
        """An Ethernet frame from a sandbox to the host's end of its link."""
        with IPRoute() as host:
            target = host.get_links(socket.if_nametoindex(slot.link))[0].get("address")
        return mac(target) + mac(source) + struct.pack("!H", kind) + packet

    def _keep(self, opened: socket.socket) -> socket.socket:
        opened.settimeout(PATIENCE)
        return self.resources.enter_context(opened)

    def _namespace(self) -> Path:
        def make() -> int:
            namespaces.leave_for_new()
            return os.open("/proc/thread-self/ns/net", os.O_RDONLY)

        self._descriptor = namespaces.in_own_thread(make)
        self.resources.callback(os.close, self._descriptor)
        return Path(f"/proc/self/fd/{self._descriptor}")

    def _connect_internet(self) -> None:
        with IPRoute() as host:
            host.link("set", index=1, state="up")
            host.link("add", ifname="up0", kind="veth", peer={"ifname": "down0", "net_ns_fd": self._descriptor})
            index = host.link_lookup(ifname="up0")[0]
            host.addr("add", index=index, address=self.HOST, prefixlen=24)
            host.link("set", index=index, state="up")
            with pair.link_events() as events:
                self.within(self.internet, self._configure_internet)
                pair.await_carrier(host, events, index)
            host.route("add", dst="default", gateway=self.ROUTER)

    def _configure_internet(self) -> None:
        with IPRoute() as internet:
            index = internet.link_lookup(ifname="down0")[0]
            internet.addr("add", index=index, address=self.ROUTER, prefixlen=24)
            for address in (self.PUBLIC, self.OTHER_PUBLIC, self.RESOLVER, *self.PRIVATE):
                internet.addr("add", index=1, address=address, prefixlen=32)
            internet.link("set", index=1, state="up")
            internet.link("set", index=index, state="up")


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@pytest.fixture
def machine() -> Iterator[Machine]:
    # Not pytest's own folder: a failing test would keep that one, and with it mounts.
    folder = Path(tempfile.mkdtemp(prefix="moonpool-network-"))
    try:
        with Machine(folder) as made:
            yield made
    finally:
        shutil.rmtree(folder)
