"""Ends connections that a sandbox has through the host.

Spoken straight to the kernel: a sandbox may have thousands of connections, and a general netlink library takes seconds
to read them. Every connection's own address tuple comes out of the list and goes back as the one to delete.
Message layout: linux/netfilter/nfnetlink_conntrack.h.
"""

import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address

from moonpool.engine.network.model import NetworkFailed

NETLINK_NETFILTER = 12
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
CT_GET, CT_DELETE = 0x101, 0x102  # the connection tracking subsystem in the upper byte
CTA_TUPLE_ORIG, CTA_FILTER = 1, 25
CTA_TUPLE_IP = 1
CTA_IP_V4_SRC, CTA_IP_V4_DST = 1, 2
CTA_FILTER_ORIG_FLAGS, CTA_FILTER_F_IP_SRC = 1, 1
NESTED = 0x8000
TYPE_MASK = 0x3FFF
HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
ATTRIBUTE = struct.Struct("=HH")  # length, type
FAMILY = bytes([socket.AF_INET, 0, 0, 0])
RECEIVE = 1 << 18  # bytes; more than the kernel ever puts into one piece
BATCH = 256


def cut(address: str, unwanted: Callable[[IPv4Address], bool]) -> int:
    """Forget the connections from a slot's address to every destination that is unwanted; return how many.

    Without its entry a connection's answers no longer find their way back into the sandbox.
    """
    source = socket.inet_aton(address)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as kernel:
        kernel.bind((0, 0))
        doomed = [
            _attribute(CTA_TUPLE_ORIG | NESTED, connection)
            for connection, destination in _connections(kernel, source)
            if unwanted(destination)
        ]
        for start in range(0, len(doomed), BATCH):
            # Deleted when `send` returns. One that has ended by itself meanwhile is answered by an error nobody reads.
            kernel.send(b"".join(_message(CT_DELETE, 0, connection) for connection in doomed[start : start + BATCH]))
    return len(doomed)


def _connections(kernel: socket.socket, source: bytes) -> Iterator[tuple[bytes, IPv4Address]]:
    """The original tuples, as the kernel writes them, of the connections from one address; and where they lead."""
    wanted = _attribute(CTA_TUPLE_IP | NESTED, _attribute(CTA_IP_V4_SRC, source))
    flags = _attribute(CTA_FILTER_ORIG_FLAGS, struct.pack("=I", CTA_FILTER_F_IP_SRC))
    body = _attribute(CTA_TUPLE_ORIG | NESTED, wanted) + _attribute(CTA_FILTER | NESTED, flags)
    kernel.send(_message(CT_GET, NLM_F_DUMP, body))
    for entry in _answers(kernel):
        connection = _attributes(entry)[CTA_TUPLE_ORIG]
        ends = _attributes(_attributes(connection)[CTA_TUPLE_IP])
        # Kernels before 5.8 know no filter and list everything.
        if ends.get(CTA_IP_V4_SRC) == source:
            yield connection, IPv4Address(ends[CTA_IP_V4_DST])


def _answers(kernel: socket.socket) -> Iterator[bytes]:
    while True:
        data = kernel.recv(RECEIVE)
        offset = 0
        while offset < len(data):
            length, kind, _, _, _ = HEADER.unpack_from(data, offset)
            if kind == NLMSG_DONE:
                return
            if kind == NLMSG_ERROR:
                (code,) = struct.unpack_from("=i", data, offset + HEADER.size)
                raise NetworkFailed(
                    f"Connections cannot be listed: {os.strerror(-code)} ({errno.errorcode.get(-code)})"
                )
            yield data[offset + HEADER.size + len(FAMILY) : offset + length]
            offset += _aligned(length)


def _message(kind: int, flags: int, body: bytes) -> bytes:
    return HEADER.pack(HEADER.size + len(FAMILY) + len(body), kind, NLM_F_REQUEST | flags, 0, 0) + FAMILY + body


def _attribute(kind: int, value: bytes) -> bytes:
    length = ATTRIBUTE.size + len(value)
    return ATTRIBUTE.pack(length, kind) + value + bytes(_aligned(length) - length)


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    offset = 0
    while offset < len(data):
        length, kind = ATTRIBUTE.unpack_from(data, offset)
        found[kind & TYPE_MASK] = data[offset + ATTRIBUTE.size : offset + length]
        offset += _aligned(length)
    return found


def _aligned(length: int) -> int:
    return length + 3 & ~3
