"""Passage through the filter that others keep on this machine.

A packet is forwarded only where every filter lets it pass, and Docker and ufw make iptables drop whatever they do not
know. So where they do, Moonpool's links are let through there; its own rules go on judging every packet. It is done
with `iptables` itself, since that refuses to touch a table in which it meets a rule not in its own words.
"""

import shutil
import subprocess
from pathlib import Path

from moonpool.engine.network.nftables import Nftables
from moonpool.engine.network.ruleset import TABLE_PREFIX, link_prefix

# Docker keeps the first for rules of others, and never clears it.
CHAINS = ("DOCKER-USER", "FORWARD")
LEGACY_TABLES = Path("/proc/thread-self/net/ip_tables_names")
LOCK_WAIT = "5"  # seconds that iptables waits for others who change it


def open_passage(tag: str, nftables: Nftables) -> None:
    """Let an instance's links through iptables where it would drop them; nothing is done where it would not."""
    rules = _rules(nftables)
    if not _drops(rules) or _ours(tag, rules):
        return
    chain = next(chain for chain in CHAINS if chain == "FORWARD" or f"-N {chain}" in rules)
    for match in _matches(tag):
        _iptables("-I", chain, *match)


def close_passage(tag: str, nftables: Nftables) -> None:
    for rule in _ours(tag, _rules(nftables)):
        _iptables("-D", *rule.split()[1:])


def passages(tag: str, nftables: Nftables) -> list[str]:
    """The rules that an instance has in iptables, as `iptables -S` lists them."""
    return _ours(tag, _rules(nftables))


def obstacles(tag: str, nftables: Nftables) -> list[str]:
    """Filters of others that may drop what sandboxes send, for a human to open; in words."""
    found = []
    for item in nftables.query("list chains"):
        chain = item.get("chain", {})
        foreign = not chain.get("table", TABLE_PREFIX).startswith(TABLE_PREFIX) and chain.get("family") in (
            "ip",
            "inet",
        )
        if not foreign or chain.get("hook") != "forward":
            continue
        place = f"{chain['family']} {chain['table']} {chain['name']}"
        if chain["table"] == "firewalld":
            found.append(f"firewalld ({place}) may reject it: put {link_prefix(tag)}+ into its zone 'trusted'")
        elif chain.get("policy") == "drop" and not (place == "ip filter FORWARD" and passages(tag, nftables)):
            found.append(f"the nftables chain {place} drops it: accept iifname and oifname {link_prefix(tag)}* there")
    return found


def _matches(tag: str) -> tuple[tuple[str, ...], ...]:
    links = f"{link_prefix(tag)}+"
    return (
        ("-i", links, "-j", "ACCEPT"),
        ("-o", links, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT"),
    )


def _rules(nftables: Nftables) -> list[str]:
    """All of iptables' filter; nothing where nobody uses it (asking alone would create it)."""
    if not shutil.which("iptables"):
        return []
    legacy = LEGACY_TABLES.exists() and "filter" in LEGACY_TABLES.read_text().split()
    if not legacy and ("ip", "filter") not in nftables.tables():
        return []
    return _iptables("-S").splitlines()


def _drops(rules: list[str]) -> bool:
    return any(
        rule == "-P FORWARD DROP" or (rule.startswith("-A FORWARD -j ") and rule.split()[3] in ("DROP", "REJECT"))
        for rule in rules
    )


def _ours(tag: str, rules: list[str]) -> list[str]:
    return [rule for rule in rules if f" {link_prefix(tag)}+ " in rule]


def _iptables(*arguments: str) -> str:
    """What `iptables` prints. It may fail, as over an administrator's rules in nft's words: then nothing is opened."""
    done = subprocess.run(["iptables", "-w", LOCK_WAIT, *arguments], capture_output=True, text=True, check=False)
    return done.stdout
