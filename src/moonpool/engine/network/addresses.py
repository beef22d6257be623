"""The addresses of sandboxes: one that every sandbox sees, and one per slot that only the host sees."""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network

GUEST_ADDRESS = "169.254.0.21"
GATEWAY = "169.254.0.22"
PREFIX = 30
GUEST_MAC = "02:fc:00:00:00:05"
AGENT_PORT = 49983

# What a sandbox asks for names: the gateway and, where the host has several name servers, two more that exist only in
# the rules. A second upstream needs a second address: a retry to the same one stays on the first one's connection.
RESOLVER_ALIASES = (GATEWAY, "169.254.1.53", "169.254.2.53")

SLOT_BITS = 13
SLOTS = 2**SLOT_BITS - 2  # the first and the last address of the block stay unused
SHARED_SPACE = IPv4Network("100.64.0.0/10")
BENCHMARK_SPACE = IPv4Network("198.18.0.0/15")
CLOUD_SERVICES = IPv4Network("100.100.0.0/16")  # a cloud has its name servers and metadata there

# Never reachable from a sandbox unless the operator opens it: addresses that are not the public internet's.
DENIED = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",  # a cloud's answers to its machines, public in form
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
)


def slot_address(block: IPv4Network, number: int) -> str:
    """The host's own address for a slot; raises ValueError for a number outside 0..SLOTS-1."""
    if not 0 <= number < SLOTS:
        raise ValueError(f"slot {number} is outside 0..{SLOTS - 1}")
    return str(block.network_address + 1 + number)


def slot_number(block: IPv4Network, address: str) -> int:
    return int(IPv4Address(address)) - int(block.network_address) - 1


def candidate_blocks(tag: str, occupied: Iterable[IPv4Network]) -> Iterator[IPv4Network]:
    """Free blocks for an instance, the one its tag points at first.

    `occupied`: what others (not Moonpool) have addresses or routes in. Where any of it lies in 100.64.0.0/10, a carrier
    or an overlay network uses that (Tailscale drops the whole range on other links): then 198.18.0.0/15 goes first.
    """
    taken = list(occupied)
    spaces = [SHARED_SPACE, BENCHMARK_SPACE]
    if any(network.overlaps(SHARED_SPACE) for network in taken):
        spaces.reverse()
    for space in spaces:
        count = 2 ** (32 - SLOT_BITS - space.prefixlen)
        start = int(tag, 16) % count
        for offset in range(count):
            index = (start + offset) % count
            block = IPv4Network((int(space.network_address) + (index << SLOT_BITS), 32 - SLOT_BITS))
            if not any(network.overlaps(block) for network in (*taken, CLOUD_SERVICES)):
                yield block
