"""What an earlier run of the same server left in the kernel."""

from dataclasses import dataclass, field
from ipaddress import IPv4Address, summarize_address_range
from pathlib import Path
from typing import Any

from moonpool.engine.network import links, namespaces, ruleset
from moonpool.engine.network.model import NetworkPolicy
from moonpool.engine.network.nftables import Nftables

BLOCKED = NetworkPolicy(block_all=True)


@dataclass(frozen=True)
class Survey:
    """`complete`: number -> policy of the slots that work; `broken`: numbers of which only parts are there;
    `reached`: number -> the addresses that names have led it to, for slots whose names the server answers. Their
    policies lack the domains, which the kernel does not know."""

    complete: dict[int, NetworkPolicy] = field(default_factory=dict)
    broken: frozenset[int] = frozenset()
    reached: dict[int, tuple[str, ...]] = field(default_factory=dict)


def link_name(tag: str, number: int) -> str:
    return f"{ruleset.link_prefix(tag)}{number:x}"


def survey(tag: str, folder: Path, nftables: Nftables) -> Survey:
    """A slot is complete when its namespace, its link and its route are there: the route is made last.

    Where the table is gone (somebody flushed all rules) nobody knows the policies any more: everything stays blocked
    until they are set again.
    """
    prefix = ruleset.link_prefix(tag)
    linked = {_number(name, prefix) for name in links.names(prefix)}
    kept = kept_numbers(folder)
    routed = {_number(name, prefix) for name in links.routed(prefix)}
    whole = {number for number in linked & routed & kept if namespaces.is_kept(folder / str(number))}
    sets = _sets(tag, nftables)
    policies = None if sets is None else _policies(sets)
    complete = {
        number: policies.get(link_name(tag, number), NetworkPolicy()) if policies is not None else BLOCKED
        for number in sorted(whole)
    }
    reached = {} if sets is None else _reached(sets)
    numbers = {number: link_name(tag, number) for number in complete}
    of_complete = {number: reached[link] for number, link in numbers.items() if link in reached}
    return Survey(complete, frozenset((linked | kept) - whole), of_complete)


def kept_numbers(folder: Path) -> set[int]:
    """Of which slots there are files for namespaces."""
    return {int(path.name) for path in folder.iterdir() if path.name.isdecimal()} if folder.is_dir() else set()


def _number(link: str, prefix: str) -> int:
    return int(link.removeprefix(prefix), 16)


def _sets(tag: str, nftables: Nftables) -> dict[str, dict[str, Any]] | None:
    """Name -> set or map, as the kernel has it. None: no table."""
    table = ruleset.table_name(tag)
    if ("inet", table) not in nftables.tables():
        return None
    items = [item.get("set") or item.get("map") for item in nftables.query(f"list table inet {table}")]
    return {item["name"]: item for item in items if item}


def _reached(sets: dict[str, dict[str, Any]]) -> dict[str, tuple[str, ...]]:
    """Link -> addresses that names have led it to."""
    reached: dict[str, list[str]] = {link: [] for link, _ in _members(sets, "named")}
    for element in _members(sets, "resolved"):
        link, address = element["concat"]
        if link in reached:
            reached[link].append(address)
    return {link: tuple(addresses) for link, addresses in reached.items()}


def _policies(sets: dict[str, dict[str, Any]]) -> dict[str, NetworkPolicy]:
    """Link -> policy as the kernel's sets have it; links without any restriction are left out."""
    blocked, restricted = (set(_members(sets, name)) for name in ("blocked", "restricted"))
    allowed: dict[str, list[str]] = {link: [] for link in restricted}
    for element in _members(sets, "allowed"):
        link, network = element["concat"]
        allowed.setdefault(link, []).extend(_cidrs(network))
    return {
        link: NetworkPolicy(
            # An empty list blocks as well; it is told apart by the link standing in both sets without a network.
            block_all=link in blocked and (link not in restricted or bool(allowed[link])),
            allow=tuple(allowed[link]) if link in restricted else None,
        )
        for link in blocked | restricted
    }


def _members(sets: dict[str, dict[str, Any]], name: str) -> list[Any]:
    return list(sets.get(name, {}).get("elem", []))


def _cidrs(value: str | dict[str, Any]) -> list[str]:
    """nft writes a single address as text, a network as a prefix, and in some versions as a range."""
    if isinstance(value, str):
        return [value]
    if "prefix" in value:
        return [f"{value['prefix']['addr']}/{value['prefix']['len']}"]
    first, last = (IPv4Address(end) for end in value["range"])
    return [str(network) for network in summarize_address_range(first, last)]
