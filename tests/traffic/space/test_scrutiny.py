"""Rules that do no work, against the plain definition: take the rule out and walk through every packet."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from tests.traffic.space.random_rules import (
    FINAL,
    boxes_ruleset,
    overlapping_ruleset,
    small_ruleset,
    small_world,
    without_conditions,
)
from vafw.traffic.address_set import AddressSet
from vafw.traffic.appliance import INSIDE, OUTSIDE
from vafw.traffic.reason import State
from vafw.traffic.rule import ICMP, TCP, Action, Packet, Rule, Ruleset, Selector, ServiceMatch
from vafw.traffic.space import overlap, spoken, with_oxidd
from vafw.traffic.space.layout import DESTINATION, SOURCE, address_field
from vafw.traffic.space.overlap import Sieve
from vafw.traffic.space.scrutiny import Fault, Finding, scrutinise
from vafw.traffic.space.space import Space, new_space

ANY = (Selector(None, AddressSet.everything()),)
LAN = (Selector(None, AddressSet.from_texts(["10.0.0.0/8"])),)
WEB = (ServiceMatch(TCP, ((80, 80), (443, 443))),)


@pytest.fixture(scope="module")
def space() -> Space:
    return new_space()


def rule(name: str, action: Action, to: tuple[Selector, ...] = ANY, services: tuple[ServiceMatch, ...] = ()) -> Rule:
    return Rule(name, ANY, to, services, action)


def decided(ruleset: Ruleset, packet: Packet) -> str:
    found = ruleset.first_match(packet)
    return f"{found.action}{found.log}" if found else "default"


def considered(ruleset: Ruleset) -> list[Packet]:
    inside = ruleset.inside
    return [
        packet
        for packet in small_world()
        if not (packet.side == INSIDE and inside and not inside.contains(packet.version, packet.source))
    ]


@pytest.mark.parametrize("seed", range(60))
def test_a_rule_is_idle_exactly_where_no_packet_meets_it(space: Space, seed: int) -> None:
    ruleset = without_conditions(small_ruleset(Random(seed)))
    ruleset = replace(ruleset, rules=tuple(each for each in ruleset.rules if not each.is_conditional))
    idle = {each.at for each in scrutinise(ruleset, space) if each.fault is not Fault.REDUNDANT}
    first_met: dict[int, Packet] = {}
    for packet in considered(ruleset):
        for at, each in enumerate(ruleset.rules):
            if each.matches(packet):
                first_met.setdefault(at, packet)
                if each.action.is_final:
                    break
    assert idle == set(range(len(ruleset.rules))) - set(first_met)


@pytest.mark.parametrize("seed", range(60))
def test_without_all_its_redundant_rules_a_list_does_the_same(space: Space, seed: int) -> None:
    ruleset = small_ruleset(Random(seed))
    spare = {each.at for each in scrutinise(ruleset, space)}
    kept = replace(ruleset, rules=tuple(each for at, each in enumerate(ruleset.rules) if at not in spare))
    for packet in considered(ruleset):
        before, after = decided(ruleset, packet), decided(kept, packet)
        assert before == after or {before, after} <= {"default", f"{ruleset.default}False", *LEFT[packet.state]}


LEFT = {"new": [], "established": ["acceptFalse"], "invalid": ["dropFalse"]}


def test_one_rule_that_takes_all_of_another_shadows_it() -> None:
    rules = (rule("no-lan", Action.REJECT, LAN), rule("printer", Action.ACCEPT, LAN, WEB))
    assert scrutinise(Ruleset(rules, Action.DROP)) == (Finding(1, Fault.SHADOWED, (0,)),)


def test_the_opposite_for_the_same_packets_is_a_contradiction() -> None:
    rules = (rule("web", Action.ACCEPT, LAN, WEB), rule("no-web", Action.DROP, LAN, WEB))
    assert scrutinise(Ruleset(rules, Action.DROP)) == (Finding(1, Fault.CONTRADICTED, (0,)),)


def test_only_the_rules_that_are_needed_to_leave_nothing_are_named() -> None:
    halves = [
        (Selector(None, AddressSet.from_texts([each])),) for each in ("10.0.0.0/9", "10.128.0.0/9", "10.1.0.0/16")
    ]
    rules = (*(rule(f"half-{at}", Action.ACCEPT, half) for at, half in enumerate(halves[:2])),)
    rules = (rule("part", Action.ACCEPT, halves[2]), *rules, rule("lan", Action.ACCEPT, LAN))
    found = scrutinise(Ruleset(rules, Action.DROP))
    assert found == (Finding(0, Fault.REDUNDANT, (1,)), Finding(3, Fault.UNREACHABLE, (1, 2)))


def test_a_drop_that_the_default_does_is_redundant_unless_it_writes_a_line() -> None:
    silent, logged = rule("no-lan", Action.DROP, LAN), replace(rule("no-lan", Action.DROP, LAN), log=True)
    assert scrutinise(Ruleset((silent,), Action.DROP)) == (Finding(0, Fault.REDUNDANT),)
    assert scrutinise(Ruleset((logged,), Action.DROP)) == ()
    assert scrutinise(Ruleset((silent,), Action.REJECT)) == ()


def test_a_rule_that_no_packet_can_match_is_found() -> None:
    six_only = (Selector(None, AddressSet.from_texts(["2001:db8::/32"])),)
    rules = (Rule("ping", ANY, six_only, (ServiceMatch(ICMP, (), (8,)),), Action.ACCEPT),)
    assert scrutinise(Ruleset(rules, Action.DROP)) == (Finding(0, Fault.MATCHES_NOTHING),)


def test_a_rule_about_sources_that_only_the_inside_could_forge_matches_nothing() -> None:
    forged = (Selector(INSIDE, AddressSet.from_texts(["192.0.2.0/24"])),)
    rules = (Rule("guests", forged, ANY, (), Action.ACCEPT),)
    ruleset = Ruleset(rules, Action.DROP, AddressSet.from_texts(["10.0.0.2"]))
    assert scrutinise(ruleset) == (Finding(0, Fault.MATCHES_NOTHING),)


def test_a_rule_between_two_zones_of_one_side_matches_nothing() -> None:
    outside = (Selector(OUTSIDE, AddressSet.everything()),)
    assert scrutinise(Ruleset((Rule("hairpin", outside, outside, (), Action.ACCEPT),), Action.DROP)) == (
        Finding(0, Fault.MATCHES_NOTHING),
    )


@pytest.mark.parametrize("inside", [None, "10.0.0.0/8"], ids=["any inside", "known inside"])
@pytest.mark.parametrize("seed", range(60))
def test_rules_that_are_boxes_are_found_to_do_what_diagrams_say(
    monkeypatch: pytest.MonkeyPatch, seed: int, inside: str | None
) -> None:
    ruleset = boxes_ruleset(Random(seed), 24, None if inside is None else AddressSet.from_texts([inside]))
    assert len(Sieve(ruleset.rules).exact) > 6
    found = scrutinise(ruleset)
    monkeypatch.setattr(overlap, "exact_box", lambda _rule: None)
    assert found == scrutinise(ruleset)


def test_a_rule_that_is_a_box_speaks_of_every_new_packet_in_it_and_of_no_other(space: Space) -> None:
    rules = boxes_ruleset(Random(7), 200, None).rules
    for at, box in Sieve(rules).exact.items():
        version = 4 if rules[at].sources[0].addresses.v4 and rules[at].destinations[0].addresses.v4 else 6
        sources, destinations, services = zip(box[::2], box[1::2], strict=True)
        ports = (services[0] & 0xFFFF, services[1] & 0xFFFF)
        written = (
            space.version(version)
            & space.among(address_field(SOURCE, version), (sources,))
            & space.among(address_field(DESTINATION, version), (destinations,))
            & space.services((ServiceMatch(services[0] >> 16, (ports,)),))
            & space.states([State.NEW])
        )
        assert written & space.packets == space.rule(rules[at]) & space.packets


def test_what_is_no_few_boxes_is_asked_of_diagrams(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = boxes_ruleset(Random(3), 200, None)
    expected = scrutinise(rules)
    monkeypatch.setattr(spoken, "MOST_PIECES", 1)
    assert scrutinise(rules) == expected


def test_five_thousand_rules_are_looked_at() -> None:
    ruleset = overlapping_ruleset(Random(1), 5000)
    found = scrutinise(ruleset)
    assert {each.fault for each in found} >= {Fault.SHADOWED, Fault.REDUNDANT}
    assert all(other != each.at for each in found for other in each.by)
    assert {each.action for each in ruleset.rules} == set(FINAL)


def test_of_redundant_rules_only_those_are_named_that_may_go_together() -> None:
    near, far, whole = (
        (Selector(None, AddressSet.from_texts([each])),) for each in ("192.0.2.0/25", "192.0.2.128/25", "192.0.2.0/24")
    )
    rules = (
        rule("near", Action.ACCEPT, near),
        rule("whole", Action.ACCEPT, whole),
        rule("far", Action.ACCEPT, far),
    )
    assert scrutinise(Ruleset(rules, Action.DROP)) == (
        Finding(0, Fault.REDUNDANT, (1,)),
        Finding(2, Fault.SHADOWED, (1,)),
    )
    wide = rule("far-and-more", Action.ACCEPT, (Selector(None, AddressSet.from_texts(["192.0.2.128-192.0.3.9"])),))
    assert scrutinise(Ruleset((*rules[:2], wide), Action.DROP)) == (Finding(0, Fault.REDUNDANT, (1,)),)


def test_what_does_not_fit_into_a_small_space_is_asked_in_a_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    ruleset = overlapping_ruleset(Random(1), 300)
    expected = scrutinise(ruleset)
    monkeypatch.setattr(with_oxidd, "MEDIUM", 1 << 12)
    assert scrutinise(ruleset) == expected
    with pytest.raises(MemoryError):
        scrutinise(ruleset, new_space(rules=300))
