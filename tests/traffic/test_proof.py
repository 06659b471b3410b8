from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.traffic.small_space import ADDRESSES, PACKETS, few_selectors, few_services, rulesets
from tests.traffic.space.random_rules import overlapping_ruleset
from vafw.traffic.appliance import INSIDE
from vafw.traffic.proof import Pattern, Proof, counterexample
from vafw.traffic.reason import State
from vafw.traffic.rule import Action, Packet, Rule, Ruleset, Selector
from vafw.traffic.services import SERVICES
from vafw.traffic.space import with_oxidd
from vafw.traffic.space.path import Hop
from vafw.traffic.space.space import new_space

ANY = (Selector(None, ADDRESSES),)
USER = (Selector(INSIDE, ADDRESSES),)


def decided(ruleset: Ruleset, packet: Packet) -> tuple[str, Action]:
    """What becomes of a packet that opens a connection, by the plain definition."""
    if packet.side == INSIDE and ruleset.inside and not ruleset.inside.contains(packet.version, packet.source):
        return "(spoofed)", Action.DROP
    rule = ruleset.first_match(packet)
    return (rule.name, rule.action) if rule else ("(default)", ruleset.default)


@given(rulesets(), few_selectors, few_selectors, few_services, st.booleans())
def test_a_proof_agrees_with_walking_through_every_packet(
    ruleset: Ruleset,
    sources: tuple[Selector, ...],
    destinations: tuple[Selector, ...],
    services: tuple[()],
    passes: bool,
) -> None:
    pattern = Pattern(sources, destinations, services)
    asks = Rule("", sources, destinations, services, Action.DROP)
    wrong = [
        packet
        for packet in PACKETS
        if asks.matches(packet) and (decided(ruleset, packet)[1] is Action.ACCEPT) == passes
    ]
    found = counterexample(ruleset, pattern, passes=passes)
    assert (found is not None) == bool(wrong)
    assert found is None or asks.matches(found.packet)
    assert found is None or (found.rule, found.action) == decided(ruleset, found.packet)


def test_an_established_packet_passes_whatever_the_rules_say() -> None:
    found = counterexample(Ruleset((), Action.DROP), Pattern(ANY, ANY, states=(State.ESTABLISHED,)))
    assert found is not None
    assert (found.rule, found.action) == ("(established)", Action.ACCEPT)


def test_an_invalid_packet_never_passes() -> None:
    everything = Ruleset((Rule("all", ANY, ANY, (), Action.ACCEPT),), Action.DROP)
    assert counterexample(everything, Pattern(ANY, ANY, states=(State.INVALID,))) is None


def test_a_counterexample_is_shown_in_words() -> None:
    web = Ruleset((Rule("web", USER, ANY, SERVICES["https"], Action.ACCEPT),), Action.DROP)
    found = counterexample(web, Pattern(USER, ANY, SERVICES["https"]))
    assert str(found) == "tcp/443 from 0.0.0.1 (inside) to 0.0.0.1: accept by web"


def test_a_hundred_rules_are_proven() -> None:
    rules = tuple(
        Rule(f"r{port}", ANY, ANY, (SERVICES["https"][0].__class__(6, ((port, port + 50),)),), Action.DROP)
        for port in range(100)
    )
    assert counterexample(Ruleset(rules, Action.DROP), Pattern(ANY, ANY)) is None


def test_what_does_not_fit_into_a_small_space_is_proven_in_a_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = overlapping_ruleset(Random(1), 300)
    expected = Proof([Hop("", rules)]).counterexample(Pattern(ANY, ANY))
    monkeypatch.setattr(with_oxidd, "MEDIUM", 1 << 12)
    assert Proof([Hop("", rules)]).counterexample(Pattern(ANY, ANY)) == expected
    with pytest.raises(MemoryError):
        Proof([Hop("", rules)], new_space(rules=300)).counterexample(Pattern(ANY, ANY))
