"""Beside Docker, ufw and firewalld, each with filters of its own."""

import subprocess

import pytest

from moonpool.engine.network import Network
from moonpool.engine.network.nftables import Nftables


def iptables(*arguments):
    return subprocess.run(
        ["iptables", "-w", *arguments], check=True, capture_output=True, text=True
    ).stdout.splitlines()


def docker():
    iptables("-P", "FORWARD", "DROP")
    iptables("-N", "DOCKER-USER")
    iptables("-A", "FORWARD", "-j", "DOCKER-USER")
    iptables("-A", "DOCKER-USER", "-j", "RETURN")


def dropping_policy():
    iptables("-P", "FORWARD", "DROP")


def rejecting_rule():
    iptables("-A", "FORWARD", "-j", "REJECT")


@pytest.mark.parametrize("somebody", [docker, dropping_policy, rejecting_rule])
def test_sandboxes_get_out_beside_a_filter_that_drops(machine, somebody):
    somebody()
    before = iptables("-S")
    network = machine.network()
    slot = network.create(0)
    server = machine.listen(machine.PUBLIC, 443, machine.internet)
    with machine.connect(slot, machine.PUBLIC, 443) as client, server.accept()[0] as accepted:
        accepted.sendall(b"hi")
        assert client.recv(100) == b"hi"
    assert Network.obstacles(machine.instance()) == []
    assert sum(line.startswith("iptables rule") for line in Network.inspect(machine.instance())) == 2
    network.refresh()
    assert len(iptables("-S")) == len(before) + 2
    network.close()
    assert iptables("-S") == before


def test_what_is_denied_stays_denied_beside_them(machine):
    docker()
    slot = machine.network().create(0)
    machine.listen("10.1.2.3", 80, machine.internet)
    with pytest.raises(ConnectionRefusedError):
        machine.connect(slot, "10.1.2.3", 80)


def test_a_filter_that_comes_later_is_passed_at_the_next_refresh(machine):
    network = machine.network()
    slot = network.create(0)
    machine.listen(machine.PUBLIC, 443, machine.internet)
    docker()
    assert "drops it" in Network.obstacles(machine.instance())[0]
    network.refresh()
    assert Network.obstacles(machine.instance()) == []
    assert machine.connect(slot, machine.PUBLIC, 443)


def test_iptables_is_left_alone_where_it_lets_pass(machine):
    iptables("-A", "FORWARD", "-j", "ACCEPT")
    before = iptables("-S")
    machine.network()
    assert iptables("-S") == before


def test_iptables_is_not_created_where_nobody_uses_it(machine):
    machine.network()
    assert ("ip", "filter") not in Nftables().tables()


@pytest.mark.parametrize("name", ["mine", "firewalld"])
def test_other_filters_are_named_with_the_cure(machine, name):
    policy = "accept" if name == "firewalld" else "drop"
    Nftables().run(
        f"table inet {name} {{\n chain f {{\n type filter hook forward priority 0; policy {policy};\n }}\n }}"
    )
    machine.network()
    (words,) = Network.obstacles(machine.instance())
    assert f"inet {name} f" in words
