"""The filter's text. Rules are constant; sets and maps grow with sandboxes.

Rules recognise a sandbox by the prefix of its link's name, not by a set, so that a link is filtered from the instant it
exists. Everything from a sandbox is refused unless a rule lets it pass.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network

from moonpool.engine.network.addresses import DENIED, GATEWAY, GUEST_ADDRESS, GUEST_MAC, RESOLVER_ALIASES
from moonpool.engine.network.model import NetworkPolicy

CONNECTIONS = 8192  # open connections of one sandbox, so that one cannot fill the host's connection table
CONNECTION_RATE = 500  # new connections a second of one sandbox ...
CONNECTION_BURST = 4000  # ... after so many at once
TABLE_PREFIX = "moonpool_"
MOONPOOL_LINKS = "mp"  # how the links of every server on a machine begin
QUOTED_CHAIN = "rewrite_quoted"  # its one rule cannot be written in nft's language, see icmp.py
# A question to a name server, whose address has been replaced by a real one's.
FROM_ALIAS = (
    f"ct status dnat ct original ip daddr {{ {', '.join(RESOLVER_ALIASES)} }} meta l4proto {{ tcp, udp }} th dport 53"
)
TO_ALIAS = f"ip daddr {{ {', '.join(RESOLVER_ALIASES)} }} meta l4proto {{ tcp, udp }} th dport 53"
# The same where a sandbox may reach some domains only: the server itself answers, see names.py.
FROM_NAMED = (
    f"ct status dnat ct original ip daddr {{ {', '.join(RESOLVER_ALIASES)} }} "
    "meta l4proto { tcp, udp } ct original proto-dst 53 ip daddr 127.0.0.1"
)
# An empty set whose presence says so: like the setting itself it ends with a reboot, and only then.
FORWARDING_MARKER = "forwarding_was_off"


@dataclass(frozen=True)
class Named:
    """A link whose names the server answers itself: at which port, and which addresses it may reach because of them."""

    port: int
    addresses: Sequence[str] = ()


@dataclass(frozen=True)
class Rules:
    """What one instance's tables hold."""

    tag: str
    block: IPv4Network
    resolvers: Sequence[str]
    opened: Sequence[IPv4Network] = ()
    closed: Sequence[IPv4Network] = ()
    addresses: Mapping[str, str] = field(default_factory=dict)
    policies: Mapping[str, NetworkPolicy] = field(default_factory=dict)
    forwarding_was_off: bool = False
    named: Mapping[str, Named] = field(default_factory=dict)

    @property
    def table(self) -> str:
        return table_name(self.tag)


def table_name(tag: str) -> str:
    return f"{TABLE_PREFIX}{tag}"


def link_prefix(tag: str) -> str:
    return f"{MOONPOOL_LINKS}{tag}"


def elements(items: Iterable[str]) -> str:
    """The `elements` clause of a set, nothing for an empty one (nft's grammar has no empty list)."""
    joined = ", ".join(items)
    return f"elements = {{ {joined} }}" if joined else ""


def install(rules: Rules) -> str:
    """Make both tables, or replace them: connections go on, since the swap is one transaction."""
    table = rules.table
    return "\n".join(
        [
            f"add table inet {table}",
            f"delete table inet {table}",
            f"add table arp {table}",
            f"delete table arp {table}",
            _inet_table(rules),
            _arp_table(rules),
        ]
    )


def remove(tag: str) -> str:
    """Remove both tables, also where one or both are absent."""
    table = table_name(tag)
    return "\n".join(f"add table {family} {table}\ndelete table {family} {table}" for family in ("inet", "arp"))


def change_resolvers(tag: str, resolvers: Sequence[str]) -> str:
    table = table_name(tag)
    commands = [f"flush map inet {table} resolvers"]
    if resolvers:
        commands.append(f"add element inet {table} resolvers {{ {', '.join(resolver_elements(resolvers))} }}")
    return "\n".join(commands)


def keep_forwarding_marker(tag: str) -> str:
    """Remember, in an instance's table, that forwarding was off before the first of the instances came."""
    return f"add set inet {table_name(tag)} {FORWARDING_MARKER} {{ type ipv4_addr; }}"


def add_slot(tag: str, link: str, address: str) -> str:
    return f'add element inet {table_name(tag)} addresses {{ "{link}" : {address} }}'


