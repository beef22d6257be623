"""What a sandbox reaches, what reaches a sandbox, and what happens to it when the policy changes."""

import select
import socket

import pytest

from moonpool.engine.network import NetworkPolicy
from moonpool.errors import InvalidInput

CLOSED = (ConnectionRefusedError, ConnectionResetError)


def exchange(machine, slot, server, address, port):
    """Open a connection from a sandbox and return both ends and the address that the server sees."""
    client = machine.connect(slot, address, port)
    accepted, peer = server.accept()
    machine.resources.enter_context(accepted)
    accepted.settimeout(10)
    client.sendall(b"question")
    assert accepted.recv(100) == b"question"
    accepted.sendall(b"answer")
    assert client.recv(100) == b"answer"
    return client, accepted, peer[0]


def nothing_arrived(server):
    return not select.select([server], [], [], 0)[0]


def test_the_host_reaches_every_slot_at_its_own_address(machine):
    network = machine.network()
    for slot in (network.create(0), network.create(1)):
        server = machine.listen("169.254.0.21", 8000, slot.namespace)
        with socket.create_connection((slot.address, 8000), 10) as client:
            accepted, peer = server.accept()
            with accepted:
                accepted.sendall(slot.address.encode())
                assert client.recv(100) == slot.address.encode()
                assert peer[0] == machine.GATEWAY


def test_the_internet_is_reached_under_the_hosts_address(machine):
    slot = machine.network().create(0)
    server = machine.listen(machine.PUBLIC, 443, machine.internet)
    assert exchange(machine, slot, server, machine.PUBLIC, 443)[2] == machine.HOST


def test_slots_with_the_same_port_do_not_mix(machine):
    network = machine.network()
    server = machine.listen(machine.PUBLIC, 443, machine.internet)
    first, second = (machine.connect(network.create(number), machine.PUBLIC, 443, 5555) for number in (0, 1))
    for client, text in ((first, b"one"), (second, b"two")):
        client.sendall(text)
    answered = set()
    for _ in range(2):
        accepted, _ = server.accept()
        with accepted:
            accepted.settimeout(10)
            text = accepted.recv(100)
            accepted.sendall(text)
            answered.add(text)
    assert answered == {b"one", b"two"}
    assert (first.recv(100), second.recv(100)) == (b"one", b"two")


def test_datagrams_and_echo_go_out(machine):
    slot = machine.network().create(0)
    server = machine.datagrams(machine.PUBLIC, 5000, machine.internet)
    client = machine.datagrams("", 0, slot.namespace)
    client.sendto(b"question", (machine.PUBLIC, 5000))
    text, peer = server.recvfrom(100)
    server.sendto(text + b" answered", peer)
    assert client.recv(100) == b"question answered"


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_private_ranges_and_metadata_are_refused(machine, kind):
    network = machine.network()
    for number, address in enumerate((*machine.PRIVATE, machine.RESOLVER)):
        slot = network.create(number)
        if kind == "tcp":
            server = machine.listen(address, 80, machine.internet)
            with pytest.raises(CLOSED):
                machine.connect(slot, address, 80)
        else:
            server = machine.datagrams(address, 80, machine.internet)
            client = machine.datagrams("", 0, slot.namespace)
            client.connect((address, 80))
            client.send(b"question")
            with pytest.raises(ConnectionRefusedError):
                client.recv(100)
        assert nothing_arrived(server)


def test_the_hosts_ports_are_refused(machine):
    slot = machine.network().create(0)
    server = machine.listen("0.0.0.0", 8080)
    for address in (machine.HOST, machine.GATEWAY, slot.address):
        with pytest.raises(CLOSED):
            machine.connect(slot, address, 8080)
    assert nothing_arrived(server)


def test_the_hosts_loopback_is_dropped_although_local_routing_is_on(machine):
    slot = machine.network().create(0)
    server = machine.datagrams("127.0.0.1", 8080)
    witness = machine.datagrams(machine.PUBLIC, 8080, machine.internet)
    link = machine.raw(slot)
    for target in ("127.0.0.1", machine.PUBLIC):
        link.send(machine.frame(slot, machine.packet(machine.datagram(b"hi", port=8080), target=target)))
    assert witness.recv(100) == b"hi"
    assert nothing_arrived(server)


def test_sandboxes_do_not_reach_each_other_nor_another_servers(machine):
    network = machine.network()
    slot, neighbour = network.create(0), network.create(1)
    stranger = machine.network("other").create(0)
    for other in (neighbour, stranger):
        server = machine.listen("0.0.0.0", 8000, other.namespace)
        with pytest.raises(CLOSED):
            machine.connect(slot, other.address, 8000)
        assert nothing_arrived(server)


def test_nothing_outside_opens_a_connection_into_a_sandbox(machine):
    slot = machine.network().create(0)
    server = machine.datagrams("169.254.0.21", 8000, slot.namespace)

    def route():
        from pyroute2 import IPRoute

        with IPRoute() as internet:
            internet.route("add", dst=f"{slot.address}/32", gateway=machine.HOST)

    machine.within(machine.internet, route)
    outside = machine.datagrams("", 0, machine.internet)
    outside.sendto(b"intruder", (slot.address, 8000))
    # What the host sends afterwards takes the same way in, and finds the queue empty.
    machine.datagrams("", 0).sendto(b"host", (slot.address, 8000))
    assert server.recv(100) == b"host"


