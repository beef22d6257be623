"""Links, addresses, routes and neighbours, through pyroute2.

A pyroute2 socket belongs to one thread and to the network namespace in which it was made; so each operation opens its
own (0.3 ms).
"""

import contextlib
import errno
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from moonpool.engine.network.addresses import GUEST_ADDRESS
from moonpool.engine.network.ruleset import MOONPOOL_LINKS

MAIN_TABLE = 254
ETHERNET_MTU = 1500
UNREACHABLE = 7  # RTN_UNREACHABLE
LOOPBACK = 1  # the index of `lo` in every namespace


@dataclass(frozen=True)
class Reservation:
    """A block of addresses taken by an instance: an unreachable route whose metric is the instance's tag."""

    block: IPv4Network
    owner: int


def remove(link: str) -> None:
    """Remove a pair of links with its addresses and routes; nothing happens where there is none."""
    try:
        index = socket.if_nametoindex(link)
    except OSError:
        return
    with IPRoute() as host, _unless(errno.ENODEV):  # it goes with its namespace, too
        host.link("del", index=index)


def remove_group(group: int) -> None:
    """Remove all links of a group in one go: their waits for the kernel's grace periods coincide."""
    with IPRoute() as host, _unless(errno.ENODEV):  # an empty group is none
        host.link("del", group=group)


def names(prefix: str) -> list[str]:
    return sorted(name for _, name in socket.if_nameindex() if name.startswith(prefix))


def traffic(link: str) -> int:
    """Bytes that went through it so far, both ways; 0 where there is none. Blocking, cheap."""
    total = 0
    for direction in ("rx", "tx"):
        with contextlib.suppress(OSError, ValueError):
            total += int(Path(f"/sys/class/net/{link}/statistics/{direction}_bytes").read_text())
    return total


def routed(prefix: str) -> dict[str, str]:
    """Link -> address of every slot whose route is there."""
    by_index = {index: name for index, name in socket.if_nameindex() if name.startswith(prefix)}
    found = {}
    with IPRoute() as host:
        for route in host.get_routes(family=socket.AF_INET, table=MAIN_TABLE):
            name, target = by_index.get(route.get("oif") or 0), route.get("dst")
            if name and target and route["dst_len"] == 32:
                found[name] = str(target)
    return found


def occupied() -> list[IPv4Network]:
    """Networks that others have addresses in or routes to, in any table; the default route is none."""
    with IPRoute() as host:
        ours = {link["index"] for link in host.get_links() if link.get("ifname", "").startswith(MOONPOOL_LINKS)}
        found = [
            IPv4Network((route.get("dst"), route["dst_len"]))
            for route in host.get_routes(family=socket.AF_INET)
            if route.get("dst") and route.get("oif") not in ours and route["type"] != UNREACHABLE
        ]
        found += [
            IPv4Network((entry.get("address"), entry["prefixlen"]), strict=False)
            for entry in host.get_addr(family=socket.AF_INET)
            if entry["index"] not in ours
        ]
    return found


def reservations() -> list[Reservation]:
    with IPRoute() as host:
        return [
            Reservation(IPv4Network((route.get("dst"), route["dst_len"])), route.get("priority"))
            for route in host.get_routes(family=socket.AF_INET, table=MAIN_TABLE)
            if route["type"] == UNREACHABLE and route.get("dst") and route.get("priority")
        ]


def reserve(reservation: Reservation) -> None:
    """Take a block, and lead the address that all guests share to nowhere.

    Without a route to it the loose reverse path check fails on a host without a default route; and should somebody
    flush the rules, answers to a guest whose address was not rewritten end here and not at the host's router.
    """
    with IPRoute() as host:
        host.route("replace", dst=f"{GUEST_ADDRESS}/32", oif=LOOPBACK, priority=reservation.owner)
        host.route("add", dst=str(reservation.block), type="unreachable", priority=reservation.owner)


def release(reservation: Reservation) -> None:
    with IPRoute() as host:
        for way in (
            {"dst": f"{GUEST_ADDRESS}/32", "oif": LOOPBACK},
            {"dst": str(reservation.block), "type": "unreachable"},
        ):
            with _unless(errno.ESRCH):
                host.route("del", priority=reservation.owner, **way)


def uplink_mtu() -> int:
    """What a sandbox may send in one piece, in bytes: the smallest MTU of the links that lead out, at most 1500."""
    with IPRoute() as host:
        ways = host.get_default_routes(family=socket.AF_INET)
        sizes = [
            int(link.get("mtu") or ETHERNET_MTU)
            for way in ways
            if way.get("oif")
            for link in host.get_links(way.get("oif"))
        ]
    return min([ETHERNET_MTU, *sizes])


@contextlib.contextmanager
def _unless(code: int) -> Iterator[None]:
    """Nothing to be done is no failure."""
    try:
        yield
    except NetlinkError as error:
        if error.code != code:
            raise
