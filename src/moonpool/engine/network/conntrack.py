"""Ends connections that a sandbox has through the host."""

import contextlib
import socket
from collections.abc import Callable
from ipaddress import IPv4Address

from pyroute2.conntrack import NFCTSocket
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple


def cut(address: str, unwanted: Callable[[IPv4Address], bool]) -> int:
    """Forget the connections from a slot's address to every destination that is unwanted; return how many.

    Without its entry a connection's answers no longer find their way back into the sandbox.
    """
    count = 0
    with NFCTSocket(nfgen_family=socket.AF_INET) as connections:
        for entry in list(connections.dump(tuple_orig=NFCTAttrTuple(saddr=address))):
            original = entry.get_attr("CTA_TUPLE_ORIG")
            ends = original.get_attr("CTA_TUPLE_IP")
            # Kernels before 5.8 ignore the filter and list everything.
            if ends.get_attr("CTA_IP_V4_SRC") != address:
                continue
            if unwanted(IPv4Address(ends.get_attr("CTA_IP_V4_DST"))):
                with contextlib.suppress(NetlinkError):  # it may just have ended by itself
                    connections.entry("del", tuple_orig=NFCTAttrTuple.from_netlink(socket.AF_INET, original))
                    count += 1
    return count
