from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import ICMPv6ND_NS, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from tests.traffic.random_traffic import random_traffic
from tests.traffic.small_space import rulesets
from vafw.traffic.address_set import AddressSet
from vafw.traffic.appliance import INSIDE, OUTSIDE
from vafw.traffic.engine import MOST_FAULTS, OTHER_FAULTS, Engine
from vafw.traffic.frame import Frame
from vafw.traffic.rule import Action, Rule, Ruleset, Selector
from vafw.traffic.rule import Packet as Question
from vafw.traffic.services import SERVICES

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
ANY = (Selector(None, AddressSet.everything()),)
USER = (Selector(INSIDE, AddressSet.everything()),)
OUTGOING = Ruleset((Rule("out", USER, ANY, (), Action.ACCEPT),), Action.DROP)
THERE = IP(src="10.0.0.2", dst="1.1.1.1")
BACK = IP(src="1.1.1.1", dst="10.0.0.2")


def rule_of(engine: Engine, packet: Packet, side: str, now_s: float = 0.0) -> str:
    return engine.decide(bytes(ETHER / packet), side, now_s).rule


def test_a_handshake_is_followed() -> None:
    engine = Engine(OUTGOING)
    assert rule_of(engine, THERE / TCP(sport=9, dport=80, flags="S", seq=1), INSIDE) == "out"
    assert rule_of(engine, BACK / TCP(sport=80, dport=9, flags="SA", seq=7, ack=2), OUTSIDE) == "(established)"
    assert rule_of(engine, THERE / TCP(sport=9, dport=80, flags="A", seq=2, ack=8), INSIDE) == "(established)"
    assert rule_of(engine, BACK / TCP(sport=80, dport=9, flags="A", seq=2**31, ack=2), OUTSIDE) == "(invalid)"


def test_a_syn_ack_without_a_connection_is_invalid() -> None:
    assert rule_of(Engine(OUTGOING), THERE / TCP(flags="SA"), INSIDE) == "(invalid)"


def test_a_connection_is_picked_up_in_its_middle() -> None:
    assert rule_of(Engine(OUTGOING), THERE / TCP(flags="A", seq=5, ack=6), INSIDE) == "out"


def test_a_udp_connection_is_forgotten_after_its_time() -> None:
    engine = Engine(OUTGOING)
    rule_of(engine, THERE / UDP(sport=5, dport=6), INSIDE, 0.0)
    assert rule_of(engine, BACK / UDP(sport=6, dport=5), OUTSIDE, 29.9) == "(established)"
    assert rule_of(engine, BACK / UDP(sport=6, dport=5), OUTSIDE, 200.0) == "(default)"


def test_an_error_about_a_connection_is_related_and_any_other_is_invalid() -> None:
    engine = Engine(OUTGOING)
    sent = THERE / UDP(sport=5, dport=6)
    rule_of(engine, sent, INSIDE)
    router = IP(src="9.9.9.9", dst="10.0.0.2")
    assert rule_of(engine, router / ICMP(type=3) / Raw(bytes(sent)), OUTSIDE) == "(related)"
    assert rule_of(engine, router / ICMP(type=3) / Raw(bytes(THERE / UDP(sport=7))), OUTSIDE) == "(invalid)"


def test_fragments_follow_their_first() -> None:
    engine = Engine(OUTGOING)
    first, *others = fragment(THERE / UDP(sport=5, dport=6) / Raw(bytes(3000)), fragsize=1000)
    assert rule_of(engine, others[0], INSIDE) == "(fragment)"
    assert rule_of(engine, first, INSIDE) == "out"
    assert [rule_of(engine, each, INSIDE) for each in others] == ["out"] * len(others)


