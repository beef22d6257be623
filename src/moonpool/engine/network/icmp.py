"""Error messages for sandboxes quote the sandbox's own packet, and must quote it as it was sent.

The stateless rewrite changes a packet's own addresses; an ICMP error (port unreachable, fragmentation needed) carries
in its body the head of the packet it is about, there with the slot's address. A guest takes no notice of an error about
a packet that it never sent: a refused question would become a time-out. nft's language has no words for a change in the
body that also corrects the checksum; the kernel does it.
"""

import socket

from pyroute2.nftables.expressions import genex
from pyroute2.nftables.main import NFTables

from moonpool.engine.network.addresses import GUEST_ADDRESS

NFPROTO_INET = 1
REGISTER = 1
TRANSPORT_HEADER = 2  # NFT_PAYLOAD_TRANSPORT_HEADER
QUOTED_SOURCE = 8 + 12  # an ICMP header, then the source address in an IPv4 header
CHECKSUM_INET = 1  # NFT_PAYLOAD_CSUM_INET
CHECKSUM_OFFSET = 2  # of the ICMP header


def add_rule(table: str, chain: str) -> None:
    """Append to a chain the rule that gives a quoted packet the guest's address as its source."""
    value = {"attrs": [("NFTA_DATA_VALUE", socket.inet_aton(GUEST_ADDRESS))]}
    load = genex("immediate", {"dreg": REGISTER, "data": value})
    store = genex(
        "payload",
        {
            "sreg": REGISTER,
            "base": TRANSPORT_HEADER,
            "offset": QUOTED_SOURCE,
            "len": 4,
            "csum_type": CHECKSUM_INET,
            "csum_offset": CHECKSUM_OFFSET,
        },
    )
    rules = NFTables(nfgen_family=NFPROTO_INET)
    try:
        rules.begin()
        rules.rule("add", table=table, chain=chain, expressions=([load, store],))
        rules.commit()
    finally:
        rules.close()
