"""Names are answered where the host has a name server, and refused at once where it has none."""

import select

import pytest

from moonpool.engine.network import NetworkPolicy

REFUSED = (ConnectionRefusedError, ConnectionResetError)


def ask(machine, slot, target, port=53):
    """A connected socket with one question sent, from inside."""
    client = machine.datagrams("", 0, slot.namespace)
    client.connect((target, port))
    client.send(b"question")
    return client


def answer(server):
    text, peer = server.recvfrom(512)
    server.sendto(b"answer to " + text, peer)
    return peer


def nothing_arrived(server):
    return not select.select([server], [], [], 0)[0]


def test_the_gateway_passes_questions_to_the_hosts_name_server(machine):
    network = machine.network()
    slot = network.create(0)
    assert network.resolv_conf == f"nameserver {machine.GATEWAY}\n"
    server = machine.datagrams(machine.RESOLVER, 53, machine.internet)
    client = ask(machine, slot, machine.GATEWAY)
    assert answer(server)[0] == machine.HOST
    assert client.recv(512) == b"answer to question"


def test_questions_over_tcp(machine):
    slot = machine.network().create(0)
    server = machine.listen(machine.RESOLVER, 53, machine.internet)
    client = machine.connect(slot, machine.GATEWAY, 53)
    accepted, _ = server.accept()
    with accepted:
        accepted.sendall(b"answer")
        assert client.recv(512) == b"answer"


def test_the_private_name_server_is_reached_for_names_alone(machine):
    slot = machine.network().create(0)
    server = machine.datagrams(machine.RESOLVER, 53, machine.internet)
    other_port = machine.datagrams(machine.RESOLVER, 54, machine.internet)
    for target, port in ((machine.RESOLVER, 53), (machine.RESOLVER, 54), (machine.GATEWAY, 54)):
        with pytest.raises(REFUSED):
            ask(machine, slot, target, port).recv(512)
    assert nothing_arrived(server)
    assert nothing_arrived(other_port)


def test_several_name_servers_are_each_asked(machine):
    servers = (machine.RESOLVER, "10.1.2.3")
    machine.resolv_conf.write_text("".join(f"nameserver {server}\n" for server in servers))
    network = machine.network()
    slot = network.create(0)
    aliases = [line.split()[1] for line in network.resolv_conf.splitlines()]
    assert len(aliases) == 2
    for alias, address in zip(aliases, servers, strict=True):
        server = machine.datagrams(address, 53, machine.internet)
        client = ask(machine, slot, alias)
        answer(server)
        assert client.recv(512) == b"answer to question"


def test_a_name_server_on_the_hosts_loopback(machine):
    machine.resolv_conf.write_text("nameserver 127.0.0.1\n")
    slot = machine.network().create(0)
    server = machine.datagrams("127.0.0.1", 53)
    other_port = machine.datagrams("127.0.0.1", 54)
    client = ask(machine, slot, machine.GATEWAY)
    assert answer(server)[0] == "127.0.0.1"
    assert client.recv(512) == b"answer to question"
    with pytest.raises(REFUSED):
        ask(machine, slot, machine.GATEWAY, 54).recv(512)
    assert nothing_arrived(other_port)


def test_a_name_server_on_another_address_of_the_host(machine):
    machine.resolv_conf.write_text(f"nameserver {machine.HOST}\n")
    slot = machine.network().create(0)
    server = machine.datagrams(machine.HOST, 53)
    client = ask(machine, slot, machine.GATEWAY)
    answer(server)
    assert client.recv(512) == b"answer to question"


@pytest.mark.parametrize("text", ["", "nameserver ::1\n", "search example.org\n"])
def test_without_a_name_server_the_answer_is_no_at_once(machine, text):
    machine.resolv_conf.write_text(text)
    network = machine.network()
    slot = network.create(0)
    assert network.resolv_conf == f"nameserver {machine.GATEWAY}\n"
    with pytest.raises(REFUSED):
        ask(machine, slot, machine.GATEWAY).recv(512)
    with pytest.raises(REFUSED):
        machine.connect(slot, machine.GATEWAY, 53)


@pytest.mark.parametrize("policy", [NetworkPolicy(block_all=True), NetworkPolicy(allow=())])
def test_a_blocked_sandbox_gets_no_names(machine, policy):
    network = machine.network()
    slot = network.create(0)
    server = machine.datagrams(machine.RESOLVER, 53, machine.internet)
    client = ask(machine, slot, machine.GATEWAY)
    answer(server)
    assert client.recv(512) == b"answer to question"
    network.set_policy(0, policy)
    with pytest.raises(REFUSED):
        ask(machine, slot, machine.GATEWAY).recv(512)
    client.send(b"on the old socket")
    with pytest.raises(REFUSED):
        client.recv(512)
    assert nothing_arrived(server)


def test_a_blocked_sandbox_gets_no_names_from_the_host_itself(machine):
    machine.resolv_conf.write_text("nameserver 127.0.0.1\n")
    network = machine.network()
    slot = network.create(0)
    server = machine.datagrams("127.0.0.1", 53)
    network.set_policy(0, NetworkPolicy(block_all=True))
    with pytest.raises(REFUSED):
        ask(machine, slot, machine.GATEWAY).recv(512)
    assert nothing_arrived(server)


def test_names_work_beside_an_allow_list(machine):
    network = machine.network()
    slot = network.create(0)
    network.set_policy(0, NetworkPolicy(allow=("203.0.113.0/24",)))
    server = machine.datagrams(machine.RESOLVER, 53, machine.internet)
    client = ask(machine, slot, machine.GATEWAY)
    answer(server)
    assert client.recv(512) == b"answer to question"


def test_refresh_follows_the_hosts_name_servers(machine):
    network = machine.network()
    slot = network.create(0)
    machine.resolv_conf.write_text("nameserver 10.1.2.3\n")
    network.refresh()
    server = machine.datagrams("10.1.2.3", 53, machine.internet)
    client = ask(machine, slot, machine.GATEWAY)
    answer(server)
    assert client.recv(512) == b"answer to question"
    machine.resolv_conf.write_text("")
    network.refresh()
    with pytest.raises(REFUSED):
        ask(machine, slot, machine.GATEWAY).recv(512)