def change_policy(tag: str, link: str, old: NetworkPolicy, new: NetworkPolicy) -> str:
    """The commands that lead from one policy of a link to another; empty where nothing changes."""
    table = table_name(tag)
    commands = []
    for name, before, after in (
        ("blocked", old.blocked, new.blocked),
        ("restricted", old.restricted, new.restricted),
    ):
        if before != after:
            commands.append(f'{"add" if after else "delete"} element inet {table} {name} {{ "{link}" }}')
    before_networks, after_networks = set(old.networks), set(new.networks)
    for verb, networks in (("delete", before_networks - after_networks), ("add", after_networks - before_networks)):
        if networks:
            joined = ", ".join(_allowed_element(link, network) for network in sorted(networks))
            commands.append(f"{verb} element inet {table} allowed {{ {joined} }}")
    return "\n".join(commands)


def change_names(tag: str, link: str, old: Named | None, new: Named | None) -> str:
    """The commands after which the server answers a link's names at another port, or no longer."""
    table = table_name(tag)
    commands = []
    if old is not None:
        commands.append(f'delete element inet {table} named {{ "{link}" }}')
        commands += change_addresses(tag, link, "delete", old.addresses)
    if new is not None:
        commands.append(f"add element inet {table} named {{ {_named_element(link, new)} }}")
    return "\n".join(commands)


def change_addresses(tag: str, link: str, verb: str, addresses: Sequence[str]) -> list[str]:
    """`verb` ("add" or "delete") addresses that a link may reach because of their names."""
    if not addresses:
        return []
    joined = ", ".join(f'"{link}" . {address}' for address in addresses)
    return [f"{verb} element inet {table_name(tag)} resolved {{ {joined} }}"]


def _named_element(link: str, named: Named) -> str:
    return f'"{link}" : 127.0.0.1 . {named.port}'


def _allowed_element(link: str, network: IPv4Network) -> str:
    return f'"{link}" . {network}'


def _inet_table(rules: Rules) -> str:
    ours = f'"{link_prefix(rules.tag)}*"'
    parts = [_sets(rules), _arrival(ours), _to_the_host(ours), _through_the_host(ours), _departure(ours, rules.block)]
    return f"\ntable inet {rules.table} {{\n" + "".join(parts) + "\n}"


def _arrival(ours: str) -> str:
    """What comes from a sandbox: only packets as they may be, each with the sandbox's own address from here on."""
    return f"""
  chain rewrite_source {{
    type filter hook prerouting priority raw; policy accept;
    iifname != {ours} accept
    meta nfproto != ipv4 drop
    ether saddr != {GUEST_MAC} drop
    ip saddr != {GUEST_ADDRESS} drop
    ip daddr {{ 0.0.0.0/8, 127.0.0.0/8, 224.0.0.0/4, 240.0.0.0/4 }} drop
    meta l4proto != {{ tcp, udp, icmp }} drop
    meta l4proto icmp icmp type != {{ echo-request, echo-reply }} drop
    ip saddr set iifname map @addresses
    ip saddr {GUEST_ADDRESS} drop
  }}
  chain resolve {{
    type nat hook prerouting priority dstnat; policy accept;
    iifname {ours} iifname != @blocked {TO_ALIAS} dnat ip to iifname map @named
    iifname {ours} iifname != @blocked meta l4proto {{ tcp, udp }} th dport 53 dnat ip to ip daddr map @resolvers
  }}"""


def _to_the_host(ours: str) -> str:
    """Nothing but answers, and questions for its name servers."""
    return f"""
  chain input {{
    type filter hook input priority filter - 5; policy accept;
    iifname != {ours} accept
    ct state established ct direction reply accept
    ct state new jump admit
    iifname != @blocked {FROM_ALIAS} accept
    iifname != @blocked iifname @restricted {FROM_NAMED} accept
    goto refuse
  }}
  chain answer_locally {{
    type nat hook input priority 100; policy accept;
    iifname {ours} ip daddr 127.0.0.0/8 snat ip to 127.0.0.1 comment "many name servers on loopback answer only to it"
  }}"""


