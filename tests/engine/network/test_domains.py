"""Sandboxes that may reach some domains only: the server answers their questions, and opens what the answers name."""

import contextlib
import socket
import threading

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

import moonpool.engine.network.names as names_module
from moonpool.engine.network import NetworkPolicy, ruleset
from moonpool.engine.network.domains import ADDRESSES, Reached
from moonpool.engine.network.names import OPEN_QUESTIONS, Listener, is_within

REFUSED = (ConnectionRefusedError, ConnectionResetError)
POLICY = NetworkPolicy(domains=("example.com", "*.example.org"))


class NameServer:
    """The host's: names have the machine's public address, and what was asked is remembered."""

    def __init__(self, machine):
        self.addresses = {"example.com.": [machine.PUBLIC], "a.b.example.org.": [machine.OTHER_PUBLIC]}
        self.asked = []
        self.socket = machine.datagrams(machine.RESOLVER, 53, machine.internet)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            wire, peer = self.socket.recvfrom(4096)
            if not wire:
                return
            query = dns.message.from_wire(wire)
            question = query.question[0]
            name = question.name.to_text().lower()
            self.asked.append((name, query))
            response = dns.message.make_response(query)
            if question.rdtype == dns.rdatatype.A and self.addresses.get(name):
                response.answer.append(dns.rrset.from_text(name, 60, "IN", "A", *self.addresses[name]))
            self.socket.sendto(response.to_wire(), peer)

    def stop(self, machine):
        def end():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stopper:
                stopper.sendto(b"", (machine.RESOLVER, 53))

        machine.within(machine.internet, end)
        self.thread.join()

    @property
    def names(self):
        return [name for name, _ in self.asked]


@pytest.fixture
def names(machine, monkeypatch):
    monkeypatch.setattr(names_module, "UPSTREAM_TIMEOUT", 60.0)  # seconds: a slow machine is no fault
    server = NameServer(machine)
    server.socket.settimeout(None)
    yield server
    server.stop(machine)


@pytest.fixture
def slot(machine, names):
    network = machine.network()
    made = network.create(0)
    network.set_policy(0, POLICY)
    machine.listen(machine.PUBLIC, 80, machine.internet)
    machine.listen(machine.OTHER_PUBLIC, 80, machine.internet)
    return made


def ask(machine, slot, name, kind="A"):
    client = machine.datagrams("", 0, slot.namespace)
    client.connect((machine.GATEWAY, 53))
    query = dns.message.make_query(name, kind)
    client.send(query.to_wire())
    answer = dns.message.from_wire(client.recv(4096))
    assert query.is_response(answer)
    return answer


def ask_by_stream(machine, slot, *names):
    """Several questions over one connection."""
    client = machine.connect(slot, machine.GATEWAY, 53)
    answers = []
    with client.makefile("rb") as answered:
        for name in names:
            wire = dns.message.make_query(name, "A").to_wire()
            client.sendall(len(wire).to_bytes(2, "big") + wire)
            answers.append(dns.message.from_wire(answered.read(int.from_bytes(answered.read(2), "big"))))
    return answers


def addresses(answer):
    return [record.address for found in answer.answer for record in found]


def test_a_domain_opens_the_addresses_that_it_leads_to(machine, names, slot):
    with pytest.raises(REFUSED):
        machine.connect(slot, machine.PUBLIC, 80)
    assert addresses(ask(machine, slot, "Example.COM")) == [machine.PUBLIC]
    machine.connect(slot, machine.PUBLIC, 80)
    with pytest.raises(REFUSED):
        machine.connect(slot, machine.OTHER_PUBLIC, 80)
    assert addresses(ask(machine, slot, "a.b.example.org")) == [machine.OTHER_PUBLIC]
    machine.connect(slot, machine.OTHER_PUBLIC, 80)


def test_other_names_are_asked_of_nobody(machine, names, slot):
    others = ("www.example.com", "example.org", "badexample.org", "secret.attacker.net", r"a\.example.com", ".")
    for name in others:
        assert ask(machine, slot, name).rcode() == dns.rcode.NXDOMAIN
    assert names.names == []


