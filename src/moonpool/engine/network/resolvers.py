"""The name servers that the host itself asks."""

from ipaddress import AddressValueError, IPv4Address
from pathlib import Path

RESOLV_CONF = Path("/etc/resolv.conf")
SYSTEMD_RESOLV_CONF = Path("/run/systemd/resolve/resolv.conf")
SYSTEMD_STUBS = {"127.0.0.53", "127.0.0.54"}
LIMIT = 3  # as many as a C library asks


def upstream_resolvers(resolv_conf: Path, systemd: Path = SYSTEMD_RESOLV_CONF) -> tuple[str, ...]:
    """IPv4 name servers, at most three, in order.

    systemd-resolved's own address answers on the loopback link alone, so the servers that it asks are taken instead.
    """
    found = _nameservers(resolv_conf)
    if any(address in SYSTEMD_STUBS for address in found):
        beyond = [address for address in _nameservers(systemd) if address not in SYSTEMD_STUBS]
        found = [address for address in found if address not in SYSTEMD_STUBS] + beyond
    return tuple(dict.fromkeys(found))[:LIMIT]


def _nameservers(path: Path) -> list[str]:
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return []
    words = [line.split() for line in lines]
    return [entry[1] for entry in words if len(entry) >= 2 and entry[0] == "nameserver" and _is_ipv4(entry[1])]


def _is_ipv4(text: str) -> bool:
    try:
        IPv4Address(text)
    except AddressValueError:
        return False
    return True
