"""The network of one server's sandboxes."""

import threading
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from pyroute2.netlink.exceptions import NetlinkError

from moonpool.engine.instance import Instance
from moonpool.engine.network import conntrack, host, icmp, links, namespaces, pair, passage, ruleset
from moonpool.engine.network.addresses import RESOLVER_ALIASES, SLOTS, slot_address
from moonpool.engine.network.domains import Domains, Reached
from moonpool.engine.network.model import NetworkFailed, NetworkPolicy, Slot, kernel_errors, parse_networks
from moonpool.engine.network.nftables import Nftables
from moonpool.engine.network.resolvers import RESOLV_CONF, upstream_resolvers
from moonpool.engine.network.survey import BLOCKED, kept_numbers, link_name, survey
from moonpool.errors import MoonpoolError


class Network:
    """Slots for sandboxes, and what passes between them and the world.

    Synchronous and thread-safe. Everything it makes carries the instance's tag and lives in the kernel, in the network
    namespace of the thread that calls; a new `Network` of the same instance goes on with what it finds there.
    """

    def __init__(
        self, instance: Instance, opened: Sequence[IPv4Network], closed: Sequence[IPv4Network], resolv_conf: Path
    ) -> None:
        """Use `Network.open`, which also takes over what is there."""
        self._tag = instance.tag
        self._folder = folder(instance)
        self._opened, self._closed = opened, closed
        self._resolv_conf = resolv_conf
        self._nftables = Nftables()
        self._lock = threading.Lock()  # over the seven below, and over the order of transactions
        self._policies: dict[int, NetworkPolicy] = {}
        self._addressed: set[int] = set()
        self._uncounted: set[int] = set()  # slots whose connections were made under rules since replaced
        self._resolvers = upstream_resolvers(resolv_conf)
        self._domains = Domains(instance.run / "domains", lambda: self._resolvers, self._learn)
        self._reached: dict[int, Reached] = {}
        self._claim = host.claim(self._tag, self._nftables)
        self._mtu = links.uplink_mtu()

    @classmethod
    def open(
        cls,
        instance: Instance,
        *,
        operator_allow: Sequence[str] = (),
        operator_deny: Sequence[str] = (),
        resolv_conf: Path = RESOLV_CONF,
    ) -> "Network":
        """Take a block of addresses, install the rules and adopt the slots that an earlier run left; needs root.

        `operator_allow`: IPv4 CIDRs out of the ranges denied by default that sandboxes may reach all the same.
        `operator_deny`: CIDRs that no sandbox ever reaches; it wins. The host itself can never be opened.
        `resolv_conf`: the file that names the host's name servers.
        """
        opened = parse_networks(operator_allow, field="network.operator_allow")
        closed = parse_networks(operator_deny, field="network.operator_deny")
        with kernel_errors("The network cannot be set up"):
            network = cls(instance, opened, closed, resolv_conf)
            try:
                network._adopt()
            except (NetlinkError, OSError, MoonpoolError):
                if not network.numbers():  # nothing that runs depends on it
                    network.close()
                raise
        return network

    @staticmethod
    @kernel_errors("The network cannot be inspected")
    def inspect(instance: Instance) -> list[str]:
        """What exists on this machine for an instance, in words, without changing anything; empty after `close`."""
        nftables = Nftables()
        table, prefix = ruleset.table_name(instance.tag), ruleset.link_prefix(instance.tag)
        kept = sorted(folder(instance).iterdir()) if folder(instance).is_dir() else []
        return [
            *(f"nftables table {family} {name}" for family, name in sorted(nftables.tables()) if name == table),
            *(f"iptables rule {rule}" for rule in passage.passages(instance.tag, nftables)),
            *(f"network link {name}" for name in links.names(prefix)),
            *(f"network namespace {path}" for path in kept),
            *(f"reserved addresses {reservation.block}" for reservation in host.held(instance.tag)),
        ]

    @staticmethod
    def obstacles(instance: Instance) -> list[str]:
        """Packet filters of others on this machine that may keep sandboxes from the internet, each with its cure."""
        return passage.obstacles(instance.tag, Nftables())

    @property
    def resolv_conf(self) -> str:
        """The text of /etc/resolv.conf inside. Where the host has no name server the gateway refuses, at once."""
        count = max(1, len(self._resolvers))
        return "".join(f"nameserver {address}\n" for address in RESOLVER_ALIASES[:count])

    def create(self, number: int) -> Slot:
        """Make a slot (0 to 8189) that may reach the public internet; raises NetworkFailed, and then leaves nothing."""
        slot = self._describe(number)
        with self._lock:
            if number in self._policies:
                raise NetworkFailed(f"Slot {number} exists already")
            self._policies[number] = NetworkPolicy()
        try:
            self._give_address(slot)
            group = host.link_group(self._tag)
            namespaces.in_own_thread(lambda: pair.join(slot, mtu=self._mtu, group=group))
        except (NetlinkError, OSError, MoonpoolError) as error:
            self.destroy(number)
            raise NetworkFailed(f"Slot {number} cannot be made: {error}") from error
        return slot

    @kernel_errors("A slot cannot be removed")
    def destroy(self, number: int) -> None:
        """Remove a slot, whatever is there of it, and forget its connections."""
        slot = self._describe(number)
        links.remove(slot.link)
        namespaces.forget(slot.namespace)
        self._cut(slot, lambda destination: True)
        with self._lock:
            self._change_policy(slot, NetworkPolicy())
            self._policies.pop(number, None)
            self._uncounted.discard(number)

    def numbers(self) -> list[int]:
        """The slots that exist in the kernel."""
        prefix = ruleset.link_prefix(self._tag)
        return sorted(int(name.removeprefix(prefix), 16) for name in links.names(prefix))

    def slot(self, number: int) -> Slot:
        """An existing slot; raises NetworkFailed where there is none."""
        with self._lock:
            if number not in self._policies:
                raise NetworkFailed(f"There is no slot {number}")
        return self._describe(number)

    @kernel_errors("A network policy cannot be set")
    def set_policy(self, number: int, policy: NetworkPolicy) -> None:
        """Change what a slot may reach, now: connections that it no longer permits end.

        Raises InvalidInput for an allow-list with anything but IPv4 CIDRs in it.
        """
        permitted = policy.networks
        slot = self.slot(number)
        with self._lock:
            self._change_policy(slot, policy)
            reached = set(self._reached[number].addresses) if number in self._reached else set()

        def unwanted(destination: IPv4Address) -> bool:
            if not policy.restricted or policy.blocked:
                return policy.blocked
            return str(destination) not in reached and not any(destination in network for network in permitted)

        if policy.restricted or policy.blocked:
            self._cut(slot, unwanted)

    @kernel_errors("The network cannot be refreshed")
    def refresh(self) -> None:
        """Follow the host, whose name servers may change and whose rules somebody may have flushed. Cheap: 1 ms."""
        resolvers = upstream_resolvers(self._resolv_conf)
        with self._lock:
            changed = resolvers != self._resolvers
            self._resolvers = resolvers
            if not self._installed():
                self._install()
            elif changed:
                self._apply(ruleset.change_resolvers(self._tag, resolvers))
        passage.open_passage(self._tag, self._nftables)

    @kernel_errors("The network cannot be closed")
    def close(self) -> None:
        """Remove every slot, the rules, and the settings that were changed; idempotent."""
        links.remove_group(host.link_group(self._tag))
        for name in links.names(ruleset.link_prefix(self._tag)):
            links.remove(name)
        for number in sorted({*self._policies, *kept_numbers(self._folder)}):
            slot = self._describe(number)
            namespaces.forget(slot.namespace)
            self._cut(slot, lambda destination: True)
        self._policies.clear()
        self._reached.clear()
        self._domains.stop()
        passage.close_passage(self._tag, self._nftables)
        host.release(self._tag, self._nftables)
        namespaces.remove_folder(self._folder)

    # -- the instance's own state ----------------------------------------------------------------------------------

    def _adopt(self) -> None:
        namespaces.prepare_folder(self._folder)
        found = survey(self._tag, self._folder, self._nftables)
        self._policies = dict(found.complete)
        self._addressed = set(found.complete)
        for number, addresses in found.reached.items():
            self._adopt_names(number, addresses)
        self._install()
        passage.open_passage(self._tag, self._nftables)
        for number in found.broken:
            self.destroy(number)

    def _adopt_names(self, number: int, addresses: Sequence[str]) -> None:
        """Answer a slot's names again. Whose domains nobody knows any more is closed until somebody says them."""
        if domains := self._domains.kept(number):
            policy = self._policies[number]
            self._policies[number] = NetworkPolicy(policy.block_all, policy.allow or None, domains)
            self._reached[number] = self._domains.open(number, domains, addresses)
        else:
            self._policies[number] = BLOCKED

    def _describe(self, number: int) -> Slot:
        if not 0 <= number < SLOTS:
            raise NetworkFailed(f"Slot {number} is outside 0..{SLOTS - 1}")
        address = slot_address(self._claim.block, number)
        return Slot(number, address, link_name(self._tag, number), self._folder / str(number))

    def _give_address(self, slot: Slot) -> None:
        """Let the rules know a slot's address, for good: it is the same whenever the slot is made again."""
        with self._lock:
            if slot.number not in self._addressed:
                self._addressed.add(slot.number)
                self._apply(ruleset.add_slot(self._tag, slot.link, slot.address))

    def _cut(self, slot: Slot, unwanted: Callable[[IPv4Address], bool]) -> None:
        """End connections. Asking the kernel walks its whole table (10 ms), so only for a slot that has had any."""
        never = self._nftables.lacks(ruleset.table_name(self._tag), "connections", f'"{slot.link}"')
        if slot.number in self._uncounted or not never:
            conntrack.cut(slot.address, unwanted)

    def _change_policy(self, slot: Slot, policy: NetworkPolicy) -> None:
        number = slot.number
        before, old = self._policies.get(number, NetworkPolicy()), self._reached.get(number)
        new = old if policy.domains == before.domains else None
        if policy.blocked or not policy.domains:
            new = None
        elif new is None:
            new = self._domains.open(number, policy.domains)
        commands = [ruleset.change_policy(self._tag, slot.link, before, policy)]
        if new is not old:
            names = (None if reached is None else reached.named for reached in (old, new))
            commands.append(ruleset.change_names(self._tag, slot.link, *names))
        self._policies[number] = policy
        self._set_reached(number, new)
        try:
            if any(commands):
                self._apply("\n".join(commands))
        except MoonpoolError:
            self._policies[number] = before
            self._set_reached(number, old)
            self._domains.replace(number, new, old)
            raise
        self._domains.replace(number, old, new)

    def _set_reached(self, number: int, reached: Reached | None) -> None:
        if reached is None:
            self._reached.pop(number, None)
        else:
            self._reached[number] = reached

    def _learn(self, number: int, domains: tuple[str, ...], addresses: Sequence[str]) -> None:
        """Open the addresses that a slot's names lead to; nothing happens where it may no longer reach those names."""
        with self._lock:
            reached = self._reached.get(number)
            if reached is None or reached.listener.domains != domains:
                return
            new, surplus = reached.add(addresses)
            link = self._describe(number).link
            changes = (("delete", surplus), ("add", new))
            commands = [
                text for verb, some in changes for text in ruleset.change_addresses(self._tag, link, verb, some)
            ]
            if commands:
                self._apply("\n".join(commands))

    def _apply(self, commands: str) -> None:
        """One transaction. Where somebody flushed the rules they are put back, changed state included."""
        try:
            self._nftables.run(commands)
        except NetworkFailed:
            if self._installed():
                raise
            self._install()

    def _installed(self) -> bool:
        table = ruleset.table_name(self._tag)
        return {("inet", table), ("arp", table)} <= self._nftables.tables()

    def _install(self) -> None:
        slots = [self._describe(number) for number in sorted(self._addressed)]
        policies = {self._describe(number).link: policy for number, policy in self._policies.items()}
        rules = ruleset.Rules(
            self._tag,
            self._claim.block,
            self._resolvers,
            self._opened,
            self._closed,
            {slot.link: slot.address for slot in slots},
            policies,
            self._claim.forwarding_was_off,
            {self._describe(number).link: reached.named for number, reached in self._reached.items()},
        )
        self._nftables.run(ruleset.install(rules))
        self._uncounted |= set(self._policies)
        icmp.add_rule(rules.table, ruleset.QUOTED_CHAIN)


def folder(instance: Instance) -> Path:
    """Where an instance keeps its namespaces, a file each, named by the slot's number."""
    return instance.run / "netns"
