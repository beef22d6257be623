"""Slots are made, found again after a crash, and removed without a trace."""

import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from moonpool.engine.network import Network, NetworkFailed, NetworkPolicy, namespaces, ruleset
from moonpool.engine.network.addresses import SLOTS
from moonpool.engine.network.nftables import Nftables

FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


def kernel_state(machine):
    """Everything that a network could leave behind; of the mounts, which are the real host's, only its own."""

    def output(*command):
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    return {
        "rules": output("nft", "list", "ruleset"),
        "links": output("ip", "-o", "link"),
        "routes": output("ip", "-4", "route", "show", "table", "all"),
        "policy rules": output("ip", "rule"),
        "mounts": [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(machine.folder) in line],
        "forwarding": FORWARDING.read_text(),
    }


def reaches(machine, slot):
    server = machine.listen(machine.PUBLIC, 443, machine.internet)
    with server, machine.connect(slot, machine.PUBLIC, 443), server.accept()[0]:
        return True


def test_closing_leaves_nothing(machine):
    before = kernel_state(machine)
    network = machine.network()
    for number in (0, 3, 70):
        network.create(number)
    network.set_policy(3, NetworkPolicy(allow=("203.0.113.0/24",)))
    assert network.numbers() == [0, 3, 70]
    assert len(Network.inspect(machine.instance())) == 2 + 3 + 3 + 1
    network.close()
    assert kernel_state(machine) == before
    assert Network.inspect(machine.instance()) == []
    assert network.numbers() == []
    network.close()


def test_destroying_is_idempotent_and_frees_the_number(machine):
    network = machine.network()
    slot = network.create(5)
    network.set_policy(5, NetworkPolicy(block_all=True))
    network.destroy(5)
    network.destroy(5)
    network.destroy(6)
    assert network.numbers() == []
    assert not slot.namespace.exists()
    with pytest.raises(NetworkFailed):
        network.slot(5)
    assert network.create(5) == slot
    assert reaches(machine, network.slot(5))


def test_a_slot_is_made_once(machine):
    network = machine.network()
    network.create(1)
    with pytest.raises(NetworkFailed, match="exists already"):
        network.create(1)
    assert reaches(machine, network.slot(1))


@pytest.mark.parametrize("number", [-1, SLOTS, 10**9])
def test_a_number_out_of_range_is_refused(machine, number):
    network = machine.network()
    for operation in (network.create, network.destroy, network.slot):
        with pytest.raises(NetworkFailed):
            operation(number)


def test_a_failed_creation_leaves_nothing(machine):
    network = machine.network()
    slot = network.create(0)
    network.destroy(0)
    slot.namespace.touch()  # somebody else's file is in the way
    before = kernel_state(machine)
    with pytest.raises(NetworkFailed):
        network.create(0)
    assert kernel_state(machine) == before
    assert network.create(0) == slot


def test_a_new_sandbox_does_not_inherit_the_connections_of_the_last(machine):
    network = machine.network()
    slot = network.create(0)
    server = machine.datagrams(machine.PUBLIC, 5000, machine.internet)
    machine.datagrams("", 7777, slot.namespace).sendto(b"hi", (machine.PUBLIC, 5000))
    _, peer = server.recvfrom(100)
    network.destroy(0)
    slot = network.create(0)
    heir = machine.datagrams("", 7777, slot.namespace)
    server.sendto(b"for the last one", peer)
    machine.datagrams("", 0).sendto(b"from the host", (slot.address, 7777))
    assert heir.recv(100) == b"from the host"


def test_slots_are_made_and_removed_by_several_threads(machine):
    network = machine.network()
    with ThreadPoolExecutor(8) as pool:
        slots = list(pool.map(network.create, range(24)))
        assert len({slot.address for slot in slots}) == 24
        assert network.numbers() == list(range(24))
        list(pool.map(lambda number: network.set_policy(number, NetworkPolicy(allow=("1.2.3.4",))), range(24)))
        list(pool.map(network.destroy, range(0, 24, 2)))
    assert network.numbers() == list(range(1, 24, 2))


# -- a server killed and started again ---------------------------------------------------------------------------------


def test_a_restarted_server_goes_on_with_its_slots(machine):
    first = machine.network()
    slots = [first.create(number) for number in range(3)]
    first.set_policy(1, NetworkPolicy(block_all=True))
    first.set_policy(2, NetworkPolicy(allow=("203.0.113.0/24", "192.0.2.7")))
    server = machine.listen(machine.PUBLIC, 443, machine.internet)
    client = machine.connect(slots[0], machine.PUBLIC, 443)
    accepted = machine.resources.enter_context(server.accept()[0])

    second = machine.network()

    assert [second.slot(number) for number in second.numbers()] == slots
    accepted.sendall(b"still here")
    assert client.recv(100) == b"still here"
    with pytest.raises(ConnectionError):
        machine.connect(slots[1], machine.PUBLIC, 443)
    assert machine.connect(slots[2], machine.PUBLIC, 443)
    with pytest.raises(ConnectionError):
        machine.connect(slots[2], machine.OTHER_PUBLIC, 443)
    second.set_policy(2, NetworkPolicy())
    second.set_policy(1, NetworkPolicy())
    assert machine.connect(slots[1], machine.PUBLIC, 443)
    second.destroy(2)
    assert second.numbers() == [0, 1]


