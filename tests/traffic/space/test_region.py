"""Sets said in words: the boxes make up the set exactly, none is superfluous, and none could be wider."""

from __future__ import annotations

from random import Random

import pytest

from tests.traffic.space.random_rules import overlapping_ruleset, small_ruleset
from vafw.traffic.address_set import AddressSet
from vafw.traffic.appliance import INSIDE
from vafw.traffic.reason import State
from vafw.traffic.rule import ICMP, ICMPV6, TCP, Action, Rule, Ruleset, Selector, ServiceMatch
from vafw.traffic.services import SERVICES
from vafw.traffic.space.diagram import Diagram
from vafw.traffic.space.layout import PORT
from vafw.traffic.space.outcome import passing
from vafw.traffic.space.region import Region, regions, values, written
from vafw.traffic.space.space import Space, new_space

EVERYTHING = AddressSet.everything()
ANY = (Selector(None, EVERYTHING),)
USER = AddressSet.from_texts(["10.0.0.2", "2001:db8::2"])
PRIVATE = AddressSet.from_texts(["10.0.0.0/8", "fc00::/7"])


@pytest.fixture(scope="module")
def space() -> Space:
    return new_space(rules=1000)


def whole(space: Space, found: tuple[Region, ...]) -> Diagram:
    return space.union([written(space, each) for each in found])


@pytest.mark.parametrize("seed", range(30))
def test_regions_make_up_the_set_and_none_is_superfluous(space: Space, seed: int) -> None:
    make = small_ruleset(Random(seed)) if seed % 2 else overlapping_ruleset(Random(seed), 4)
    packets = passing(space, make).may & space.states([State.NEW])
    found = regions(space, packets)
    assert whole(space, found) == packets
    for each in found:
        others = tuple(other for other in found if other is not each)
        assert whole(space, others) != packets, each


def test_nothing_has_no_region(space: Space) -> None:
    assert regions(space, space.nothing) == ()


def test_what_a_rule_accepts_in_both_families_is_one_region(space: Space) -> None:
    web = Rule("web", (Selector(INSIDE, USER),), ANY, (*SERVICES["https"], *SERVICES["ping"]), Action.ACCEPT)
    (found,) = regions(space, passing(space, Ruleset((web,), Action.DROP)).may & space.states([State.NEW]))
    assert (found.sides, found.versions, found.states) == ((INSIDE,), (4, 6), (State.NEW,))
    assert (found.sources, found.destinations) == (USER, EVERYTHING)
    assert found.services == {TCP: ((443, 443),), ICMP: ((8, 8),), ICMPV6: ((128, 128),)}


def test_all_but_a_zone_is_one_region(space: Space) -> None:
    rules = (
        Rule("no", ANY, (Selector(None, PRIVATE),), (), Action.DROP),
        Rule("yes", (Selector(INSIDE, USER),), ANY, (), Action.ACCEPT),
    )
    (found,) = regions(space, passing(space, Ruleset(rules, Action.DROP)).may & space.states([State.NEW]))
    assert (found.destinations, found.services) == (PRIVATE.complement(), None)


def test_two_rules_that_cross_are_two_regions_that_overlap(space: Space) -> None:
    rules = (
        Rule("lan", (Selector(INSIDE, USER),), (Selector(None, PRIVATE),), (), Action.ACCEPT),
        Rule("web", (Selector(INSIDE, USER),), ANY, (ServiceMatch(TCP, ((443, 443),)),), Action.ACCEPT),
    )
    found = regions(space, passing(space, Ruleset(rules, Action.DROP)).may & space.states([State.NEW]))
    assert {(each.destinations, None if each.services is None else tuple(each.services)) for each in found} == {
        (PRIVATE, None),
        (EVERYTHING, (TCP,)),
    }


def test_ranges_of_ports_are_read_back_as_they_were_written(space: Space) -> None:
    ranges = ((1, 1), (22, 80), (443, 65534))
    assert values(space, space.among(PORT, ranges), PORT) == ranges
