"""What passes, worked out as sets, against walking through every packet and against another library's diagrams."""

from __future__ import annotations

from random import Random

import pytest

from tests.traffic.space.random_rules import overlapping_ruleset, small_ruleset, small_world
from vafw.traffic.appliance import INSIDE
from vafw.traffic.reason import State
from vafw.traffic.rule import Action, Packet, Rule, Ruleset
from vafw.traffic.space import outcome
from vafw.traffic.space.diagram import Diagram, Diagrams
from vafw.traffic.space.layout import VARIABLES
from vafw.traffic.space.outcome import meeting, passing
from vafw.traffic.space.space import Space, new_space, unnamed
from vafw.traffic.space.with_dd import DdDiagrams

TENTHS = range(10)
"""A thousand lists each, in ten pieces."""


def fates(ruleset: Ruleset, packet: Packet) -> set[Action]:
    """Every action that the packet may meet, by the plain definition: a conditional rule decides, or does not."""
    if packet.side == INSIDE and ruleset.inside and not ruleset.inside.contains(packet.version, packet.source):
        return {Action.DROP}
    found = set()
    for rule in ruleset.rules:
        if rule.action.is_final and rule.matches(packet):
            found.add(rule.action)
            if certain(rule, packet):
                return found
    left = {State.ESTABLISHED: Action.ACCEPT, State.INVALID: Action.DROP}
    return found | {left.get(packet.state, ruleset.default)}


def certain(rule: Rule, packet: Packet) -> bool:
    """Whether a rule that matches also decides, at all times and whatever names stand for."""
    if rule.limit is not None:
        return False
    plain = Rule(
        "", unnamed(rule.sources), unnamed(rule.destinations), rule.services, Action.DROP,
        states=rule.states, vlans=rule.vlans,
    )  # fmt: skip
    return plain.matches(packet)


@pytest.fixture(scope="module")
def space() -> Space:
    return new_space()


@pytest.fixture(scope="module")
def single(space: Space) -> list[tuple[Packet, Diagram]]:
    return [(packet, space.packet(packet)) for packet in small_world()]


@pytest.mark.parametrize("most", [outcome.MOST_OVERLAPS, -1], ids=["joined", "folded"])
@pytest.mark.parametrize("tenth", TENTHS)
def test_the_packets_that_pass_are_those_that_pass_one_by_one(
    monkeypatch: pytest.MonkeyPatch, space: Space, single: list[tuple[Packet, Diagram]], tenth: int, most: int
) -> None:
    monkeypatch.setattr(outcome, "MOST_OVERLAPS", most)
    world = space.union([each for _, each in single])
    for seed in range(100):
        ruleset = small_ruleset(Random(1000 * tenth + seed))
        met = [(fates(ruleset, packet), diagram) for packet, diagram in single]
        for action in (Action.ACCEPT, Action.REJECT) if seed % 10 == 0 else (Action.ACCEPT,):
            found = meeting(space, ruleset, action)
            assert found.may & world == space.union([each for actions, each in met if action in actions])
            assert found.surely & world == space.union([each for actions, each in met if actions == {action}])


@pytest.mark.parametrize("action", [Action.ACCEPT, Action.DROP, Action.REJECT])
@pytest.mark.parametrize("seed", range(20))
def test_joined_or_folded_a_list_of_overlapping_rules_is_the_same_set(
    monkeypatch: pytest.MonkeyPatch, space: Space, seed: int, action: Action
) -> None:
    ruleset = overlapping_ruleset(Random(seed), 40)
    monkeypatch.setattr(outcome, "MOST_OVERLAPS", 40)
    joined = meeting(space, ruleset, action)
    monkeypatch.setattr(outcome, "MOST_OVERLAPS", -1)
    assert joined == meeting(space, ruleset, action)


@pytest.mark.parametrize("seed", range(20))
def test_rules_written_together_are_those_written_one_by_one(space: Space, seed: int) -> None:
    random = Random(seed)
    rules = (*overlapping_ruleset(random, 20).rules, *small_ruleset(random).rules)
    assert space.rules(rules) == space.union([space.rule(each) for each in rules]) & space.packets


def isomorphic(diagrams: Diagrams, first: Diagram, others: Diagrams, second: Diagram) -> bool:
    """Whether diagrams of two libraries are the same function: both are canonical in the same order."""
    seen: dict[Diagram, Diagram] = {}
    waiting: list[tuple[Diagram, Diagram]] = [(first, second)]
    while waiting:
        left, right = waiting.pop()
        if left in seen:
            if seen[left] != right:
                return False
            continue
        seen[left] = right
        top = diagrams.top(left)
        if top != others.top(right):
            return False
        if top is None:
            if (left == diagrams.everything) != (right == others.everything):
                return False
            continue
        waiting += zip(diagrams.halves(left), others.halves(right), strict=True)
    return True


@pytest.fixture(scope="module")
def spaces() -> tuple[Space, Space]:
    return new_space(), Space(DdDiagrams(VARIABLES))


@pytest.mark.parametrize("tenth", TENTHS)
def test_two_libraries_agree_on_a_thousand_overlapping_lists(spaces: tuple[Space, Space], tenth: int) -> None:
    ours, theirs = spaces
    for seed in range(100):
        random = Random(1000 * tenth + seed)
        ruleset = overlapping_ruleset(random, random.randrange(1, 13))
        first, second = passing(ours, ruleset).may, passing(theirs, ruleset).may
        assert isomorphic(ours.diagrams, first, theirs.diagrams, second), (tenth, seed)


def test_a_list_that_is_changed_in_one_rule_is_another_set(spaces: tuple[Space, Space]) -> None:
    ours, theirs = spaces
    ruleset = overlapping_ruleset(Random(3), 8)
    fewer = Ruleset(ruleset.rules[1:], ruleset.default)
    assert ruleset.rules[0].action is Action.ACCEPT
    first, second = passing(ours, ruleset).may, passing(theirs, fewer).may
    assert not isomorphic(ours.diagrams, first, theirs.diagrams, second)