@pytest.mark.parametrize(
    "policy",
    [
        NetworkPolicy(allow=()),
        NetworkPolicy(allow=("10.0.0.0/8",)),
        NetworkPolicy(block_all=True, allow=("0.0.0.0/0",)),
        NetworkPolicy(allow=("0.0.0.0/8", "1.2.3.4", "128.0.0.0/1", "255.255.255.255")),
    ],
)
def test_a_restarted_server_can_lift_any_policy(machine, policy):
    slot = machine.network().create(0)
    machine.network().set_policy(0, policy)
    again = machine.network()
    with pytest.raises(ConnectionError):
        machine.connect(slot, machine.PUBLIC, 443)
    again.set_policy(0, NetworkPolicy())
    assert reaches(machine, slot)


def test_what_a_crash_left_half_made_is_removed(machine):
    network = machine.network()
    whole, no_route, no_link, no_namespace = (network.create(number) for number in range(4))
    with IPRoute() as host:
        host.route("del", dst=f"{no_route.address}/32")
        host.link("del", index=host.link_lookup(ifname=no_link.link)[0])
    namespaces.forget(no_namespace.namespace)
    (no_namespace.namespace.parent / "99").touch()  # killed before the namespace was bound to it

    again = machine.network()

    assert again.numbers() == [0]
    assert os.listdir(whole.namespace.parent) == ["0"]
    assert reaches(machine, whole)
    assert [again.create(number) for number in range(1, 4)] == [no_route, no_link, no_namespace]


def test_a_server_killed_while_it_makes_and_removes_slots(machine):
    before = kernel_state(machine)
    program = f"""
from pathlib import Path
from moonpool.engine.instance import Instance
from moonpool.engine.network import Network, NetworkPolicy
network = Network.open(Instance(Path({str(machine.instance().data)!r})))
network.create(0)
for number in range(1, 1000):
    network.create(number)
    network.set_policy(number, NetworkPolicy(allow=("203.0.113.0/24",)))
    if number % 2:
        network.destroy(number)
    print(number, flush=True)
"""
    for rounds in range(1, 6):
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as server:
            for _ in range(rounds):
                server.stdout.readline()
            server.kill()
        network = machine.network()
        assert reaches(machine, network.slot(0))
        assert set(network.numbers()) == {int(name) for name in os.listdir(network.slot(0).namespace.parent)}
        network.close()
        assert kernel_state(machine) == before


def test_after_a_reboot_nothing_is_assumed(machine):
    folder = machine.instance().run / "netns"
    folder.mkdir(parents=True)
    (folder / "4").touch()
    network = machine.network()
    assert network.numbers() == []
    assert os.listdir(folder) == []
    assert reaches(machine, network.create(4))


def test_flushed_rules_come_back_with_every_policy(machine):
    network = machine.network()
    slots = [network.create(number) for number in range(2)]
    network.set_policy(0, NetworkPolicy(block_all=True))
    Nftables().run("flush ruleset")
    network.refresh()
    with pytest.raises(ConnectionError):
        machine.connect(slots[0], machine.PUBLIC, 443)
    assert reaches(machine, slots[1])
    Nftables().run("flush ruleset")
    network.set_policy(0, NetworkPolicy())
    assert reaches(machine, slots[0])


def test_flushed_rules_found_at_a_restart_leave_slots_blocked_until_told(machine):
    slot = machine.network().create(0)
    Nftables().run("flush ruleset")
    again = machine.network()
    with pytest.raises(ConnectionError):
        machine.connect(slot, machine.PUBLIC, 443)
    again.set_policy(0, NetworkPolicy())
    assert reaches(machine, slot)


def test_without_rules_a_sandbox_gets_no_answer_from_the_host(machine):
    network = machine.network()
    slot = network.create(0)
    server = machine.listen("", 8080)
    Nftables().run("flush ruleset")
    client = machine.within(slot.namespace, lambda: socket.socket())
    with client:
        client.settimeout(0.5)
        with pytest.raises(TimeoutError):
            client.connect((machine.GATEWAY, 8080))
    server.close()


# -- several servers on one machine ------------------------------------------------------------------------------------


def test_servers_share_a_machine(machine):
    first, second = machine.network("one"), machine.network("two")
    slots = first.create(0), second.create(0)
    assert slots[0].address != slots[1].address
    first.close()
    assert reaches(machine, slots[1])
    assert Network.inspect(machine.instance("one")) == []
    assert second.numbers() == [0]


def test_forwarding_is_restored_by_the_last_to_close(machine):
    first, second = machine.network("one"), machine.network("two")
    assert FORWARDING.read_text() == "1\n"
    first.close()
    assert FORWARDING.read_text() == "1\n"
    second.close()
    assert FORWARDING.read_text() == "0\n"


def test_forwarding_that_was_on_stays_on(machine):
    FORWARDING.write_text("1")
    machine.network().close()
    assert FORWARDING.read_text() == "1\n"


def test_forwarding_stays_on_for_others_who_translate_addresses(machine):
    network = machine.network()
    Nftables().run("table ip somebody {\n chain postrouting {\n type nat hook postrouting priority 100;\n }\n }")
    network.close()
    assert FORWARDING.read_text() == "1\n"


def test_a_block_in_use_is_left_alone(machine):
    network = machine.network()
    address = network.create(0).address
    network.close()
    with IPRoute() as host:
        host.route("add", dst=f"{address}/32", gateway=machine.ROUTER)
    moved = machine.network().create(0).address
    assert moved != address
    assert moved.startswith("198.1")


def test_tables_of_others_are_left_alone(machine):
    Nftables().run("table inet somebody {\n chain forward {\n type filter hook forward priority 0;\n }\n }")
    before = kernel_state(machine)["rules"]
    network = machine.network()
    network.create(0)
    network.close()
    assert kernel_state(machine)["rules"] == before
    assert ruleset.table_name("somebody") not in before
