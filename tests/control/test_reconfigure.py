"""Rules swapped between two packets: what the new ones would not have let begin ends, and nothing else does."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from vafw.traffic.appliance import INSIDE, OUTSIDE, Outcome
from vafw.traffic.engine import Engine
from vafw.traffic.rule import Action, AddressSet, Rule, Ruleset, Selector, ServiceMatch
from vafw_appliances.firewall.guest import create

USER, SERVER = "10.0.0.2", "198.51.100.10"
ANYWHERE = (Selector(None, AddressSet.everything()),)
USERS = (Selector(INSIDE, AddressSet.everything()),)


def allowing(*services: ServiceMatch, inside: AddressSet | None = None) -> Ruleset:
    return Ruleset((Rule("out", USERS, ANYWHERE, services, Action.ACCEPT),), Action.DROP, inside)


HTTP, QUIC, PING = ServiceMatch(6, ((80, 80),)), ServiceMatch(17, ((443, 443),)), ServiceMatch(1, icmp_types=(8,))
ALL = allowing(HTTP, QUIC, PING)


def out(upper: Packet) -> bytes:
    return bytes(Ether() / IP(src=USER, dst=SERVER) / upper)


def back(upper: Packet) -> bytes:
    return bytes(Ether() / IP(src=SERVER, dst=USER) / upper)


FLOWS = {
    "http": (HTTP, out(TCP(sport=4000, dport=80, flags="A", seq=5, ack=9)), back(TCP(sport=80, dport=4000, flags="A"))),
    "quic": (QUIC, out(UDP(sport=4000, dport=443)), back(UDP(sport=443, dport=4000))),
    "ping": (PING, out(ICMP(type=8, id=7)), back(ICMP(type=0, id=7))),
}


def rule_of(engine: Engine, frame: bytes, side: str) -> str:
    return engine.decide(frame, side, 1.0).rule


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_that_the_new_rules_refuse_is_forgotten_in_both_directions(name: str) -> None:
    service, there, answer = FLOWS[name]
    engine = Engine(ALL)
    assert rule_of(engine, there, INSIDE) == "out"
    follower = engine.succeeded_by(allowing(*(each for each in (HTTP, QUIC, PING) if each is not service)))
    assert follower.decide(answer, OUTSIDE, 1.0).action is Action.DROP
    assert follower.decide(there, INSIDE, 1.0).action is Action.DROP


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_that_the_new_rules_accept_goes_on(name: str) -> None:
    service, there, answer = FLOWS[name]
    engine = Engine(ALL)
    rule_of(engine, there, INSIDE)
    assert rule_of(engine.succeeded_by(allowing(service)), answer, OUTSIDE) == "(established)"


def test_the_engine_that_was_to_be_followed_can_be_kept() -> None:
    _, there, answer = FLOWS["quic"]
    engine = Engine(ALL)
    rule_of(engine, there, INSIDE)
    engine.succeeded_by(allowing(HTTP))
    assert rule_of(engine, answer, OUTSIDE) == "(established)"


def test_a_flow_of_an_address_that_is_no_longer_of_the_inside_is_forgotten() -> None:
    _, there, answer = FLOWS["quic"]
    engine = Engine(ALL)
    rule_of(engine, there, INSIDE)
    follower = engine.succeeded_by(allowing(QUIC, inside=AddressSet.of([ip_network("10.0.0.9/32")])))
    assert follower.decide(answer, OUTSIDE, 1.0).action is Action.DROP


def test_the_rest_of_a_datagram_in_pieces_is_dropped() -> None:
    first, *rest = fragment(IP(src=USER, dst=SERVER) / UDP(sport=4000, dport=443) / bytes(3000), 1000)
    engine = Engine(ALL)
    assert rule_of(engine, bytes(Ether() / first), INSIDE) == "out"
    assert [rule_of(engine.succeeded_by(ALL), bytes(Ether() / each), INSIDE) for each in rest] == [
        "(fragment)" for _ in rest
    ]


def test_counts_go_on() -> None:
    engine = Engine(ALL)
    rule_of(engine, FLOWS["quic"][1], INSIDE)
    follower = engine.succeeded_by(allowing(QUIC))
    rule_of(follower, FLOWS["quic"][2], OUTSIDE)
    assert (follower.counts["out"].packets, follower.counts["(established)"].packets) == (1, 1)


def test_the_firewall_follows_itself_with_other_rules() -> None:
    firewall = create({"ruleset": ALL.to_config()})
    _, there, _ = FLOWS["http"]
    assert firewall.handle(INSIDE, there, 1.0).outcome is Outcome.PASSED
    follower = firewall.reconfigured({"ruleset": allowing(QUIC).to_config()})  # type: ignore[attr-defined]
    assert follower.handle(INSIDE, there, 1.0).outcome is Outcome.DROPPED
    assert firewall.handle(INSIDE, there, 1.0).outcome is Outcome.PASSED


def test_a_configuration_without_rules_is_refused() -> None:
    firewall = create({"ruleset": ALL.to_config()})
    with pytest.raises(ValueError, match="must have a ruleset, which `vafw` compiles from the policy"):
        firewall.reconfigured({})  # type: ignore[attr-defined]
