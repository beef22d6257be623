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
    """`complete`: number -> policy of the slots that work; `broken`: numbers of which only parts are there."""

    complete: dict[int, NetworkPolicy] = field(default_factory=dict)
    broken: frozenset[int] = frozenset()


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
    policies = _policies(tag, nftables)
    complete = {
        number: policies.get(link_name(tag, number), NetworkPolicy()) if policies is not None else BLOCKED
        for number in sorted(whole)
    }
    return Survey(complete, frozenset((linked | kept) - whole))


def kept_numbers(folder: Path) -> set[int]:
    """Of which slots there are files for namespaces."""
    return {int(path.name) for path in folder.iterdir() if path.name.isdecimal()} if folder.is_dir() else set()


def _number(link: str, prefix: str) -> int:
    return int(link.removeprefix(prefix), 16)


def _policies(tag: str, nftables: Nftables) -> dict[str, NetworkPolicy] | None:
    """Link -> policy as the kernel's sets have it; links without any restriction are left out. None: no table."""
    table = ruleset.table_name(tag)
    if ("inet", table) not in nftables.tables():
        return None
    sets = {item["set"]["name"]: item["set"] for item in nftables.query(f"list table inet {table}") if "set" in item}
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
