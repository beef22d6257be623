"""A slot's namespace and the two links that join it to the host."""

import os
import socket

from pyroute2 import IPRoute

from moonpool.engine.network import namespaces, sysctls
from moonpool.engine.network.addresses import GATEWAY, GUEST_ADDRESS, GUEST_MAC, PREFIX
from moonpool.engine.network.links import LOOPBACK
from moonpool.engine.network.model import NetworkFailed, Slot

GUEST_LINK = "eth0"
NUD_PERMANENT = 0x80
RTNH_F_ONLINK = 4
RTMGRP_LINK = 1
CARRIER_TIMEOUT = 5.0  # seconds


def join(slot: Slot, *, mtu: int, group: int) -> None:
    """Make a slot's namespace and links, ready to carry packets.

    Run it in a thread of its own, since it goes to the new namespace and back. The route to the slot comes last: it
    says that the rest is complete.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with IPRoute() as host:
            namespaces.leave_for_new()
            namespaces.keep_current(slot.namespace)
            sysctls.disable_ipv6("all")
            sysctls.disable_ipv6("default")
            with IPRoute() as guest, link_events() as events:
                _make_links(host, slot, mtu, group)
                index = _configure_guest(guest)
                namespaces.enter_descriptor(home)
                _configure_host(host, slot)
                await_carrier(guest, events, index)
            _add_route(host, slot)
    finally:
        os.close(home)


def link_events() -> socket.socket:
    """A socket that is told of every change of a link in the calling thread's namespace."""
    events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    events.bind((0, RTMGRP_LINK))
    events.settimeout(CARRIER_TIMEOUT)
    return events


def await_carrier(netlink: IPRoute, events: socket.socket, index: int) -> None:
    """Wait until a link really sends, which the kernel lets happen a little after its other end has come up.

    What is sent before is lost, and a lost answer to the first connection costs a second.
    """
    while netlink.get_links(index)[0].get("operstate") != "UP":
        try:
            events.recv(1 << 16)
        except TimeoutError as error:
            raise NetworkFailed(f"Link {index} does not come up") from error


def _make_links(host: IPRoute, slot: Slot, mtu: int, group: int) -> None:
    with slot.namespace.open() as namespace:
        peer = {"ifname": GUEST_LINK, "net_ns_fd": namespace.fileno(), "address": GUEST_MAC, "mtu": mtu}
        host.link("add", ifname=slot.link, kind="veth", mtu=mtu, peer=peer, group=group)


def _configure_guest(guest: IPRoute) -> int:
    index = socket.if_nametoindex(GUEST_LINK)
    guest.addr("add", index=index, address=GUEST_ADDRESS, prefixlen=PREFIX)
    guest.link("set", index=LOOPBACK, state="up")
    guest.link("set", index=index, state="up")
    guest.route("add", dst="default", gateway=GATEWAY)
    return index


def _configure_host(host: IPRoute, slot: Slot) -> None:
    """The gateway's address, and the guest as a neighbour who cannot be replaced."""
    sysctls.harden_link(slot.link)
    index = socket.if_nametoindex(slot.link)
    host.addr("add", index=index, address=GATEWAY, prefixlen=32)
    host.link("set", index=index, state="up")
    host.neigh("add", dst=GUEST_ADDRESS, lladdr=GUEST_MAC, ifindex=index, state=NUD_PERMANENT)


def _add_route(host: IPRoute, slot: Slot) -> None:
    """The next hop is named, so that the neighbour is found whatever the destination is rewritten to."""
    index = socket.if_nametoindex(slot.link)
    host.route("add", dst=f"{slot.address}/32", gateway=GUEST_ADDRESS, oif=index, flags=RTNH_F_ONLINK, prefsrc=GATEWAY)