def test_nothing_of_a_question_but_its_name_is_handed_on(machine, names, slot):
    client = machine.datagrams("", 0, slot.namespace)
    client.connect((machine.GATEWAY, 53))
    query = dns.message.make_query("example.com", "A")
    query.use_edns(options=[dns.edns.GenericOption(65001, b"a message")])
    query.additional.append(dns.rrset.from_text("x.", 0, "IN", "TXT", '"a message"'))
    client.send(query.to_wire())
    assert addresses(dns.message.from_wire(client.recv(4096))) == [machine.PUBLIC]
    ((_, handed_on),) = names.asked
    assert not handed_on.options
    assert not handed_on.additional


def test_by_stream(machine, names, slot):
    first, second = ask_by_stream(machine, slot, "example.com", "attacker.net")
    assert addresses(first) == [machine.PUBLIC]
    assert second.rcode() == dns.rcode.NXDOMAIN


def test_an_answer_too_long_for_a_datagram_says_so(machine, names, slot):
    names.addresses["example.com."] = [f"203.0.113.{number}" for number in range(1, 61)]
    client = machine.datagrams("", 0, slot.namespace)
    client.connect((machine.GATEWAY, 53))
    client.send(dns.message.make_query("example.com", "A", use_edns=False).to_wire())
    wire = client.recv(4096)
    assert len(wire) <= 512
    assert dns.message.from_wire(wire).flags & dns.flags.TC
    (whole,) = ask_by_stream(machine, slot, "example.com")
    assert len(addresses(whole)) == 60


def test_what_is_no_question_gets_no_answer_and_harms_nobody(machine, names, slot):
    client = machine.datagrams("", 0, slot.namespace)
    client.connect((machine.GATEWAY, 53))
    answer = dns.message.make_response(dns.message.make_query("example.com", "A"))
    for wire in (b"", b"x", b"\0" * 12, b"\xff" * 512, answer.to_wire()):
        client.send(wire)
    assert addresses(ask(machine, slot, "example.com")) == [machine.PUBLIC]


def test_a_transfer_is_refused(machine, names, slot):
    assert ask(machine, slot, "example.com", "AXFR").rcode() == dns.rcode.REFUSED
    assert names.names == []


def test_a_name_leads_to_nothing_that_is_denied(machine, names, slot):
    names.addresses["example.com."] = ["10.1.2.3"]
    assert addresses(ask(machine, slot, "example.com")) == ["10.1.2.3"]
    machine.listen("10.1.2.3", 80, machine.internet)
    with pytest.raises(REFUSED):
        machine.connect(slot, "10.1.2.3", 80)


def test_a_neighbour_profits_from_nothing(machine, names):
    network = machine.network()
    one, other = network.create(0), network.create(1)
    for number in (0, 1):
        network.set_policy(number, POLICY)
    machine.listen(machine.PUBLIC, 80, machine.internet)
    ask(machine, one, "example.com")
    with pytest.raises(REFUSED):
        machine.connect(other, machine.PUBLIC, 80)


def test_networks_beside_domains(machine, names):
    network = machine.network()
    slot = network.create(0)
    network.set_policy(0, NetworkPolicy(allow=("203.0.114.0/24",), domains=("example.com",)))
    machine.listen(machine.PUBLIC, 80, machine.internet)
    machine.listen(machine.OTHER_PUBLIC, 80, machine.internet)
    machine.connect(slot, machine.OTHER_PUBLIC, 80)
    with pytest.raises(REFUSED):
        machine.connect(slot, machine.PUBLIC, 80)
    ask(machine, slot, "example.com")
    machine.connect(slot, machine.PUBLIC, 80)


def test_other_domains_close_what_the_first_have_opened(machine, names):
    network = machine.network()
    slot = network.create(0)
    network.set_policy(0, POLICY)
    server = machine.listen(machine.PUBLIC, 80, machine.internet)
    ask(machine, slot, "example.com")
    client = machine.connect(slot, machine.PUBLIC, 80)
    accepted, _ = server.accept()
    network.set_policy(0, NetworkPolicy(domains=("a.b.example.org",)))
    client.sendall(b"on the old connection")
    with accepted, pytest.raises(REFUSED):
        client.recv(10)
    assert ask(machine, slot, "example.com").rcode() == dns.rcode.NXDOMAIN
    with pytest.raises(REFUSED):
        machine.connect(slot, machine.PUBLIC, 80)
    network.set_policy(0, NetworkPolicy())
    machine.connect(slot, machine.PUBLIC, 80)
    assert addresses(ask(machine, slot, "example.com")) == [machine.PUBLIC]


