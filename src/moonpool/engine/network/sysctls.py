"""Kernel settings of the calling thread's network namespace."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path("/proc/sys/net")
FORWARDING = ROOT / "ipv4/ip_forward"

# A host's link to a sandbox. `rp_filter` 2: the strict check, which some hosts set for all links, would leave the
# guest's ARP questions unanswered, for there is no way back to an address that all guests share. `arp_ignore` keeps
# the host's other addresses from being probed. `route_localnet` lets a name server on the host's loopback answer; the
# rules drop all else that goes to 127.0.0.0/8.
LINK_SETTINGS = {
    "forwarding": "1",
    "rp_filter": "2",
    "arp_ignore": "1",
    "send_redirects": "0",
    "accept_redirects": "0",
    "accept_source_route": "0",
    "route_localnet": "1",
}


def harden_link(link: str) -> None:
    for name, value in LINK_SETTINGS.items():
        (ROOT / "ipv4/conf" / link / name).write_text(value)
    disable_ipv6(link)


def disable_ipv6(scope: str) -> None:
    """`scope`: a link's name, or "all" and "default". A kernel without IPv6 has nothing to disable."""
    setting = ROOT / "ipv6/conf" / scope / "disable_ipv6"
    if setting.exists():
        setting.write_text("1")


def forwarding() -> bool:
    return FORWARDING.read_text().strip() == "1"


def set_forwarding(enabled: bool) -> None:
    FORWARDING.write_text("1" if enabled else "0")


@contextmanager
def host_lock() -> Iterator[None]:
    """One server at a time changes what servers on this machine share: the choice of a block, and forwarding.

    The lock is on the setting's own file, which exists once per network namespace: exactly the scope wanted, and no
    file has to be left anywhere.
    """
    with FORWARDING.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
