"""What a sandbox sends past its own kernel: it may put any frame on its link."""

import os
import select
import socket
import struct

import pytest

ARP, IPV6, VLAN = 0x0806, 0x86DD, 0x8100
PORT = 7000


def nothing_arrived(server):
    return not select.select([server], [], [], 0)[0]


def send_then_witness(machine, slot, *frames):
    """Send frames, then an honest datagram to the internet; return what arrives there up to the honest one."""
    server = machine.datagrams(machine.PUBLIC, PORT, machine.internet)
    link = machine.raw(slot)
    for frame in (*frames, machine.frame(slot, machine.packet(machine.datagram(b"honest", port=PORT)))):
        link.send(frame)
    arrived = [server.recv(2000)]
    while arrived[-1] != b"honest":
        arrived.append(server.recv(2000))
    assert nothing_arrived(server)
    return arrived


def test_an_honest_frame_passes(machine):
    slot = machine.network().create(0)
    assert send_then_witness(machine, slot) == [b"honest"]


@pytest.mark.parametrize(
    "source", ["169.254.0.22", "203.0.113.9", "127.0.0.1", "0.0.0.0", "198.51.100.2", "slot", "next"]
)
def test_a_forged_source_address_is_dropped(machine, source):
    network = machine.network()
    slot, neighbour = network.create(0), network.create(1)
    forged = {"slot": slot.address, "next": neighbour.address}.get(source, source)
    frame = machine.frame(slot, machine.packet(machine.datagram(b"forged", port=PORT), source=forged))
    assert send_then_witness(machine, slot, frame) == [b"honest"]


def test_a_forged_hardware_address_is_dropped(machine):
    slot = machine.network().create(0)
    packet = machine.packet(machine.datagram(b"forged", port=PORT))
    assert send_then_witness(machine, slot, machine.frame(slot, packet, source="02:fc:00:00:00:06")) == [b"honest"]


@pytest.mark.parametrize("protocol", [2, 41, 47, 50, 89, 132, 255])
def test_other_protocols_are_dropped(machine, protocol):
    slot = machine.network().create(0)

    def listen():
        return socket.socket(socket.AF_INET, socket.SOCK_RAW, protocol)

    with machine.within(machine.internet, listen) as server:
        frame = machine.frame(slot, machine.packet(b"12345678", protocol=protocol))
        assert send_then_witness(machine, slot, frame) == [b"honest"]
        assert nothing_arrived(server)


def icmp(kind, code=0, body=b"\x12\x34\x00\x01question"):
    message = struct.pack("!BBH", kind, code, 0) + body
    total = sum(struct.unpack(f"!{len(message) // 2}H", message))
    total = (total >> 16) + (total & 0xFFFF)
    return message[:2] + struct.pack("!H", ~total & 0xFFFF) + message[4:]


def test_echo_passes_and_other_control_messages_do_not(machine):
    slot = machine.network().create(0)

    def listen():
        return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)

    with machine.within(machine.internet, listen) as server:
        server.settimeout(10)
        link = machine.raw(slot)
        for kind in (3, 5, 13, 8):  # unreachable, redirect, timestamp, echo
            link.send(machine.frame(slot, machine.packet(icmp(kind), protocol=socket.IPPROTO_ICMP)))
        assert server.recv(2000)[20] == 8
        assert nothing_arrived(server)


def test_an_echo_to_the_host_gets_no_answer(machine):
    slot = machine.network().create(0)

    def listen():
        return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)

    with machine.within(slot.namespace, listen) as heard:
        heard.settimeout(10)
        link = machine.raw(slot)
        for target in (machine.GATEWAY, machine.HOST, machine.PUBLIC):
            link.send(machine.frame(slot, machine.packet(icmp(8), target=target, protocol=socket.IPPROTO_ICMP)))
        answers = []
        while not answers or answers[-1] != (0, machine.PUBLIC):
            packet, peer = heard.recvfrom(2000)
            answers.append((packet[20], peer[0]))
        assert [kind for kind, _ in answers if kind == 0] == [0]