def _through_the_host(ours: str) -> str:
    """To the world as far as the policies allow, back only what belongs to it."""
    return f"""
  chain forward {{
    type filter hook forward priority filter - 5; policy accept;
    iifname {ours} goto outgoing
    oifname {ours} goto incoming
  }}
  chain incoming {{
    ct state established accept
    ct state related meta l4proto icmp accept
    iifname "{MOONPOOL_LINKS}*" goto refuse
    drop
  }}
  chain outgoing {{
    oifname {ours} goto refuse
    ct state invalid drop
    iifname @blocked goto refuse
    ct state new jump admit
    {FROM_ALIAS} accept
    ip daddr @closed goto refuse
    ip daddr != @opened ip daddr @denied goto refuse
    iifname @restricted iifname . ip daddr != @allowed iifname . ip daddr != @resolved goto refuse
    tcp flags syn tcp option maxseg size set rt mtu
    accept
  }}
  chain admit {{
    add @rates {{ iifname limit rate over {CONNECTION_RATE}/second burst {CONNECTION_BURST} packets }} goto refuse
    add @connections {{ iifname ct count over {CONNECTIONS} }} goto refuse
  }}
  chain refuse {{
    meta l4proto tcp reject with tcp reset
    reject with icmpx port-unreachable
  }}"""


def _departure(ours: str, block: IPv4Network) -> str:
    """Into the world under the host's address, and to a sandbox under the one that all of them have inside."""
    first, last = int(block.network_address), int(block.broadcast_address)
    quoted = f"{first:#x}-{last:#x}"  # a quoted packet's source address
    return f"""
  chain translate {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {block} oifname != {ours} masquerade
  }}
  chain {QUOTED_CHAIN} {{
  }}
  chain rewrite_destination {{
    type filter hook postrouting priority 301; policy accept;
    oifname != {ours} accept
    icmp type {{ destination-unreachable, time-exceeded, parameter-problem }} @th,160,32 {quoted} jump {QUOTED_CHAIN}
    ip daddr {block} ip daddr set {GUEST_ADDRESS}
  }}"""


def _sets(rules: Rules) -> str:
    addresses = [f'"{link}" : {address}' for link, address in rules.addresses.items()]
    blocked = [f'"{link}"' for link, policy in rules.policies.items() if policy.blocked]
    restricted = [f'"{link}"' for link, policy in rules.policies.items() if policy.restricted]
    allowed = [
        _allowed_element(link, network) for link, policy in rules.policies.items() for network in policy.networks
    ]
    named = [_named_element(link, one) for link, one in rules.named.items()]
    resolved = [f'"{link}" . {address}' for link, one in rules.named.items() for address in one.addresses]
    marker = f"set {FORWARDING_MARKER} {{ type ipv4_addr; }}" if rules.forwarding_was_off else ""
    interval = "type ipv4_addr; flags interval; auto-merge;"
    return f"""
  map addresses {{ type ifname : ipv4_addr; {elements(addresses)} }}
  map resolvers {{ type ipv4_addr : ipv4_addr; {elements(resolver_elements(rules.resolvers))} }}
  set blocked {{ type ifname; {elements(blocked)} }}
  set restricted {{ type ifname; {elements(restricted)} }}
  set allowed {{ type ifname . ipv4_addr; flags interval; {elements(allowed)} }}
  map named {{ type ifname : ipv4_addr . inet_service; {elements(named)} }}
  set resolved {{ type ifname . ipv4_addr; {elements(resolved)} }}
  set denied {{ {interval} {elements(DENIED)} }}
  set opened {{ {interval} {elements(map(str, rules.opened))} }}
  set closed {{ {interval} {elements(map(str, rules.closed))} }}
  set rates {{ type ifname; size 65535; flags dynamic; timeout 1m; }}
  set connections {{ type ifname; size 65535; flags dynamic; }}
  {marker}"""


def resolver_elements(resolvers: Sequence[str]) -> list[str]:
    """Every alias leads somewhere as soon as there is one name server, so that their number may change later."""
    if not resolvers:
        return []
    return [f"{alias} : {resolvers[index % len(resolvers)]}" for index, alias in enumerate(RESOLVER_ALIASES)]


def _arp_table(rules: Rules) -> str:
    """Only the guest asking for the gateway: else it could fill the host's neighbour table or probe its addresses."""
    ours = f'"{link_prefix(rules.tag)}*"'
    return f"""
table arp {rules.table} {{
  chain input {{
    type filter hook input priority filter; policy accept;
    iifname != {ours} accept
    arp saddr ip {GUEST_ADDRESS} arp saddr ether {GUEST_MAC} arp daddr ip {GATEWAY} accept
    drop
  }}
}}"""
