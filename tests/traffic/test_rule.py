from __future__ import annotations

from ipaddress import IPv4Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.traffic.small_space import ADDRESSES, PACKETS, rulesets
from vafw.traffic.address_set import AddressSet, normalise
from vafw.traffic.first_match import FirstMatch
from vafw.traffic.rule import Action, Packet, Rule, Ruleset, Selector, ServiceMatch
from vafw.traffic.services import SERVICES

SPANS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)).map(lambda each: (min(each), max(each))), max_size=6)


def addresses(spans: list[tuple[int, int]]) -> AddressSet:
    return AddressSet(normalise(spans), normalise(spans))


@given(SPANS, SPANS)
def test_address_sets_agree_with_sets_of_integers(left: list[tuple[int, int]], right: list[tuple[int, int]]) -> None:
    ours, theirs = addresses(left), addresses(right)
    left_set = {each for low, high in left for each in range(low, high + 1)}
    right_set = {each for low, high in right for each in range(low, high + 1)}
    space = range(45)
    assert [ours.contains(4, each) for each in space] == [each in left_set for each in space]
    assert [ours.union(theirs).contains(6, each) for each in space] == [each in left_set | right_set for each in space]
    both = ours.intersection(theirs)
    assert [both.contains(4, each) for each in space] == [each in left_set & right_set for each in space]
    assert [ours.complement().contains(4, each) for each in space] == [each not in left_set for each in space]
    assert ours.complement().complement() == ours
    assert AddressSet.from_texts(ours.to_texts()) == ours


def test_networks_make_ranges() -> None:
    found = AddressSet.of([IPv4Network("10.0.0.0/25"), IPv4Network("10.0.0.128/25"), ip_network("::1/128")])
    assert found.to_texts() == ("10.0.0.0/24", "::1")


@given(rulesets())
def test_a_ruleset_survives_its_configuration(ruleset: Ruleset) -> None:
    assert Ruleset.from_config(ruleset.to_config()) == ruleset


@given(rulesets(), st.sampled_from(PACKETS))
def test_the_prepared_rules_find_what_the_plain_ones_find(ruleset: Ruleset, packet: Packet) -> None:
    assert FirstMatch(ruleset.rules).find(packet) == ruleset.first_match(packet)


def test_a_default_of_accept_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^the default must be drop or reject, not accept$"):
        Ruleset((), Action.ACCEPT)


def test_an_unknown_action_in_a_configuration_is_refused() -> None:
    rule = Rule("web", (Selector(None, ADDRESSES),), (), SERVICES["https"], Action.DROP)
    config = Ruleset((rule,), Action.DROP).to_config()
    config["rules"][0]["action"] = "pass"  # type: ignore[index, call-overload]
    with pytest.raises(
        ValueError, match=r"^ruleset\.rules\[0\]\.action must be one of accept, drop, reject, log, mark, not 'pass'$"
    ):
        Ruleset.from_config(config)


def test_ports_of_a_protocol_without_ports_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^here\.ports must be empty for protocol 1: only TCP and UDP have ports$"):
        ServiceMatch.from_config({"protocol": 1, "ports": ["80"]}, "here")


def test_a_packet_is_shown_in_words() -> None:
    shown = str(Packet("inside", 4, 0x0A000002, 0x01010101, 6, 443))
    assert shown == "tcp/443 from 10.0.0.2 (inside) to 1.1.1.1"