def test_fragments_are_put_together_before_they_are_judged(machine):
    slot = machine.network().create(0)
    server = machine.datagrams("10.1.2.3", PORT, machine.internet)
    whole = machine.datagram(b"x" * 24, port=PORT)

    def fragment(target, offset, more, payload):
        packet = bytearray(machine.packet(payload, target=target))
        packet[6:8] = struct.pack("!H", (0x2000 if more else 0) | offset // 8)
        packet[10:12] = bytes(2)
        total = sum(struct.unpack("!10H", bytes(packet[:20])))
        total = (total >> 16) + (total & 0xFFFF)
        packet[10:12] = struct.pack("!H", ~total & 0xFFFF)
        return machine.frame(slot, bytes(packet))

    denied = [fragment("10.1.2.3", 0, True, whole[:16]), fragment("10.1.2.3", 16, False, whole[16:])]
    permitted = [fragment(machine.PUBLIC, 0, True, whole[:16]), fragment(machine.PUBLIC, 16, False, whole[16:])]
    assert send_then_witness(machine, slot, *denied, *permitted) == [b"x" * 24, b"honest"]
    assert nothing_arrived(server)


def test_ipv6_is_dropped(machine):
    slot = machine.network().create(0)
    server = machine.datagrams("::", PORT, family=socket.AF_INET6)
    frames = []
    datagram = machine.datagram(b"six", port=PORT)
    for target in ("ff02::1", "fe80::1", "::1", "::ffff:198.51.100.2"):
        addresses = socket.inet_pton(socket.AF_INET6, "fe80::2") + socket.inet_pton(socket.AF_INET6, target)
        packet = struct.pack("!IHBB", 6 << 28, len(datagram), socket.IPPROTO_UDP, 64) + addresses + datagram
        frames.append(machine.frame(slot, packet, kind=IPV6))
    assert send_then_witness(machine, slot, *frames) == [b"honest"]
    assert nothing_arrived(server)


def test_a_tagged_frame_is_dropped(machine):
    slot = machine.network().create(0)
    packet = machine.packet(machine.datagram(b"tagged", port=PORT))
    frame = machine.frame(slot, struct.pack("!HH", 5, 0x0800) + packet, kind=VLAN)
    assert send_then_witness(machine, slot, frame) == [b"honest"]


def arp(machine, slot, *, sender, hardware="02:fc:00:00:00:05", target=None, operation=1):
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + bytes.fromhex(hardware.replace(":", ""))
    body += socket.inet_aton(sender) + bytes(6) + socket.inet_aton(target or machine.GATEWAY)
    return machine.frame(slot, body, kind=ARP)


def neighbours():
    with os.popen("ip -4 neighbour show") as listing:
        return {line.split()[0] for line in listing}


def test_the_hosts_neighbour_table_cannot_be_filled(machine):
    slot = machine.network().create(0)
    forged = [arp(machine, slot, sender=f"100.64.{number}.1") for number in range(50)]
    forged.append(arp(machine, slot, sender=machine.ROUTER))
    forged.append(arp(machine, slot, sender=machine.ROUTER, target=machine.ROUTER, operation=2))
    before = neighbours()
    send_then_witness(machine, slot, *forged)
    assert neighbours() <= before | {"169.254.0.21", machine.ROUTER}


def test_the_guest_stays_who_it_is(machine):
    slot = machine.network().create(0)
    forged = arp(machine, slot, sender="169.254.0.21", hardware="02:00:00:00:00:99", operation=2)
    send_then_witness(machine, slot, forged)
    with os.popen(f"ip -4 neighbour show dev {slot.link}") as listing:
        assert "02:fc:00:00:00:05 PERMANENT" in listing.read()


def test_only_the_gateway_answers_to_arp(machine):
    slot = machine.network().create(0)
    link = machine.raw(slot)

    def listen():
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ARP))
        opened.bind(("eth0", ARP))
        return opened

    with machine.within(slot.namespace, listen) as heard:
        heard.settimeout(10)
        for target in (machine.HOST, machine.ROUTER, machine.GATEWAY):
            link.send(arp(machine, slot, sender="169.254.0.21", target=target))
        reply = heard.recv(100)
        while reply[20:22] != b"\x00\x02":  # what is sent is heard as well
            reply = heard.recv(100)
        assert socket.inet_ntoa(reply[28:32]) == machine.GATEWAY