def test_blocking_wins(machine, names):
    network = machine.network()
    slot = network.create(0)
    network.set_policy(0, NetworkPolicy(block_all=True, domains=("example.com",)))
    with pytest.raises(REFUSED):
        ask(machine, slot, "example.com")


def test_a_restarted_server_goes_on(machine, names):
    network = machine.network()
    slot = network.create(0)
    network.set_policy(0, POLICY)
    server = machine.listen(machine.PUBLIC, 80, machine.internet)
    machine.listen(machine.OTHER_PUBLIC, 80, machine.internet)
    ask(machine, slot, "example.com")
    client = machine.connect(slot, machine.PUBLIC, 80)
    accepted, _ = server.accept()
    again = machine.network()
    client.sendall(b"still there")
    with accepted:
        assert accepted.recv(20) == b"still there"
    with pytest.raises(REFUSED):
        machine.connect(slot, machine.OTHER_PUBLIC, 80)
    assert ask(machine, slot, "attacker.net").rcode() == dns.rcode.NXDOMAIN
    ask(machine, slot, "a.b.example.org")
    machine.connect(slot, machine.OTHER_PUBLIC, 80)
    again.set_policy(0, NetworkPolicy(allow=("203.0.113.0/24",)))
    with pytest.raises(REFUSED):
        machine.connect(slot, machine.OTHER_PUBLIC, 80)


def test_a_restarted_server_that_lost_the_domains_closes_everything(machine, names):
    network = machine.network()
    slot = network.create(0)
    network.set_policy(0, POLICY)
    (machine.instance().run / "domains" / "0").unlink()
    machine.network()
    with pytest.raises(REFUSED):
        ask(machine, slot, "example.com")


def test_flushed_rules_come_back_with_what_was_reached(machine, names, slot):
    network = machine.network()
    ask(machine, slot, "example.com")
    network._nftables.run(ruleset.remove(machine.instance().tag))
    network.refresh()
    machine.connect(slot, machine.PUBLIC, 80)
    with pytest.raises(REFUSED):
        machine.connect(slot, machine.OTHER_PUBLIC, 80)


def test_a_new_sandbox_on_a_used_slot_has_none_of_it(machine, names):
    network = machine.network()
    slot = network.create(0)
    network.set_policy(0, POLICY)
    ask(machine, slot, "example.com")
    network.destroy(0)
    slot = network.create(0)
    machine.listen(machine.PUBLIC, 80, machine.internet)
    network.set_policy(0, NetworkPolicy(allow=("203.0.114.0/24",)))
    with pytest.raises(REFUSED):
        machine.connect(slot, machine.PUBLIC, 80)
    assert addresses(ask(machine, slot, "example.com")) == [machine.PUBLIC]  # of the host's server, as with any list


def test_without_the_hosts_name_server_the_answer_says_so(machine):
    machine.resolv_conf.write_text("")
    network = machine.network()
    slot = network.create(0)
    network.set_policy(0, POLICY)
    assert ask(machine, slot, "example.com").rcode() == dns.rcode.SERVFAIL


@pytest.mark.parametrize(
    ("name", "within"),
    [
        ("example.com", True),
        ("EXAMPLE.com", True),
        ("x.example.com", False),
        ("x.y.example.org", True),
        ("example.org", False),
        ("xexample.org", False),
        (r"x\.example.org", False),
        ("org", False),
    ],
)
def test_domains(name, within):
    assert is_within(dns.name.from_text(name), POLICY.domains) is within


def test_addresses_named_longest_ago_are_closed_again():
    with socket.socket() as some:
        reached = Reached(Listener(0, (), 0, some, some))
    first = [str(number) for number in range(ADDRESSES)]
    assert reached.add(first) == (first, [])
    assert reached.add(["0"]) == ([], [])
    assert reached.add(["new"]) == (["new"], ["1"])


def test_a_flood_of_questions_is_dropped_beyond_a_limit():
    """However many are there before the server looks: those that wait for an answer are counted as they come."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as upstream,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        upstream.bind(("127.77.0.1", 53))
        upstream.settimeout(1)
        server = names_module.NameServer(lambda: ["127.77.0.1"], lambda *_: None)
        try:
            client.connect(("127.0.0.1", server.open(0, ("example.com",)).port))
            for _ in range(150):
                client.send(dns.message.make_query("example.com", "A").to_wire())
            asked = 0
            with contextlib.suppress(TimeoutError):
                while upstream.recv(4096):
                    asked += 1
            assert asked == OPEN_QUESTIONS
        finally:
            server.stop()
