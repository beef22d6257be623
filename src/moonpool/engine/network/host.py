"""What the servers on one machine share: the space of addresses, and the kernel's forwarding."""

from dataclasses import dataclass
from ipaddress import IPv4Network

from moonpool.engine.network import links, ruleset, sysctls
from moonpool.engine.network.addresses import candidate_blocks
from moonpool.engine.network.links import Reservation
from moonpool.engine.network.model import NetworkFailed
from moonpool.engine.network.nftables import Nftables


@dataclass(frozen=True)
class Claim:
    """What an instance holds on the machine. `forwarding_was_off`: it has to be switched off again at the end."""

    block: IPv4Network
    forwarding_was_off: bool


def owner(tag: str) -> int:
    """A tag as a route's metric; 0 would be no metric."""
    return int(tag, 16) + 1


def link_group(tag: str) -> int:
    """The group that an instance's links are in: its tag below one letter, to keep off the small numbers of others."""
    return ord("m") << 24 | int(tag, 16)


def claim(tag: str, nftables: Nftables) -> Claim:
    """Take a block of addresses, or find the one held already, and make the kernel forward."""
    with sysctls.host_lock():
        block = _held_block(tag) or _take_block(tag)
        was_off = _has_marker(nftables, tag)
        if not sysctls.forwarding():
            sysctls.set_forwarding(True)
            was_off = True
        return Claim(block, was_off)


def release(tag: str, nftables: Nftables) -> None:
    """Remove the tables, give the block back, and leave forwarding as it was unless somebody else needs it."""
    with sysctls.host_lock():
        commands = [ruleset.remove(tag)]
        if _has_marker(nftables, tag):
            heir = next(iter(_other_instances(nftables, tag)), None)
            if heir:
                commands.append(ruleset.keep_forwarding_marker(heir))
            elif not _others_translate(nftables, tag):
                sysctls.set_forwarding(False)
        nftables.run("\n".join(commands))
        for reservation in held(tag):
            links.release(reservation)


def held(tag: str) -> list[Reservation]:
    return [reservation for reservation in links.reservations() if reservation.owner == owner(tag)]


def _held_block(tag: str) -> IPv4Network | None:
    return next((reservation.block for reservation in held(tag)), None)


def _take_block(tag: str) -> IPv4Network:
    reserved = {reservation.block for reservation in links.reservations()}
    for block in candidate_blocks(tag, links.occupied()):
        if not any(block.overlaps(other) for other in reserved):
            links.reserve(Reservation(block, owner(tag)))
            return block
    raise NetworkFailed(
        "No free block of addresses for sandboxes",
        hint="All of 100.64.0.0/10 and 198.18.0.0/15 is routed on this machine.",
    )


def _has_marker(nftables: Nftables, tag: str) -> bool:
    if ("inet", ruleset.table_name(tag)) not in nftables.tables():
        return False
    listed = nftables.query(f"list table inet {ruleset.table_name(tag)}")
    return any(item.get("set", {}).get("name") == ruleset.FORWARDING_MARKER for item in listed)


def _other_instances(nftables: Nftables, tag: str) -> list[str]:
    names = {name for family, name in nftables.tables() if family == "inet" and name.startswith(ruleset.TABLE_PREFIX)}
    return sorted(name.removeprefix(ruleset.TABLE_PREFIX) for name in names - {ruleset.table_name(tag)})


def _others_translate(nftables: Nftables, tag: str) -> bool:
    """Whether anyone else translates addresses here, which is what containers and virtual machines forward with."""
    chains = [item["chain"] for item in nftables.query("list chains") if "chain" in item]
    return any(
        chain.get("type") == "nat" and chain.get("hook") == "postrouting" and chain["table"] != ruleset.table_name(tag)
        for chain in chains
    )
