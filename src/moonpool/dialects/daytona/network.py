"""Network settings as Daytona words them, to a policy and back."""

import ipaddress

from moonpool.errors import InvalidInput
from moonpool.hosts.model import NetworkPolicy

MAX_NETWORKS = 10
OPEN = NetworkPolicy()


def policy(current: NetworkPolicy, block_all: bool | None, allow_list: str | None) -> NetworkPolicy:
    """Blocking everything clears the list, a list implies that not everything is blocked, false clears the list, and so
    does an empty one; what is None stays as it is."""
    if block_all:
        return NetworkPolicy(block_all=True)
    if allow_list is not None and allow_list.strip():
        return NetworkPolicy(allow=networks(allow_list))
    if block_all is False:
        return OPEN
    if allow_list is not None:
        return NetworkPolicy(block_all=current.block_all)
    return current


def networks(allow_list: str) -> tuple[str, ...]:
    """At most ten IPv4 networks with a prefix length, in their canonical form; raises InvalidInput."""
    parts = [part.strip() for part in allow_list.split(",")]
    if len(parts) > MAX_NETWORKS:
        raise InvalidInput(f"networkAllowList holds at most {MAX_NETWORKS} networks", field="networkAllowList")
    return tuple(network(part) for part in parts)


def network(text: str) -> str:
    try:
        if "/" not in text:
            raise ValueError
        return str(ipaddress.IPv4Network(text, strict=False))
    except ValueError:
        message = f"networkAllowList: {text!r} is not an IPv4 network with a prefix length, like 203.0.113.0/24"
        raise InvalidInput(message[:200], field="networkAllowList") from None


def allow_list(current: NetworkPolicy) -> str | None:
    return ",".join(current.allow) if current.allow else None
