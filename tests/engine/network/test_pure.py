"""What needs no kernel: addresses, policies, name servers, the text of the rules."""

from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonpool.engine.network import NetworkPolicy, ruleset
from moonpool.engine.network.addresses import SLOTS, candidate_blocks, slot_address
from moonpool.engine.network.resolvers import upstream_resolvers
from moonpool.errors import InvalidInput

BLOCK = IPv4Network("100.64.32.0/19")
networks = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)).map(
    lambda pair: str(IPv4Network((pair[0], pair[1]), strict=False))
)


def test_every_slot_has_an_address_of_its_own_within_the_block():
    addresses = {slot_address(BLOCK, number) for number in range(SLOTS)}
    assert len(addresses) == SLOTS
    assert {slot_address(BLOCK, 0), slot_address(BLOCK, SLOTS - 1)} == {"100.64.32.1", "100.64.63.254"}
    for number in (-1, SLOTS):
        with pytest.raises(ValueError, match="outside"):
            slot_address(BLOCK, number)


def test_the_tag_points_at_a_block_and_occupied_ones_are_passed_over():
    first, second, *_ = candidate_blocks("000001", [])
    assert (str(first), str(second)) == ("100.64.32.0/19", "100.64.64.0/19")
    assert str(next(candidate_blocks("ffffff", []))) == "100.127.224.0/19"
    assert str(next(candidate_blocks("000001", [IPv4Network("10.0.0.0/8")]))) == "100.64.32.0/19"


def test_the_shared_space_is_left_to_an_overlay_network_that_uses_it():
    taken = [IPv4Network("100.101.102.103/32"), IPv4Network("198.18.32.0/24")]
    blocks = list(candidate_blocks("000001", taken))
    assert str(blocks[0]) == "198.18.64.0/19"
    assert IPv4Network("100.64.32.0/19") in blocks
    assert not any(network.overlaps(block) for network in taken for block in blocks)


def test_no_block_is_left_where_everything_is_routed():
    assert list(candidate_blocks("000001", [IPv4Network("100.64.0.0/10"), IPv4Network("198.0.0.0/8")])) == []


@given(st.lists(networks, max_size=20))
def test_an_allow_list_has_no_overlaps_and_loses_nothing(texts):
    parsed = NetworkPolicy(allow=tuple(texts)).networks
    assert sum(network.num_addresses for network in parsed) <= 2**32
    for text in texts:
        assert any(IPv4Network(text).subnet_of(network) for network in parsed)
    for index, network in enumerate(parsed):
        assert not any(network.overlaps(other) for other in parsed[index + 1 :])


@given(st.text(max_size=30).filter(lambda text: "." not in text and not text.strip().isdecimal()))
def test_what_is_no_network_is_invalid_input(text):
    with pytest.raises(InvalidInput) as caught:
        NetworkPolicy(allow=(text,)).networks  # noqa: B018 - the property validates
    assert caught.value.field == "network.allow"


def test_an_unchanged_policy_is_no_transaction():
    policy = NetworkPolicy(allow=("1.2.3.0/24",))
    assert ruleset.change_policy("abcdef", "mpabcdef1", policy, policy) == ""
    assert ruleset.change_policy("abcdef", "mpabcdef1", NetworkPolicy(), NetworkPolicy()) == ""


def test_only_the_difference_of_two_policies_is_sent():
    old, new = NetworkPolicy(allow=("1.2.3.0/24", "5.5.5.5")), NetworkPolicy(allow=("1.2.3.0/24", "6.6.6.6"))
    assert ruleset.change_policy("abcdef", "mpabcdef1", old, new).splitlines() == [
        'delete element inet moonpool_abcdef allowed { "mpabcdef1" . 5.5.5.5/32 }',
        'add element inet moonpool_abcdef allowed { "mpabcdef1" . 6.6.6.6/32 }',
    ]


def write(path, *servers):
    path.write_text("# a comment\nsearch example.org\n" + "".join(f"nameserver {server}\n" for server in servers))
    return path


def test_name_servers_are_read_in_order_without_doubles(tmp_path):
    path = write(tmp_path / "resolv.conf", "9.9.9.9", "::1", "1.1.1.1", "9.9.9.9", "fe80::1%eth0", "8.8.8.8", "8.8.4.4")
    assert upstream_resolvers(path) == ("9.9.9.9", "1.1.1.1", "8.8.8.8")


def test_systemds_own_address_is_replaced_by_the_servers_that_it_asks(tmp_path):
    stub = write(tmp_path / "stub", "127.0.0.53")
    assert upstream_resolvers(stub, write(tmp_path / "real", "10.0.0.2")) == ("10.0.0.2",)
    assert upstream_resolvers(stub, tmp_path / "missing") == ()


def test_no_file_and_a_broken_file_are_no_name_servers(tmp_path):
    assert upstream_resolvers(tmp_path / "missing") == ()
    broken = tmp_path / "broken"
    broken.write_bytes(b"nameserver\nnameserver \xff\xfe\nnameserver 999.1.1.1\n")
    assert upstream_resolvers(broken) == ()