def test_a_fragment_that_overlaps_ends_the_datagram() -> None:
    engine = Engine(OUTGOING)
    first, second, *_ = fragment(THERE / UDP(sport=5, dport=6) / Raw(bytes(3000)), fragsize=1000)
    rule_of(engine, first, INSIDE)
    overlapping = THERE.copy() / Raw(bytes(64))
    overlapping.frag, overlapping.flags, overlapping.proto, overlapping.id = 1, "MF", 17, first.id
    assert rule_of(engine, overlapping, INSIDE) == "(fragment)"
    assert engine.decide(bytes(ETHER / second), INSIDE, 0.0).action is Action.DROP


def test_sources_that_are_not_of_the_inside_are_dropped() -> None:
    engine = Engine(Ruleset(OUTGOING.rules, Action.DROP, AddressSet.from_texts(["10.0.0.2"])))
    assert rule_of(engine, THERE / UDP(), INSIDE) == "out"
    assert rule_of(engine, IP(src="10.0.0.3", dst="1.1.1.1") / UDP(), INSIDE) == "(spoofed)"


def test_neighbour_discovery_passes_only_from_this_link() -> None:
    engine = Engine(OUTGOING)
    for hops, rule in ((255, "(neighbour)"), (64, "(invalid)")):
        assert rule_of(engine, IPv6(src="fe80::1", dst="fe80::2", hlim=hops) / ICMPv6ND_NS(), OUTSIDE) == rule


def test_a_full_table_refuses_what_it_cannot_follow() -> None:
    engine = Engine(OUTGOING, connections=2)
    for port in (1, 2):
        rule_of(engine, THERE / UDP(sport=port, dport=9), INSIDE)
        rule_of(engine, BACK / UDP(sport=9, dport=port), OUTSIDE)
    assert rule_of(engine, THERE / UDP(sport=3, dport=9), INSIDE) == "(table full)"
    assert len(engine.connections) == 2


@given(rulesets(), st.integers(0, 1000))
def test_nothing_new_passes_that_the_rules_forbid(ruleset: Ruleset, seed: int) -> None:
    engine = Engine(ruleset)
    for side, frame in random_traffic(seed, conversations=3, packets=10):
        decision = engine.decide(frame, side, 0.0)
        packet = decision.packet
        by_rule = isinstance(packet, Frame) and not packet.fragment_offset and not decision.rule.startswith("(")
        for frame_read in [packet] * by_rule:
            assert isinstance(frame_read, Frame)
            question = Question(
                side, frame_read.version, frame_read.source, frame_read.destination, frame_read.protocol,
                frame_read.destination_port, frame_read.icmp_type,
            )  # fmt: skip
            rule = ruleset.first_match(question)
            assert rule is not None
            assert (rule.name, rule.action) == (decision.rule, decision.action)


def test_every_shipped_service_matches_something() -> None:
    assert [name for name, matches in SERVICES.items() if not matches] == []


def test_malformed_frames_of_ever_other_lengths_do_not_make_the_report_grow() -> None:
    engine = Engine(Ruleset((), Action.DROP))
    for total in range(100, 1100):
        engine.decide(bytes(12) + b"\x08\x00\x45\x00" + total.to_bytes(2, "big") + bytes(60), "outside", 0.0)
    assert len(engine.malformed) == MOST_FAULTS + 1
    assert (sum(engine.malformed.values()), engine.malformed[OTHER_FAULTS]) == (1000, 1000 - MOST_FAULTS)


@pytest.mark.parametrize(
    ("destination", "passes"),
    [("ff02::1", True), ("fe80::1", True), ("2001:db8:a::1", True), ("2001:db8:b::1", False), ("fc00::1", False)],
)
def test_neighbour_discovery_passes_on_its_own_link_only(destination: str, passes: bool) -> None:
    packet = IPv6(src="2001:db8:a::2", dst=destination, hlim=255) / ICMPv6ND_NS(tgt=destination) / Raw(bytes(600))
    frame = bytes(Ether(src="52:54:00:aa:00:01", dst="33:33:00:00:00:01") / packet)
    decision = Engine(Ruleset((), Action.DROP)).decide(frame, INSIDE, 0.0)
    assert (decision.action is Action.ACCEPT) is passes