def test_block_all_cuts_what_is_open_and_refuses_the_rest(machine):
    network = machine.network()
    slot = network.create(0)
    server = machine.listen(machine.PUBLIC, 443, machine.internet)
    client, accepted, _ = exchange(machine, slot, server, machine.PUBLIC, 443)
    network.set_policy(0, NetworkPolicy(block_all=True))
    with pytest.raises(CLOSED):
        machine.connect(slot, machine.PUBLIC, 443)
    accepted.sendall(b"late answer")
    with pytest.raises(CLOSED):
        accepted.recv(100)
    client.sendall(b"more")
    with pytest.raises(CLOSED):
        client.recv(100)
    network.set_policy(0, NetworkPolicy())
    exchange(machine, slot, server, machine.PUBLIC, 443)


def test_the_host_still_reaches_a_blocked_sandbox(machine):
    network = machine.network()
    slot = network.create(0)
    network.set_policy(0, NetworkPolicy(block_all=True))
    server = machine.listen("169.254.0.21", 8000, slot.namespace)
    with socket.create_connection((slot.address, 8000), 10) as client:
        accepted, _ = server.accept()
        with accepted:
            accepted.sendall(b"hi")
            assert client.recv(100) == b"hi"


def test_an_allow_list_admits_only_what_is_on_it(machine):
    network = machine.network()
    slot, free = network.create(0), network.create(1)
    public = machine.listen(machine.PUBLIC, 443, machine.internet)
    other = machine.listen(machine.OTHER_PUBLIC, 443, machine.internet)
    network.set_policy(0, NetworkPolicy(allow=("203.0.113.0/24", "203.0.113.0/25", "192.0.2.1")))
    exchange(machine, slot, public, machine.PUBLIC, 443)
    with pytest.raises(CLOSED):
        machine.connect(slot, machine.OTHER_PUBLIC, 443)
    exchange(machine, free, other, machine.OTHER_PUBLIC, 443)


def test_a_changed_allow_list_cuts_only_what_it_no_longer_permits(machine):
    network = machine.network()
    slot = network.create(0)
    public = machine.listen(machine.PUBLIC, 443, machine.internet)
    other = machine.listen(machine.OTHER_PUBLIC, 443, machine.internet)
    kept, kept_end, _ = exchange(machine, slot, public, machine.PUBLIC, 443)
    _, cut_end, _ = exchange(machine, slot, other, machine.OTHER_PUBLIC, 443)
    network.set_policy(0, NetworkPolicy(allow=(machine.PUBLIC,)))
    cut_end.sendall(b"late")
    with pytest.raises(CLOSED):
        cut_end.recv(100)
    kept_end.sendall(b"on it goes")
    assert kept.recv(100) == b"on it goes"


def test_an_allow_list_opens_nothing_that_is_denied(machine):
    network = machine.network()
    slot = network.create(0)
    server = machine.listen("10.1.2.3", 80, machine.internet)
    network.set_policy(0, NetworkPolicy(allow=("0.0.0.0/0",)))
    with pytest.raises(CLOSED):
        machine.connect(slot, "10.1.2.3", 80)
    assert nothing_arrived(server)


def test_an_empty_allow_list_is_nothing_at_all(machine):
    network = machine.network()
    slot = network.create(0)
    network.set_policy(0, NetworkPolicy(allow=()))
    server = machine.listen(machine.PUBLIC, 443, machine.internet)
    with pytest.raises(CLOSED):
        machine.connect(slot, machine.PUBLIC, 443)
    assert nothing_arrived(server)


def test_the_operator_opens_a_private_range_and_closes_a_public_one(machine):
    slot = machine.network(
        operator_allow=["10.1.0.0/16", "192.168.0.0/16"], operator_deny=["203.0.114.0/24", "192.168.7.0/24"]
    ).create(0)
    opened = machine.listen("10.1.2.3", 80, machine.internet)
    exchange(machine, slot, opened, "10.1.2.3", 80)
    for address in (machine.OTHER_PUBLIC, "192.168.7.7"):
        machine.listen(address, 80, machine.internet)
        with pytest.raises(CLOSED):
            machine.connect(slot, address, 80)


@pytest.mark.parametrize("text", ["fd00::/8", "example.org", "10.0.0.0/33", "", "1.2.3.4/-1"])
def test_a_wrong_allow_list_changes_nothing(machine, text):
    network = machine.network()
    slot = network.create(0)
    with pytest.raises(InvalidInput, match="Not an IPv4 network"):
        network.set_policy(0, NetworkPolicy(allow=("203.0.113.0/24", text)))
    server = machine.listen(machine.OTHER_PUBLIC, 443, machine.internet)
    exchange(machine, slot, server, machine.OTHER_PUBLIC, 443)


def test_one_sandbox_cannot_fill_the_hosts_connection_table(machine):
    network = machine.network()
    slot, neighbour = network.create(0), network.create(1)
    flood = machine.datagrams("", 0, slot.namespace)
    refused = 0
    for port in range(1, 12001):
        try:
            flood.sendto(b"", (machine.PUBLIC, port))
        except ConnectionRefusedError:
            refused += 1
    with open("/proc/thread-self/net/nf_conntrack") as table:
        entries = sum(slot.address in line for line in table)
    assert entries <= 8192
    server = machine.listen(machine.PUBLIC, 443, machine.internet)
    exchange(machine, neighbour, server, machine.PUBLIC, 443)
