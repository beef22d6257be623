"""What the network gives to the rest of the engine."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Network, NetmaskValueError, collapse_addresses
from pathlib import Path

from pyroute2.netlink.exceptions import NetlinkError

from moonpool.errors import EngineError, InvalidInput


class NetworkFailed(EngineError):
    code = "network_failed"
    default = "The sandbox network could not be set up"


@contextmanager
def kernel_errors(what: str) -> Iterator[None]:
    """Turn what the kernel refuses into NetworkFailed; also a decorator."""
    try:
        yield
    except (NetlinkError, OSError) as error:
        raise NetworkFailed(f"{what}: {error}") from error


@dataclass(frozen=True)
class Slot:
    """One place for a sandbox: its namespace, and how the host reaches it.

    `address` is unique on this host; a plain socket to it ends at the same port inside the sandbox.
    """

    number: int
    address: str
    link: str
    namespace: Path


@dataclass(frozen=True)
class NetworkPolicy:
    """What a sandbox may reach, within what the operator permits.

    `block_all`: nothing, names included. `allow`: only these IPv4 CIDRs, and names; an empty tuple is nothing at all;
    None is the whole public internet. `domains`: only these names (`*.` in front: every name below), the addresses that
    they lead to and, where `allow` is given, its networks.
    """

    block_all: bool = False
    allow: tuple[str, ...] | None = None
    domains: tuple[str, ...] = ()

    @property
    def blocked(self) -> bool:
        return self.block_all or (self.allow == () and not self.domains)

    @property
    def restricted(self) -> bool:
        return self.allow is not None or bool(self.domains)

    @property
    def networks(self) -> tuple[IPv4Network, ...]:
        """The allow-list without duplicates and overlaps; raises InvalidInput for what is no IPv4 CIDR."""
        return parse_networks(self.allow or (), field="network.allow")


def parse_networks(texts: Sequence[str], *, field: str) -> tuple[IPv4Network, ...]:
    """Sorted, disjoint networks; host bits are masked off, as `nft` and most allow-lists do."""
    parsed = []
    for text in texts:
        try:
            parsed.append(IPv4Network(text.strip(), strict=False))
        except (AddressValueError, NetmaskValueError, ValueError) as error:
            raise InvalidInput(
                f"Not an IPv4 network: {text!r}", field=field, hint="Use IPv4 CIDRs such as 203.0.113.0/24."
            ) from error
    return tuple(collapse_addresses(parsed))
