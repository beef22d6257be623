"""Namespaces, links, addresses and the filter of sandboxes."""

from moonpool.engine.network.addresses import AGENT_PORT, GATEWAY, GUEST_ADDRESS, GUEST_MAC, PREFIX
from moonpool.engine.network.model import NetworkFailed, NetworkPolicy, Slot
from moonpool.engine.network.network import Network

__all__ = [
    "AGENT_PORT",
    "GATEWAY",
    "GUEST_ADDRESS",
    "GUEST_MAC",
    "PREFIX",
    "Network",
    "NetworkFailed",
    "NetworkPolicy",
    "Slot",
]
