from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.traffic.small_space import ADDRESSES, PACKETS, few_selectors, few_services, rulesets
from tests.traffic.space.random_rules import overlapping_ruleset
from vafw.traffic import proof
from vafw.traffic.address_set import AddressSet
from vafw.traffic.appliance import INSIDE
from vafw.traffic.proof import Pattern, Proof, counterexample
from vafw.traffic.reason import State
from vafw.traffic.rule import Action, Packet, Rule, Ruleset, Selector
from vafw.traffic.services import SERVICES
from vafw.traffic.space import with_oxidd
from vafw.traffic.space.overlap import Sieve
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


@pytest.mark.parametrize("passes", [True, False])
@pytest.mark.parametrize("seed", range(10))
def test_a_question_about_few_packets_is_answered_from_few_rules(seed: int, passes: bool) -> None:
    random = Random(seed)
    crossing = overlapping_ruleset(random, 20)
    apart = [
        Rule(f"apart-{at}", (lan(at),), (lan(at + 1),), (), random.choice((Action.ACCEPT, Action.DROP)))
        for at in range(proof.MANY)
    ]
    ruleset = replace(crossing, rules=tuple(random.sample((*crossing.rules, *apart), len(apart) + 20)))
    whole = Proof([Hop("", ruleset)])
    assert whole.passing
    narrow = [Pattern(each.sources, each.destinations, each.services) for each in ruleset.rules[::10]]
    near = [len(Sieve(ruleset.rules).touching(each.sources, each.destinations, each.services)) for each in narrow]
    assert min(near) * proof.FEW <= proof.MANY
    asked = [Proof([Hop("", ruleset)]).counterexample(each, passes=passes) for each in narrow]
    assert asked == [whole.counterexample(each, passes=passes) for each in narrow]
    assert len({each is None for each in asked}) == 2


def lan(number: int) -> Selector:
    return Selector(None, AddressSet.from_texts([f"172.{16 + number // 256}.{number % 256}.0/24"]))


def test_what_does_not_fit_into_a_small_space_is_proven_in_a_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = overlapping_ruleset(Random(1), 300)
    expected = Proof([Hop("", rules)]).counterexample(Pattern(ANY, ANY))
    monkeypatch.setattr(with_oxidd, "MEDIUM", 1 << 12)
    assert Proof([Hop("", rules)]).counterexample(Pattern(ANY, ANY)) == expected
    with pytest.raises(MemoryError):
        Proof([Hop("", rules)], new_space(rules=300)).counterexample(Pattern(ANY, ANY))
